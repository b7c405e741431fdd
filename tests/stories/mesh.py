# SPDX-License-Identifier: Apache-2.0
"""The mesh lives without its Nucleus: known peers meet again and roam, neighbours find each other by
beacons, strangers get silence, and when the Nucleus is back everything is as it would have been.

    n1 eth0 --+
    n2 eth0 --+-- br0        n1: omni-nucleus, where there is one
    n3 eth0 --+
"""
import os
import time

from story import (check, check_equal, connect, nucleus_status, ping, run, scenario, steady_ping,
                   stop_nucleus, wait_all_know, wait_for, wait_for_drops, wait_knows)
from omnilab.sockets import Capture, Forger  # noqa: E402

BEACON = 8


def mesh(node):
    return node.status()["mesh"]


def move(node, last):
    """To another IPv4 address, and another IPv6 one."""
    node.run("ip", "-4", "address", "flush", "dev", "eth0")
    node.run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")
    node.run("ip", "address", "add", f"192.0.2.{last}/24", "dev", "eth0")
    node.run("ip", "address", "add", f"2001:db8::{last}/64", "dev", "eth0", "nodad")


def wait_on_disk(node, *others):
    """Until the records of others that the controller knows are written down: a second or so."""
    path = f"{node.directory}/state/nucleus-records.bin"

    def written():
        if not os.path.exists(path):
            return False
        with open(path, "rb") as file:
            content = file.read()
        return all(b"\x22\x02" + other.name.encode() in content for other in others)
    wait_for(written, 10, f"{node.name} has written down whom it knows")


def wait_neighbours(node, *endpoints):
    """Until the node has heard a beacon of each. It may know a node before: others tell of it."""
    wait_for(lambda: {n["endpoint"] for n in mesh(node)["neighbours"]} == set(endpoints), 15,
             f"{node.name} hears its neighbours at {endpoints}")


def only_v4(lab):
    for node in lab.nodes:
        node.run("sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")


def only_link_local(lab):
    for node in lab.nodes:
        node.run("ip", "-4", "address", "flush", "dev", "eth0")
        node.run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")


@scenario(topology="star", arguments=("4",), nucleus=True)
def who_moves_without_a_nucleus_is_found(lab):
    n2, n3, n4 = lab.nodes
    wait_all_know(lab)
    connect(n2, n3)
    connect(n3, n4)
    before = int(n3.peers()["n2"]["record_sequence"])
    stop_nucleus(lab, lab.nodes)
    with steady_ping(n3, n2.vip4) as pings:
        pings.wait_for_more(5)
        move(n2, 77)
        wait_for(lambda: int(n3.peers()["n2"]["record_sequence"]) > before, 20,
                 "n3 has heard from n2 that it moved")
        pings.wait_for_more(20)
        print(f"longest interruption {pings.longest_gap() * 1000:.0f} ms")
        # n4 has no session with n2, and knows where it was: n3, which both know, tells.
        check_equal(n4.peers()["n2"]["state"], "PEER_STATE_IDLE", "n4 has not spoken to n2")
        begun = time.monotonic()
        ping(n4, n2.vip4)
        print(f"the third one: first answer after {(time.monotonic() - begun) * 1000:.0f} ms")
        wait_for(lambda: "77]:" in n4.peers()["n2"]["endpoint"]
                 or ".77:" in n4.peers()["n2"]["endpoint"], 10, "n4 meets n2 where it is now")
        # The connection of the first move is there still, and follows the second.
        def of_n2():
            return [c for c in mesh(n3)["connections"] if c["name"] == "n2" and c["accepted"]]
        check(of_n2(), "n2 has a connection to n3")
        first, handshakes = of_n2()[-1], mesh(n3)["quic_handshakes"]
        before = int(n3.peers()["n2"]["record_sequence"])
        move(n2, 78)
        wait_for(lambda: int(n3.peers()["n2"]["record_sequence"]) > before, 20,
                 "n3 has heard of the second move")
        second = [c for c in of_n2() if c["id"] == first["id"]]
        check(second, "the connection is the same")
        check(int(second[0]["moves"]) > int(first["moves"]), "and it has moved")
        check("78" in second[0]["endpoint"], "to where n2 is")
        check_equal(mesh(n3)["quic_handshakes"], handshakes, "TLS handshakes")
        pings.wait_for_more(20)


@scenario(topology="star", arguments=("3",), nucleus=True)
def known_peers_meet_again_after_both_restarted(lab):
    n2, n3 = lab.nodes
    wait_all_know(lab)
    connect(n2, n3)
    lab.nucleus.stop("nucleus")
    wait_on_disk(n2, n3)
    wait_on_disk(n3, n2)
    for node in lab.nodes:
        node.stop_all()
    for node in lab.nodes:
        node.start_dataplane()
        node.start_controller()
    for node in lab.nodes:
        node.wait_ready()
    ping(n2, n3.vip4)
    ping(n3, n2.vip6)
    check_equal(n2.peers()["n3"]["origin"], "PEER_ORIGIN_NUCLEUS", "where n3 is known from")


