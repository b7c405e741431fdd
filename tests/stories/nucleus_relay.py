# SPDX-License-Identifier: Apache-2.0
"""Machines that do not reach each other talk through their Nucleus, and directly as soon as they can.

    n1 198.51.100.11 -------------------+        n1: omni-nucleus
    n2 --- r2 (symmetric NAT) ----------+-- internet
    n3 --- r3 (symmetric NAT) ----------+
                                                 or a switch on which n2 and n3 drop each other's packets
"""
from story import (check, check_equal, nucleus_status, ping, run, scenario, steady_ping, wait_for,
                   wait_knows)
from omnilab import wall


def path(node, peer):
    return node.peers()[peer]["path"]


def wait_path(node, peer, wanted, timeout=30):
    wait_for(lambda: path(node, peer) == wanted, timeout, f"{node.name} to {peer}: {wanted}")


@scenario(topology="nat", arguments=("none", "symmetric", "symmetric"), nucleus=True)
def behind_symmetric_nats_there_is_the_relay(lab):
    n2, n3 = lab.nodes
    wait_knows(n2, "n3")
    wait_knows(n3, "n2")
    ping(n2, n3.vip4)
    check_equal(path(n2, "n3"), "PEER_PATH_RELAY", "path")
    check_equal(path(n3, "n2"), "PEER_PATH_RELAY", "path back")
    ping(n3, n2.vip6, "-s", "1200", count=100)
    peer = n2.peers()["n3"]
    check("no direct answer from" in peer["path_reason"], peer["path_reason"])
    shown = n2.omnictl("peers", "list").stdout
    check("relay via 198.51.100.11:51900" in shown and "n3: relayed: no direct answer" in shown,
          shown)
    check(lab.nucleus.metric("omni_nucleus_relay_datagrams_total") > 200, "the Nucleus counts them")
    check_equal(lab.nucleus.samples("omni_nucleus_relay_dropped_total"), {}, "none dropped")
    # A new Nucleus process knows nobody's channels: the pair comes back by itself.
    lab.nucleus.crash("nucleus")
    lab.nucleus.start()
    wait_for(lambda: nucleus_status(n2)["state"] == nucleus_status(n3)["state"] ==
             "NUCLEUS_STATE_REGISTERED", 60, "both are registered again")
    ping(n2, n3.vip4, attempts=3)
    check_equal(path(n2, "n3"), "PEER_PATH_RELAY", "path after the crash")


@scenario(topology="star", arguments=("3",), nucleus=True, start=False)
def a_pair_goes_direct_as_soon_as_it_can(lab):
    n2, n3 = lab.nodes
    wall.build(n2, n3)
    lab.start_all()
    wait_knows(n2, "n3")
    wait_knows(n3, "n2")
    ping(n2, n3.vip4)
    check_equal(path(n2, "n3"), "PEER_PATH_RELAY", "path behind the wall")
    with steady_ping(n2, n3.vip4) as pings:
        pings.wait_for_more(10)
        wall.tear_down(n2, n3)
        # Something changes, and the two try again.
        n3.run("ip", "address", "add", "192.0.2.77/24", "dev", "eth0")
        wait_path(n2, "n3", "PEER_PATH_DIRECT")
        wait_path(n3, "n2", "PEER_PATH_DIRECT")
        pings.wait_for_more(20)
        check_equal(pings.lost(), [], "echoes lost on the way to the direct path")
    relayed = lab.nucleus.metric("omni_nucleus_relay_datagrams_total")
    ping(n3, n2.vip4, count=20)
    check_equal(lab.nucleus.metric("omni_nucleus_relay_datagrams_total"), relayed,
                "nothing goes through the Nucleus any more")


@scenario(topology="star", arguments=("3",), nucleus=True, start=False)
def a_nucleus_that_does_not_relay_leaves_them_apart(lab):
    n2, n3 = lab.nodes
    wall.build(n2, n3)
    with open(lab.nucleus.config_file, "a", encoding="utf-8") as file:
        file.write("\n[relay]\npair_mbit = 0\n")
    lab.start_all()
    wait_knows(n2, "n3")
    wait_knows(n3, "n2")
    done = n2.run("ping", "-c", "3", "-i", "0.2", "-W", "1", n3.vip4, check=False)
    check(" 0 received" in done.stdout, f"an echo came through: {done.stdout}")
    check(path(n2, "n3") != "PEER_PATH_RELAY", "no relay")
    check_equal(lab.nucleus.metric("omni_nucleus_relay_datagrams_total"), 0.0, "datagrams")


run(behind_symmetric_nats_there_is_the_relay, a_pair_goes_direct_as_soon_as_it_can,
    a_nucleus_that_does_not_relay_leaves_them_apart)
