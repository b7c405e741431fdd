# SPDX-License-Identifier: Apache-2.0
"""Machines that know only a Nucleus and the cluster secret find each other and talk.

    n1 eth0 --+        n1: omni-nucleus, and nothing else
    n2 eth0 --+-- br0
    n3 eth0 --+        n2, n3, ...: nodes without a single configured peer
"""
import json
import os

from story import (check, check_equal, nucleus_status, ping, run, scenario, session_ids,
                   steady_ping, wait_for, wait_knows)


def wait_registered(*nodes, timeout=30):
    for node in nodes:
        wait_for(lambda n=node: nucleus_status(n)["state"] == "NUCLEUS_STATE_REGISTERED", timeout,
                 f"{node.name}: registration")


def names_on_disk(node):
    """Of the nodes whose records the controller has written down."""
    try:
        with open(f"{node.directory}/state/nucleus-records.bin", "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return set()
    return {name for name in (b"n2", b"n3", b"n4") if b"\x22\x02" + name in content}


@scenario(topology="star", arguments=("3",), nucleus=True)
def two_nodes_find_each_other(lab):
    n2, n3 = lab.nodes
    wait_registered(n2, n3)
    wait_knows(n2, "n3")
    wait_knows(n3, "n2")
    peer = n2.peers()["n3"]
    check_equal(peer["origin"], "PEER_ORIGIN_NUCLEUS", "where n3 is known from")
    check_equal(peer["state"], "PEER_STATE_IDLE", "no handshake before there is traffic")
    check_equal(nucleus_status(n2)["observed"], "192.0.2.2:51900", "where the Nucleus sees n2")
    ping(n2, n3.vip4)
    ping(n3, n2.vip6)
    n2.wait_up(n3)
    check("Nucleus" in n2.omnictl("peers", "show", "n3").stdout, "peers show says where from")
    check("registered" in n2.omnictl("nucleus", "status").stdout, "nucleus status for people")
    check_equal(lab.nucleus.metric("omni_nucleus_connected_nodes"), 2.0, "connected nodes")


@scenario(topology="star", arguments=("4",), nucleus=True, underlay="v6")
def three_nodes_over_ipv6_and_one_that_comes_late(lab):
    n2, n3, n4 = lab.nodes
    wait_knows(n2, "n3", "n4")
    n4.stop("controller")
    ping(n2, n3.vip4)
    n4.start_controller()
    n4.wait_ready()
    wait_knows(n4, "n2", "n3")
    for a, b in ((n2, n4), (n4, n3), (n3, n2)):
        ping(a, b.vip4)
    # The controller hears of it after the packets.
    wait_for(lambda: "2001:db8::" in n2.peers()["n4"]["endpoint"]
             or "192.0.2." in n2.peers()["n4"]["endpoint"], 10, "one of the candidates answered")


@scenario(topology="star", arguments=("4",), nucleus=True)
def tunnels_go_on_without_the_nucleus(lab):
    n2, n3, n4 = lab.nodes
    wait_knows(n2, "n3", "n4")
    wait_knows(n3, "n2", "n4")
    ping(n2, n3.vip4)
    n2.wait_up(n3)
    sessions = session_ids(n2)
    with steady_ping(n2, n3.vip4) as pings:
        pings.wait_for_more(5)
        lab.nucleus.stop("nucleus")
        wait_for(lambda: nucleus_status(n2)["state"] != "NUCLEUS_STATE_REGISTERED", 30,
                 "n2 notices that the Nucleus is gone")
        check("the Nucleus ends" in nucleus_status(n2)["last_error"], "and says why")
        ping(n2, n4.vip4)  # a peer that is known, and was never spoken to
        # Another controller knows the same peers, from its disk, and adopts the tunnels. What was
        # learned is on the disk within a second or so.
        wait_for(lambda: {b"n3", b"n4"} <= names_on_disk(n2), 30, "n2 has noted n3 and n4")
        n2.crash("controller")
        n2.start_controller()
        n2.wait_ready()
        wait_knows(n2, "n3", "n4")
        pings.wait_for_more(20)
        check(not pings.lost(), "no echo was lost")
    check(sessions <= session_ids(n2), "the session is the same")
    lab.nucleus.start()
    wait_registered(n2, n3, n4, timeout=100)
    check_equal(lab.nucleus.metric("omni_nucleus_nodes"), 3.0, "nodes after the restart")


@scenario(topology="star", arguments=("3",), nucleus=True)
def a_crash_of_the_nucleus_loses_nobody(lab):
    n2, n3 = lab.nodes
    wait_knows(n2, "n3")
    before = nucleus_status(n2)["registrations"]
    lab.nucleus.crash("nucleus")
    lab.nucleus.start()
    check_equal(lab.nucleus.metric("omni_nucleus_nodes"), 2.0, "nodes in the registry at once")
    # Its resets, or the silence, tell the nodes.
    wait_for(lambda: nucleus_status(n2)["registrations"] > before, 60, "n2 registers again")
    ping(n2, n3.vip4)


@scenario(topology="star", arguments=("4",), nucleus=True,
          secrets={"n4": "a secret of another cluster"})
def another_secret_sees_nothing(lab):
    n2, n3, n4 = lab.nodes
    wait_knows(n2, "n3")
    wait_for(lambda: "does not serve this cluster" in nucleus_status(n4)["last_error"], 30,
             "n4 says that it is refused")
    check_equal(n4.peers(), {}, "peers of n4")
    check("n4" not in n2.peers(), "n2 does not know n4")
    check(lab.nucleus.metric("omni_nucleus_refused_total") > 0, "refusals are counted")


@scenario(topology="star", arguments=("4",), nucleus=True, start=False)
def an_address_of_another_is_refused(lab):
    n2, n3, n4 = lab.nodes
    text = open(n4.config_file, encoding="utf-8").read()
    with open(n4.config_file, "w", encoding="utf-8") as file:
        file.write(text.replace(n4.vip4, n2.vip4))
    lab.nucleus.start()
    for node in (n2, n3):
        node.start_dataplane()
        node.start_controller()
    for node in (n2, n3):
        node.wait_ready()
    wait_registered(n2, n3)
    n4.start_dataplane()
    n4.start_controller()
    n4.wait_ready()
    wait_for(lambda: "belongs to another node" in nucleus_status(n4)["last_error"], 30,
             "n4 says whose address it has")
    check(f"{n2.vip4} belongs to node" in nucleus_status(n4)["last_error"], "and which")
    check("n4" not in n3.peers(), "n3 does not know n4")
    ping(n3, n2.vip4)


@scenario(topology="star", arguments=("3",), nucleus=True)
def a_node_that_moves_is_found_again(lab):
    n2, n3 = lab.nodes
    wait_knows(n3, "n2")
    registrations = nucleus_status(n2)["registrations"]
    n2.run("ip", "address", "del", "192.0.2.2/24", "dev", "eth0")
    n2.run("ip", "address", "add", "192.0.2.77/24", "dev", "eth0")
    wait_for(lambda: nucleus_status(n2)["observed"] == "192.0.2.77:51900", 40,
             "the Nucleus sees n2 elsewhere")
    check_equal(nucleus_status(n2)["registrations"], registrations,
                "registrations: the connection is the same")
    ping(n3, n2.vip4)
    check_equal(n3.peers()["n2"]["state"], "PEER_STATE_UP", "state of n2")


@scenario(topology="star", arguments=("4",), nucleus=True)
def a_configured_peer_stands_above_what_is_learned(lab):
    n2, n3, n4 = lab.nodes
    wait_knows(n2, "n3", "n4")
    key = json.loads(n3.omnictl("status", "--output", "json").stdout)["key"]
    n2.omnictl("peers", "add", "mine", "--key", key, "--allowed", f"{n3.vip4}/32")
    peers = n2.peers()
    check_equal(peers["mine"]["origin"], "PEER_ORIGIN_API", "origin of the peer that was added")
    check("n3" not in peers and "n4" in peers, "it took the place of what was learned")
    ping(n2, n3.vip4)  # where it is, the record says
    n2.omnictl("peers", "remove", "mine")
    wait_knows(n2, "n3")
    refused = n2.omnictl("peers", "remove", "n3", check=False)
    check_equal(refused.returncode, 5, "exit code of removing what the Nucleus tells")


@scenario(topology="star", arguments=("2",), nucleus=True)
def a_nucleus_that_is_not_there_is_said_so(lab):
    n2, = lab.nodes
    lab.nucleus.stop("nucleus")
    n2.stop("controller")
    n2.start_controller()
    n2.wait_ready()
    wait_for(lambda: nucleus_status(n2)["last_error"] != "", 40, "n2 says that there is no answer")
    check(nucleus_status(n2)["state"] != "NUCLEUS_STATE_REGISTERED", "it is not registered")
    check(os.path.exists(n2.control_socket), "the controller goes on")


run(two_nodes_find_each_other, three_nodes_over_ipv6_and_one_that_comes_late,
    tunnels_go_on_without_the_nucleus, a_crash_of_the_nucleus_loses_nobody,
    another_secret_sees_nothing, an_address_of_another_is_refused,
    a_node_that_moves_is_found_again, a_configured_peer_stands_above_what_is_learned,
    a_nucleus_that_is_not_there_is_said_so)