def meet(lab, kind):
    wait_all_know(lab)
    for node in lab.nodes:
        for other in lab.nodes:
            if other is not node:
                ping(node, other.vip4)
                ping(node, other.vip6)
    first, second = lab.nodes[0], lab.nodes[1]
    peer = first.peers()[second.name]
    check_equal(peer["origin"], "PEER_ORIGIN_NODES", "where the peer is known from")
    check(kind in peer["endpoint"], f"it is met at its {kind} address, not {peer['endpoint']}")
    wait_for(lambda: len(mesh(first)["neighbours"]) == 2, 15, "two neighbours are heard")
    check(f"on, {len(lab.nodes) - 1} neighbours" in first.omnictl("status").stdout, "for people")
    check("no Nucleus" in first.omnictl("peers", "show", second.name).stdout, "where it is from")


@scenario(topology="star", arguments=("3",), beacons=True, start=False)
def robots_in_a_field_with_ipv4(lab):
    only_v4(lab)
    lab.start_all()
    meet(lab, "192.0.2.")


@scenario(topology="star", arguments=("3",), beacons=True, start=False)
def robots_in_a_field_with_link_local_addresses(lab):
    only_link_local(lab)
    begun = time.monotonic()
    lab.start_all()
    started = time.monotonic()
    wait_all_know(lab)
    print(f"all know each other {time.monotonic() - started:.1f} s after they were ready, "
          f"{time.monotonic() - begun:.1f} s after the start")
    meet(lab, "fe80:")
    check_equal(lab.nodes[0].peers()["n2"]["path_kind"], "lan", "kind of the way")
    # An hour is long; what a restart would forget is on the disk.
    n1, n2, n3 = lab.nodes
    wait_on_disk(n1, n2, n3)
    n1.crash("controller")
    n1.start_controller()
    n1.wait_ready()
    check("n2" in n1.peers(), "known from the disk")
    ping(n1, n2.vip4)


@scenario(topology="star", arguments=("3",), nucleus=True, beacons=True)
def beside_a_nucleus_neighbours_are_seen_and_nothing_else_changes(lab):
    """The default beside a Nucleus: neighbours are seen, and nothing else changes."""
    n2, n3 = lab.nodes
    wait_all_know(lab)
    wait_for(lambda: mesh(n2)["neighbours"] and mesh(n3)["neighbours"], 30, "neighbours")
    ping(n2, n3.vip4)
    check_equal(n2.peers()["n3"]["origin"], "PEER_ORIGIN_NUCLEUS", "where n3 is known from")
    check_equal(mesh(n2)["quic_handshakes"], "0", "QUIC between nodes, with a Nucleus there")


@scenario(topology="star", arguments=("4",), beacons=True, start=False,
          secrets={"n4": "a secret of another cluster"})
def strangers_on_the_link_get_silence(lab):
    n1, n2, n3, n4 = lab.nodes
    only_v4(lab)
    with Capture(n4) as capture:
        lab.start_all()
        for node in (n1, n2, n3):
            wait_knows(node, *(other.name for other in (n1, n2, n3) if other is not node))
        wait_for_drops(n1, "rx_beacon_stranger", 1)
        wait_for_drops(n4, "rx_beacon_stranger", 1)
        seen = capture.datagrams()
        beacons = [d for d in seen if d.source == "192.0.2.1" and d.payload[0] == BEACON]
        check(beacons, "n4 has seen beacons of n1")
        check(all(d.target == "224.0.0.1" for d in seen if d.source != "192.0.2.4"),
              "something was sent to n4")
        check(all(len(d.payload) == 180 for d in beacons), "beacons have one size")
        check(len({d.payload[28:] for d in beacons}) == len(beacons), "and no two are alike")
        # What begins a QUIC connection, as any client would make it; and a short one.
        probe = n4.popen("/usr/bin/python3", "-c", QUIC_OF_A_STRANGER)
        probe.wait()
        wait_for_drops(n1, "rx_quic_stranger", 20)
        time.sleep(1)  # for an answer, if there were one
        answers = [d for d in capture.datagrams()
                   if d.target == "192.0.2.4" and d.source != "192.0.2.4"]
        check_equal(answers, [], "answers to a stranger")
    check("n4" not in n1.peers() and n4.peers() == {}, "nothing was learned")
    check_equal(mesh(n4)["beacons_heard"], "0", "beacons that n4 could read")


QUIC_OF_A_STRANGER = """
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.0.2.4", 40000))
for version in (b"\\0\\0\\0\\1", b"\\x1a\\x2a\\x3a\\x4a"):
    for _ in range(10):
        head = b"\\xc3" + version + b"\\x10" + os.urandom(16) + b"\\x10" + os.urandom(16)
        s.sendto(head + os.urandom(1216 - len(head)), ("192.0.2.1", 51900))
for size in (1, 21, 43, 1200):
    s.sendto(b"\\x40" + os.urandom(size - 1), ("192.0.2.1", 51900))
"""


