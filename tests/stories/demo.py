# SPDX-License-Identifier: Apache-2.0
"""The demonstration, in short: runs through, writes what it promises, leaves nothing behind.

    n2 eth0 --- NAT ---+
                       +--- internet --- n1: omni-nucleus
    n3 eth0 --- NAT ---+
"""
import json
import os
import subprocess

from story import check, check_equal, run, scenario
from omnilab import shell
from omnilab.lab import REPOSITORY, ROOT

KEYS = {"tcp_mbit", "udp_loss_percent", "rtt_ms_p50", "rtt_ms_p99"}


def demo(*arguments):
    done = subprocess.run([f"{REPOSITORY}/scripts/demo", *arguments], capture_output=True,
                          text=True, timeout=240, check=False)
    check_equal(done.returncode, 0, f"demo {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


@scenario(topology="pair", start=False)
def runs_through(scratch):
    check(not os.path.exists(f"{ROOT}/demo"), "no demo stands: sudo scripts/demo down")
    results = f"{scratch.nodes[0].directory}/results.json"
    demo("--seconds", "1", "--json", results, "--keep")
    try:
        with open(results, encoding="utf-8") as file:
            result = json.load(file)
        check_equal(set(result), {"nodes", "way", "endpoint", "first_echo_ms", "added_ms_p50", "path",
                                   "cipher", "tunnel", "underlay"}, "keys")
        check_equal(result["way"], "direct v4", "the way that was found")
        for part in ("tunnel", "underlay"):
            check_equal(set(result[part]), KEYS, f"keys of {part}")
            check(all(isinstance(v, (int, float)) for v in result[part].values()), f"{result}")
        check_equal([set(node) for node in result["nodes"]], [{"name", "vip", "namespace", "nat"}] * 2,
                    "keys of nodes")
        for node in result["nodes"]:
            check(node["namespace"] in shell.namespaces(), f"{node} stands")
    finally:
        demo("down")
    left = [name for name in shell.namespaces() if name.startswith("omni-demo-")]
    check_equal(left, [], "what is left")


run(runs_through)
