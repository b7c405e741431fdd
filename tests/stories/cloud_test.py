# SPDX-License-Identifier: Apache-2.0
"""`deploy/cloud-test` over ssh to machines that are namespaces: n1 is the Nucleus' host, n2 and n3 are
edges. It runs on n1.

    n1 eth0 --+        an ssh server on each
    n2 eth0 --+-- br0
    n3 eth0 --+
"""
import contextlib
import json
import os
import shutil
import subprocess

from story import check, check_equal, run, scenario, wait_for
from omnilab.lab import REPOSITORY
from omnilab.measure import is_listening
from omnilab.shell import run as run_command

# Whose key may come in stands in root's home, which is another one in the server's mount namespace.
SERVER = """
mount --bind {home} "$(getent passwd root | cut -d: -f6)" &&
exec dropbear -F -E -s -p 22 -r {home}/host_key
"""


@contextlib.contextmanager
def ssh_servers(lab):
    """Gives the options with which cloud-test comes in."""
    home = f"{lab.directory}/home"
    key = f"{home}/.ssh/id_ed25519"
    os.makedirs(f"{home}/.ssh", mode=0o700)
    run_command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    shutil.copy(f"{key}.pub", f"{home}/.ssh/authorized_keys")
    run_command("dropbearkey", "-t", "ed25519", "-f", f"{home}/host_key")
    servers = [node.popen("sh", "-c", SERVER.format(home=home), stderr=subprocess.DEVNULL)
               for node in lab.nodes]
    try:
        for node in lab.nodes:
            wait_for(lambda n=node: is_listening(n, 22), 10, f"an ssh server on {node.name}")
        yield [word for option in (f"IdentityFile={key}", "StrictHostKeyChecking=no",
                                   "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
               for word in ("--ssh-option", option)]
    finally:
        for server in servers:
            server.terminate()
            server.wait()
        shutil.rmtree(home)


def cloud_test(lab, ssh, *arguments):
    first = lab.nodes[0]
    return first.run("/usr/bin/python3", f"{REPOSITORY}/deploy/cloud-test", "--build", lab.build,
                     "--nucleus", "root@192.0.2.1", "--edge", "root@192.0.2.2", "--edge",
                     "root@192.0.2.3", *ssh, *arguments, timeout=200, check=False)


def nothing_is_left(lab):
    left = [name for name in os.listdir("/tmp") if name.startswith("omni-cloud-test.")]
    check_equal(left, [], "folders that are left")
    for node in lab.nodes:
        links = node.run("ip", "-br", "link").stdout
        check("omnitest0" not in links, f"{node.name}: the tunnel is gone: {links}")


@scenario(topology="star", arguments=("3",), start=False)
def it_measures_and_leaves_nothing(lab):
    with ssh_servers(lab) as ssh:
        report = f"{lab.directory}/report.json"
        done = cloud_test(lab, ssh, "--rounds", "1", "--seconds", "1", "--json", report)
        print(done.stdout, flush=True)
        check_equal(done.returncode, 0, done.stderr)
        nothing_is_left(lab)
    with open(report, encoding="utf-8") as file:
        (a_round,) = json.load(file)["rounds"]
    for direction in a_round["directions"]:
        check(direction["endpoint"].endswith(":51990"), f"met at its port: {direction['endpoint']}")
        check(direction["peer"]["path_kind"] in ("lan", "direct v6", "direct v4"), "the way")
    for direction in a_round["directions"]:
        check(direction["tunnel"]["tcp_mbit"] > 1, f"TCP went through: {direction}")
        check(direction["underlay"]["tcp_mbit"] > 1, f"and beside: {direction}")
        check_equal(direction["tunnel"]["rtt_ms"]["loss_percent"], 0, "lost echoes")


@scenario(topology="star", arguments=("3",), start=False)
def it_fails_when_something_fails(lab):
    with ssh_servers(lab) as ssh:
        done = cloud_test(lab, ssh, "--rounds", "1", "--timeout", "5", "--nucleus-address",
                          "192.0.2.77")
        check_equal(done.returncode, 1, f"exit code without a Nucleus: {done.stdout}")
        check("registration with the Nucleus: not within 5 s" in done.stderr, done.stderr)
        nothing_is_left(lab)
    done = cloud_test(lab, ssh, "--rounds", "1")
    check_equal(done.returncode, 1, "exit code without an ssh server")
    check("root@192.0.2.1" in done.stderr and "refused" in done.stderr, done.stderr)


run(it_measures_and_leaves_nothing, it_fails_when_something_fails)
