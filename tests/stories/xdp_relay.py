# SPDX-License-Identifier: Apache-2.0
"""A willing machine with native XDP sends on what the others send each other without its workers, and with
them as soon as XDP cannot.

    n1, n2, n3, n4 eth0 --- a switch on which n2 and n3 drop each other's packets

n1: omni-nucleus, which goes; n4: willing, with XDP on eth0.
"""
import json

from story import (Options, check, check_equal, let_xdp_send, metric, ping, run, scenario,
                   steady_ping, stop_nucleus, wait_for, wait_all_know)
from omnilab import measure, wall
from omnilab.shell import ip_batch
from omnilab.sockets import Capture, Forger

STAR = {"topology": "star", "arguments": ("4",), "nucleus": True, "start": False}
RELAYED = "omni_dataplane_relayed_packets_total"


def feature(node):
    found = (f for f in node.status()["dataplane"]["features"] if f["name"] == "xdp_relay")
    return next(found, {"active": False, "reason": ""})


def relays_by_xdp(node):
    found = feature(node)
    return found["active"] and found["reason"].split()[2] == found["reason"].split()[4]


def up(node, peer):
    return node.peers().get(peer, {}).get("state") == "PEER_STATE_UP"


def start(lab, underlay="v4"):
    """n2 and n3, whom n4 relays, by XDP."""
    n2, n3, n4 = lab.nodes
    for node in lab.nodes:
        node.run("ip", "-6" if underlay == "v4" else "-4", "address", "flush", "dev", "eth0")
    wall.build(n2, n3)
    let_xdp_send(lab)
    n4.dataplane_options += ["--xdp", "native"]
    with open(n4.config_file, "a", encoding="utf-8") as file:
        file.write('\n[relay]\nfor_peers = "on"\npair_mbit = 10000\ntotal_mbit = 20000\n')
    lab.start(Options())
    wait_all_know(lab)
    stop_nucleus(lab, lab.nodes)
    wait_for(lambda: up(n2, "n4") and up(n3, "n4"), 30, "n2 and n3 have sessions with n4")
    ping(n2, n3.vip4, attempts=3)
    check_equal(n2.peers()["n3"]["relay"], "n4", "who relays")
    wait_for(lambda: relays_by_xdp(n4), 20, "n4 relays by XDP")
    return n2, n3, n4


def moved(node, action):
    """What the counters of a node have grown by meanwhile, and the metric of all that is relayed."""
    relayed, before = metric(node, RELAYED), node.workers_counters()
    action()
    after = node.workers_counters()
    out = {name: after[name] - before[name] for name in after if name.startswith("xdp_relay")}
    return {**out, "all": metric(node, RELAYED) - relayed}


def received(node, interface):
    """Packets of an interface."""
    shown = json.loads(node.run("ip", "-s", "-j", "link", "show", interface).stdout)[0]
    return shown["stats64"]["rx"]["packets"]


def relay_drops(node):
    return {reason: n for reason, n in node.drops().items() if "relay" in reason and n}


@scenario(**STAR, underlay="v6")
def no_worker_sees_what_is_relayed(lab):
    n2, n3, n4 = start(lab, underlay="v6")
    check("2001:db8::" in n4.peers()["n2"]["endpoint"], "n4 speaks IPv6 with them")

    def talk():
        ping(n2, n3.vip4, count=100)
        ping(n3, n2.vip6, "-s", "1200", count=100)
    grown = moved(n4, talk)
    print(f"    {grown}")
    check(grown["xdp_relayed"] >= 400, "relayed by XDP")
    check(grown["all"] >= grown["xdp_relayed"], "it is counted as relayed")
    check(grown["xdp_relay_left"] <= 10, "left to user space")
    check(grown["xdp_relayed_bytes"] > 200 * 1200, "bytes")
    check_equal(relay_drops(n4), {}, "drops")
    for receiver, sender in ((n3, n2), (n2, n3)):
        grown = moved(n4, lambda r=receiver, s=sender: measure.move_file(s, r, s.vip4, megabytes=8))
        check(grown["xdp_relayed"] > 5000 and grown["xdp_relay_left"] <= 10, f"a file: {grown}")
    status = n4.omnictl("status").stdout
    check("for peers, 2 pairs now" in status and "xdp_relay" in status, status)


@scenario(**STAR)
def a_peer_that_moves_is_still_relayed(lab):
    n2, n3, n4 = start(lab)
    with steady_ping(n2, n3.vip4) as pings:
        pings.wait_for_more(20)
        n3.run("ip", "-4", "address", "flush", "dev", "eth0")
        n3.run("ip", "address", "add", "192.0.2.77/24", "dev", "eth0")
        pings.wait_for_more(20, timeout=40)
    wait_for(lambda: n4.peers()["n3"]["endpoint"] == "192.0.2.77:51900", 20, "n4 knows the address")
    wait_for(lambda: relays_by_xdp(n4), 20, "n4 relays by XDP again")
    check_equal(n2.peers()["n3"]["relay"], "n4", "who relays")
    grown = moved(n4, lambda: ping(n3, n2.vip4, count=50))
    check(grown["xdp_relayed"] >= 100 and grown["xdp_relay_left"] <= 10, f"afterwards: {grown}")


