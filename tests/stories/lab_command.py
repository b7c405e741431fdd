# SPDX-License-Identifier: Apache-2.0
"""The command `lab`, as people and programs use it; what fails leaves nothing behind.

    n1 eth0 ---- eth0 n2
"""
import json
import os
import subprocess

from story import build_directory, check, check_equal, run, scenario
from omnilab import shell
from omnilab.lab import REPOSITORY, ROOT

NAME = f"cmd{os.getpid():x}"


def lab(*arguments, expected=0):
    done = subprocess.run([f"{REPOSITORY}/tests/lab/lab", *arguments], capture_output=True,
                          text=True, timeout=120, check=False)
    check_equal(done.returncode, expected, f"lab {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done


def left_behind(name):
    return [n for n in shell.namespaces() if n.startswith(f"omni-{name}-")] + \
        [f"{ROOT}/{name}"] * os.path.exists(f"{ROOT}/{name}")


@scenario(topology="pair", start=False)
def up_list_exec_down(_):
    lab("up", "pair", "--name", NAME, "--build", build_directory(), "--underlay", "v6")
    try:
        labs = json.loads(lab("list", "--json").stdout)["labs"]
        nodes = next(entry for entry in labs if entry["name"] == NAME)["nodes"]
        check_equal([node["node"] for node in nodes], ["n1", "n2"], "nodes")
        for node in nodes:
            check(os.path.exists(node["control_socket"]), f"{node['control_socket']} exists")
            for pid in node["pids"].values():
                check(os.path.exists(f"/proc/{pid}"), f"process {pid} lives")
        check(NAME in lab("list").stdout, "the list for people")
        lab("exec", f"{NAME}/n1", "ping", "-c1", "-W5", nodes[1]["vips"][1])
        check("n2" in lab("exec", f"{NAME}/n1", "omnictl", "peers", "list").stdout, "peers list")
        lab("exec", f"{NAME}/n1", "false", expected=1)
        check("no node n9" in lab("exec", f"{NAME}/n9", "true", expected=1).stderr, "an unknown node")
        check("is up already" in lab("up", "pair", "--name", NAME, "--build", build_directory(),
                                     expected=1).stderr, "a second one of that name")
    finally:
        lab("down", NAME)
    check_equal(left_behind(NAME), [], "what is left")
    check("is not up" in lab("down", NAME, expected=1).stderr, "a second down")


@scenario(topology="pair", start=False)
def what_fails_leaves_nothing(scratch):
    node = scratch.nodes[0]
    broken = f"{node.directory}/broken"
    os.makedirs(f"{broken}/bin")
    for program in ("omnictl", "omni-dataplane", "omni-controller"):
        os.symlink(os.path.abspath(f"{build_directory()}/bin/{program}"), f"{broken}/bin/{program}")
    os.unlink(f"{broken}/bin/omni-controller")
    with open(f"{broken}/bin/omni-controller", "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\necho the reason >&2\nexit 1\n")
    os.chmod(f"{broken}/bin/omni-controller", 0o755)
    error = lab("up", "pair", "--name", NAME, "--build", broken, expected=1).stderr
    check("omni-controller ended" in error and "the reason" in error, error)
    check_equal(left_behind(NAME), [], "what is left")
    for arguments, cause in ((("up", "ring"), "not known"), (("up", "star", "1"), "2 to"),
                             (("up", "nat", "none", "cone"), "cone: not known"),
                             (("up", "nat", "none", "same"), "needs a node behind"),
                             (("up", "pair", "--name", "No-Name"), "lab name"),
                             (("up", "pair", "--build", "/nowhere"), "/nowhere/bin")):
        check(cause in lab(*arguments, expected=1).stderr, f"lab {arguments}")


run(up_list_exec_down, what_fails_leaves_nothing)
