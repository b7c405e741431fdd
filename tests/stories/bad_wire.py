# SPDX-License-Identifier: Apache-2.0
"""A cable that loses, doubles, reorders and damages frames: the tunnel delivers each packet at most
once, nothing damaged, and what it drops is counted by its reason.

    n1 eth0 --- omni-lab-wire --- eth0 n2
"""
from story import check, check_equal, connect, ping, run, scenario, where_lost
from omnilab import measure


@scenario(topology="pair", wire="")
def doubled_packets_arrive_once(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    before = [node.drops()["rx_replayed"] for node in lab.nodes]
    lab.set_wire("duplicate=1")
    done = n1.run("ping", "-n", "-c", "50", "-i", "0.02", n2.vip4)
    check("DUP" not in done.stdout and " 50 received" in done.stdout, done.stdout)
    replayed = [node.drops()["rx_replayed"] - first for node, first in zip(lab.nodes, before)]
    check(all(count >= 50 for count in replayed), f"dropped as replays: {replayed}")


@scenario(topology="pair", wire="delay_ms=10 reorder=0.1")
def reordered_packets_all_arrive(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    lost, sent = measure.udp(n1, n2, n2.vip4, seconds=3, mbit=20)
    check_equal(lost, 0, f"lost of {sent}; {where_lost(lab)}")


@scenario(topology="pair", wire="delay_ms=2 jitter_ms=2 loss=0.01 reorder=0.02 duplicate=0.02 "
          "corrupt=0.005")
def content_survives_all_of_it(lab):
    n1, n2 = lab.nodes
    # The handshake may lose its first message.
    ping(n1, n2.vip4, attempts=10)
    for address in (n2.vip4, n2.vip6):
        check(measure.move_file(n2, n1, address, megabytes=2), f"a file from {address}")
    drops = n1.drops()
    check(drops["rx_replayed"] > 0, f"doubled packets were dropped: {drops}")
    inner = {reason: count for reason, count in drops.items() if reason.startswith("rx_inner")}
    check_equal(set(inner.values()), {0}, f"what an honest peer cannot cause: {inner}")


run(doubled_packets_arrive_once, reordered_packets_all_arrive, content_survives_all_of_it)
