# SPDX-License-Identifier: Apache-2.0
"""A machine gets another address while traffic flows; its peer follows, and nobody shakes hands.

    n1 eth0 192.0.2.1 -> 192.0.2.51 ---- 192.0.2.2 eth0 n2
"""
from story import check, check_equal, connect, run, scenario, session_ids, steady_ping, wait_for


@scenario(topology="pair")
def the_peer_follows_an_authentic_packet(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    sessions = session_ids(n2)
    with steady_ping(n1, n2.vip4) as pinger:
        pinger.wait_for_more(20)
        n1.run("ip", "address", "add", "192.0.2.51/24", "dev", "eth0")
        n1.run("ip", "address", "delete", "192.0.2.1/24", "dev", "eth0")
        # Deleting a primary address takes its secondary ones along.
        n1.run("ip", "address", "replace", "192.0.2.51/24", "dev", "eth0")
        pinger.wait_for_more(50)
    check(pinger.longest_gap() < 2, f"traffic stood still for {pinger.longest_gap():.2f} s")
    wait_for(lambda: n2.peers()["n1"]["endpoint"] == "192.0.2.51:51900", 5, "n2 knows the address")
    check_equal(session_ids(n2), sessions, "the sessions")


@scenario(topology="pair")
def both_move_one_after_the_other(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    sessions = session_ids(n2)
    for node, peer, address in ((n1, n2, "192.0.2.61"), (n2, n1, "192.0.2.62")):
        with steady_ping(node, peer.vip4) as pinger:
            pinger.wait_for_more(10)
            node.run("ip", "-4", "address", "flush", "dev", "eth0")
            node.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
            pinger.wait_for_more(20)
        wait_for(lambda p=peer, n=node, a=address: p.peers()[n.name]["endpoint"] == f"{a}:51900", 5,
                 f"{peer.name} knows the address of {node.name}")
    check_equal(session_ids(n2), sessions, "the sessions")


run(the_peer_follows_an_authentic_packet, both_move_one_after_the_other)