@scenario(topology="star", arguments=("4",), beacons=True, start=False,
          secrets={"n4": "a secret of another cluster"})
def a_replayed_beacon_has_no_effect(lab):
    n1, n2, n3, n4 = lab.nodes
    only_v4(lab)
    with Capture(n4) as capture:
        lab.start_all()
        wait_knows(n1, "n2", "n3")
        wait_knows(n2, "n1", "n3")
        wait_neighbours(n1, "192.0.2.2:51900", "192.0.2.3:51900")
        connect(n1, n2)
        connect(n1, n3)
        beacons = [d.payload for d in capture.datagrams()
                   if d.source == "192.0.2.2" and d.payload[0] == BEACON]
    check(beacons, "n4 has seen beacons of n2")
    handshakes = mesh(n1)["quic_handshakes"]
    replayed, refused = int(mesh(n1)["beacons_replayed"]), int(mesh(n1)["beacons_refused"])
    with Forger(n4) as forger, Capture(n4) as capture:
        for payload in beacons:
            forger.send("192.0.2.2", 51900, "192.0.2.1", 51900, payload)  # as if n2 said it again
            forger.send("192.0.2.4", 51900, "192.0.2.1", 51900, payload)  # and from elsewhere
        wait_for(lambda: int(mesh(n1)["beacons_replayed"]) >= replayed + len(beacons), 10,
                 "n1 counts the replayed ones")
        wait_for(lambda: int(mesh(n1)["beacons_refused"]) >= refused + len(beacons), 10,
                 "n1 counts those from elsewhere")
        time.sleep(1)
        check_equal([d for d in capture.datagrams() if d.target == "192.0.2.4"], [], "answers")
    check_equal(mesh(n1)["quic_handshakes"], handshakes, "QUIC handshakes")
    check_equal({n["endpoint"] for n in mesh(n1)["neighbours"]},
                {"192.0.2.2:51900", "192.0.2.3:51900"}, "where neighbours are")
    check_equal(n1.peers()["n2"]["endpoint"], "192.0.2.2:51900", "where n2 is")


@scenario(topology="star", arguments=("4",), nucleus=True, beacons=True, start=False)
def everything_converges_when_the_nucleus_is_back(lab):
    n2, n3, n4 = lab.nodes
    for node in lab.nodes:
        node.start_dataplane()
        node.start_controller()
    for node in lab.nodes:
        node.wait_ready()
    wait_all_know(lab)
    ping(n2, n3.vip4)
    ping(n3, n4.vip4)
    move(n2, 77)
    ping(n4, n2.vip4)
    lab.nucleus.start()
    for node in lab.nodes:
        wait_for(lambda n=node: nucleus_status(n)["state"] == "NUCLEUS_STATE_REGISTERED", 120,
                 f"{node.name}: registration")
    check_equal(lab.nucleus.metric("omni_nucleus_nodes"), 3.0, "nodes in the registry")

    def converged():
        own = {node.name: mesh(node)["record_sequence"] for node in lab.nodes}
        return all(node.peers()[name]["record_sequence"] == sequence
                   and node.peers()[name]["origin"] == "PEER_ORIGIN_NUCLEUS"
                   for node in lab.nodes for name, sequence in own.items() if name != node.name)
    wait_for(converged, 30, "all have the same records, from the Nucleus")
    for a, b in ((n2, n3), (n3, n4), (n4, n2)):
        ping(a, b.vip4)


@scenario(topology="star", arguments=("2",), beacons=True, start=False)
def without_a_nucleus_an_automatic_address_is_one_that_was_given(lab):
    n1, n2 = lab.nodes
    text = open(n1.config_file, encoding="utf-8").read()
    with open(n1.config_file, "w", encoding="utf-8") as file:
        file.write(text.replace(f'addresses = ["{n1.vip4}/24", "{n1.vip6}/64"]',
                                'addresses = ["auto"]'))
    lab.start_all()
    check("it needs a Nucleus" in n1.status()["address_error"], "n1 says what it lacks")
    check("it needs a Nucleus" in n1.omnictl("status").stdout, "for people as well")
    check_equal(n2.status()["address_error"], "", "n2 has its own")


run(who_moves_without_a_nucleus_is_found, known_peers_meet_again_after_both_restarted,
    robots_in_a_field_with_ipv4, robots_in_a_field_with_link_local_addresses,
    beside_a_nucleus_neighbours_are_seen_and_nothing_else_changes,
    strangers_on_the_link_get_silence, a_replayed_beacon_has_no_effect,
    everything_converges_when_the_nucleus_is_back,
    without_a_nucleus_an_automatic_address_is_one_that_was_given)
