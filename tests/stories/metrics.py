# SPDX-License-Identifier: Apache-2.0
"""/metrics is well-formed, moves with the traffic, and is served on the loopback only.

    n1 eth0 ---- eth0 n2
       lo :9477
"""
import re

from story import check, connect, ping, run, scenario, wait_for
from omnilab.shell import run as run_command

FETCH = ("import urllib.request as u; print(u.urlopen('http://{}:9477/metrics', timeout=5)"
         ".read().decode(), end='')")


def fetch(node, address="127.0.0.1", check_exit=True):
    return node.run("/usr/bin/python3", "-c", FETCH.format(address), check=check_exit)


def value(text, name, **labels):
    """Sum of all samples of a metric that carry the labels."""
    total = 0.0
    for match in re.finditer(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.M):
        if all(f'{key}="{label}"' in (match.group(1) or "") for key, label in labels.items()):
            total += float(match.group(2))
    return total


@scenario(topology="pair")
def prometheus_is_content(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    text = fetch(n1).stdout
    done = run_command("promtool", "check", "metrics", stdin=text, check=False)
    check(done.returncode == 0 and not done.stdout.strip() and not done.stderr.strip(),
          f"promtool: {done.stdout}{done.stderr}")
    before = value(text, "omni_peer_tx_packets_total", peer="n2")
    ping(n1, n2.vip4, count=10)
    wait_for(lambda: value(fetch(n1).stdout, "omni_peer_tx_packets_total", peer="n2")
             >= before + 10, 10, "ten more packets")
    text = fetch(n1).stdout
    check(value(text, "omni_peer_up", peer="n2") == 1, "n2 is up")
    cipher = n1.peers()["n2"]["cipher"]
    check(value(text, "omni_peer_cipher", peer="n2", cipher=cipher) == 1, f"{cipher} of n2")
    check(value(text, "omni_peer_handshakes_total", peer="n2") >= 1, "handshakes")
    check(value(text, "omni_dataplane_connected") == 1, "the dataplane is connected")
    n1.run("ping", "-n", "-c", "2", "-i", "0.01", "-W", "0.1", "10.77.0.200", check=False)
    wait_for(lambda: value(fetch(n1).stdout, "omni_drops_total", reason="tx_no_route") >= 2, 10,
             "drops are counted")


@scenario(topology="pair")
def nobody_else_gets_them(lab):
    n1 = lab.nodes[0]
    check(fetch(n1, n1.underlay["v4"], check_exit=False).returncode != 0, "not on the underlay")


run(prometheus_is_content, nobody_else_gets_them)
