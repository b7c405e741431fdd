# SPDX-License-Identifier: Apache-2.0
"""Every command of omnictl on a running node, as an operator would go through them.

    n1 eth0 ---- eth0 n2
"""
import json

from story import check, check_equal, connect, run, scenario


@scenario(topology="pair")
def every_command_works(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    for command, expected in (
            (("status",), "Path:"), (("peers", "list"), "n2"), (("peers", "show", "n2"), "up"),
            (("sessions", "list"), "current"), (("drops", "--all"), "rx_bad_tag"),
            (("version",), "omni-dataplane:"), (("reload",), "0 added"),
            (("identity", "export", "--dir", f"{n1.directory}/identity"), "omni1"),
            (("completion", "bash"), "complete"), (("--help",), "Exit codes")):
        out = n1.omnictl(*command).stdout
        check(expected in out, f"omnictl {' '.join(command)}: {out}")
    for command in (("status",), ("peers", "list"), ("sessions", "list"), ("drops",), ("version",),
                    ("reload",), ("identity", "show", "--dir", f"{n1.directory}/identity"),
                    ("ping", "n2", "--count", "2", "--interval", "0.01")):
        json.loads(n1.omnictl(*command, "--output", "json").stdout)
    check_equal(n1.status()["key"], lab.keys["n1"], "key")
    check_equal(n1.status()["name"], "n1", "name")


@scenario(topology="pair")
def ping_measures_the_tunnel(lab):
    n1, n2 = lab.nodes
    # There is no session yet: ping asks for one.
    out = n1.omnictl_json("ping", "n2", "--count", "20", "--interval", "0.01", "--size", "1000")
    check_equal((out["sent"], out["received"]), (20, 20), "echoes")
    node_id = n2.status()["node_id"]
    check_equal(n1.omnictl_json("ping", node_id, "--count", "1")["received"], 1, "by node id")
    check_equal(n1.omnictl("ping", "nobody", check=False).returncode, 4, "exit code")


@scenario(topology="pair")
def the_controller_says_when_the_dataplane_is_away(lab):
    n1 = lab.nodes[0]
    n1.stop("dataplane")
    status = n1.status()["dataplane"]
    check(not status["connected"] and n1.dataplane_socket in status["error"] + status["socket"],
          f"{status}")
    done = n1.omnictl("ping", "n2", "--count", "1", check=False)
    check_equal(done.returncode, 6, f"exit code of ping; {done.stderr}")
    n1.start_dataplane()
    n1.wait_ready()
    n1.stop("controller")
    done = n1.omnictl("status", check=False)
    check_equal(done.returncode, 3, f"exit code of status; {done.stderr}")
    check(n1.control_socket in done.stderr, done.stderr)


run(every_command_works, ping_measures_the_tunnel, the_controller_says_when_the_dataplane_is_away)