@scenario(**STAR)
def without_xdp_the_workers_take_over(lab):
    n2, n3, n4 = start(lab)
    with steady_ping(n2, n3.vip4) as pings:
        pings.wait_for_more(20)
        n4.omnictl("path", "set", "--xdp", "off")
        pings.wait_for_more(50)
        check_equal(feature(n4)["active"], False, "XDP relays")
        grown = moved(n4, lambda: pings.wait_for_more(50))
        check(grown["all"] >= 100 and grown["xdp_relayed"] == 0, f"by workers: {grown}")
        n4.omnictl("path", "reset")
        wait_for(lambda: relays_by_xdp(n4), 20, "n4 relays by XDP again")
        grown = moved(n4, lambda: pings.wait_for_more(50))
        check(grown["xdp_relayed"] >= 100, f"by XDP again: {grown}")
        print(f"    lost: {pings.lost()}, longest gap {pings.longest_gap() * 1000:.0f} ms")
        check(pings.longest_gap() < 2, "traffic stood still")
    # The other end of the veth takes nothing of XDP any more: it would be lost without a word.
    let_xdp_send(lab, "off")
    wait_for(lambda: not feature(n4)["active"], 20, "n4 notices")
    check("gro on" in feature(n4)["reason"], feature(n4)["reason"])
    grown = moved(n4, lambda: ping(n2, n3.vip4, count=50))
    check(grown["xdp_relayed"] == 0 and grown["all"] >= 100, f"without GRO there: {grown}")
    check_equal(n2.peers()["n3"]["relay"], "n4", "who relays")


@scenario(**STAR)
def forgers_and_replays_end_at_xdp(lab):
    n2, n3, n4 = start(lab)
    with Capture(n2) as capture:
        ping(n2, n3.vip4, count=40)
        seen = [d for d in capture.datagrams()
                if d.payload[:1] == b"\4" and d.source == n2.underlay["v4"]
                and d.target == n4.underlay["v4"]]
    at_n4 = n4.underlay["v4"]
    check(len(seen) >= 30, f"datagrams of n2: {len(seen)}")
    with Forger(n3) as forger:
        def send(source, reason):
            for d in seen:
                forger.send(source or d.source, d.source_port, at_n4, 51900, d.payload)
            wait_for(lambda: n4.drops()[reason] >= len(seen) * 3 // 4, 15, f"dropped as {reason}")
        for source, reason in ((None, "rx_relay_replayed"), ("192.0.2.99", "rx_relay_source")):
            grown = moved(n4, lambda s=source, r=reason: send(s, r))
            check_equal(grown["xdp_relay_left"], 0, f"what user space saw of {reason}")
    ping(n2, n3.vip4, count=5)


@scenario(**STAR)
def between_two_interfaces_of_the_relay(lab):
    n2, n3, n4 = start(lab)
    # A cable of its own between n3 and n4, under the same addresses.
    ip_batch([f"link add eth1 netns {n3.namespace} type veth peer name eth1 netns {n4.namespace}"])
    n3.run("ethtool", "-K", "eth1", "gro", "on")
    for node in (n3, n4):
        ip_batch([f"address add {node.underlay['v4']}/32 dev eth1", "link set eth1 up"], node.namespace)
    for node, other in ((n3, n4), (n4, n3)):
        node.run("ip", "route", "add", f"{other.underlay['v4']}/32", "dev", "eth1",
                 "src", node.underlay["v4"])
    wait_for(lambda: any(f["name"] == "xdp:eth1" and f["active"]
                         for f in n4.status()["dataplane"]["features"]), 20, "XDP on eth1")
    ping(n2, n3.vip4, attempts=3)

    def by_the_cable():
        packets = received(n3, "eth1")
        grown = moved(n4, lambda: ping(n2, n3.vip4, count=50))
        return received(n3, "eth1") >= packets + 50 and grown["xdp_relayed"] >= 100 \
            and grown["xdp_relay_left"] <= 2
    wait_for(by_the_cable, 20, "XDP relays from one to the other")
    measure.move_file(n3, n2, n3.vip4, megabytes=8)
    check_equal(relay_drops(n4), {}, "drops")


run(no_worker_sees_what_is_relayed, between_two_interfaces_of_the_relay, a_peer_that_moves_is_still_relayed,
    without_xdp_the_workers_take_over, forgers_and_replays_end_at_xdp)
