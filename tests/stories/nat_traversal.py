# SPDX-License-Identifier: Apache-2.0
"""Nodes behind NATs find a direct way to each other, begin when there is traffic and not before, and
say what their NAT is.

    n2, n3, ... eth0 --- r, c (NAT) ---+
                                       +--- internet --- n1: omni-nucleus, and nothing else
"""
import json

from story import (check, check_equal, metric, ping, run, scenario, session_ids, steady_ping,
                   wait_all_know, wait_for)
from omnilab import Options  # noqa: E402


def outer(lab, node):
    """The address on the internet of a node's site."""
    return f"198.51.100.{10 + lab.topology.nodes[node.number - 1].access['site']}"


def endpoint(node, peer):
    return node.peers()[peer.name]["endpoint"]


@scenario(topology="nat", arguments=("none", "port-restricted", "port-restricted"), nucleus=True)
def two_filters_are_opened_from_both_sides(lab):
    n2, n3 = lab.nodes
    wait_all_know(lab, timeout=60)
    check_equal(session_ids(n2) | session_ids(n3), set(), "sessions before there is traffic")
    ping(n2, n3.vip4)
    check(endpoint(n2, n3).startswith(outer(lab, n3) + ":"), "n3 is met at its NAT")
    check(endpoint(n3, n2).startswith(outer(lab, n2) + ":"), "n2 is met at its NAT")
    # It stays open: an idle minute is what many NATs forgive, half of it is what all do.
    ping(n3, n2.vip6, count=20)


@scenario(topology="nat", arguments=("none", "port-restricted", "same", "symmetric", "same"),
          nucleus=True)
def neighbours_meet_inside(lab):
    n2, n3, n4, n5 = lab.nodes
    wait_all_know(lab, timeout=60)
    for a, b in ((n2, n3), (n5, n4)):
        ping(a, b.vip4)
        check(endpoint(a, b).startswith("10.0."), f"{a.name} meets {b.name} on their own network")


@scenario(topology="nat", arguments=("none", "symmetric", "full-cone", "port-restricted"),
          nucleus=True)
def a_hard_nat_meets_who_does_not_filter_ports(lab):
    hard, cone, filtering = lab.nodes
    wait_all_know(lab, timeout=60)
    ping(cone, hard.vip4)  # called by the other side: its address was never guessed
    ping(hard, cone.vip4)
    check_equal(cone.peers()[hard.name]["path_kind"], "direct v4", "way to the hard one")
    # Nobody can meet a hard NAT behind a port filter: that is what a relay is for.
    ping(hard, filtering.vip4)
    relayed = hard.peers()[filtering.name]
    check_equal(relayed["path_kind"], "relay", "way between the two")
    check("no direct answer from" in relayed["path_reason"], "and why")


@scenario(topology="nat", arguments=("none", "port-restricted", "symmetric-block"), nucleus=True,
          in_kernel="off", start=False)
def the_port_of_a_hard_nat_is_searched_for(lab):
    filtering, hard = lab.nodes
    lab.write_config(filtering, Options(), nucleus={"port_search": "on"})
    lab.start_all()
    wait_all_know(lab, timeout=60)
    with steady_ping(hard, filtering.vip4) as pings:
        pings.wait_for_more(1)
        check_equal(hard.peers()[filtering.name]["path_kind"], "relay", "way before")

        def ways():
            return {filtering.peers()[hard.name]["path_kind"],
                    hard.peers()[filtering.name]["path_kind"]}
        wait_for(lambda: "ports of" in filtering.peers()[hard.name]["path_reason"]
                 or ways() == {"direct v4"}, 30, "it is said that ports are searched")
        wait_for(lambda: ways() == {"direct v4"}, 60, "both are on the direct way")
        pings.wait_for_more(50)
        check(not pings.lost(), "an echo was lost")
    check(endpoint(filtering, hard).startswith(outer(lab, hard) + ":40"), "a port of the block")
    check_equal(ways(), {"direct v4"}, "and they stay there")
    tries = metric(filtering, "omni_port_search_tries_total")
    print(f"found with {tries:.0f} tries")
    check(0 < tries <= 2200, f"{tries} tries")
    check_equal(metric(hard, "omni_port_search_tries_total"), 0.0, "where it is off nothing is tried")


@scenario(topology="nat", arguments=("none", "port-restricted", "port-restricted"), nucleus=True)
def a_call_needs_the_nucleus(lab):
    """The other side of the first story: it is the call that opens the second filter."""
    n2, n3 = lab.nodes
    wait_all_know(lab, timeout=60)
    lab.nucleus.stop("nucleus")
    wait_for(lambda: n2.omnictl_json("nucleus", "status")["state"] != "NUCLEUS_STATE_REGISTERED",
             60, "n2 notices")
    lost = n2.run("ping", "-n", "-c", "1", "-W", "3", n3.vip4, check=False)
    check(" 0 received" in lost.stdout, "n3 was reached without a call")
    # And both calling at once need none.
    n3.popen("ping", "-n", "-c", "20", n2.vip4)
    n2.popen("ping", "-n", "-c", "20", n3.vip4)
    n2.wait_up(n3)


@scenario(topology="nat", arguments=("none", "none", "port-restricted", "symmetric",
                                     "cgnat+symmetric"), nucleus=True)
def netcheck_tells_the_kinds_apart(lab):
    wait_all_know(lab, timeout=60)
    mapping = {}
    for node in lab.nodes:
        network = json.loads(node.omnictl("netcheck", "--output", "json").stdout)
        check_equal(network["nucleus_state"], "NUCLEUS_STATE_REGISTERED", f"{node.name}: Nucleus")
        v4 = network["families"][0]
        check(v4["mapped"].startswith(outer(lab, node) + ":"), f"{node.name}: seen at {v4['mapped']}")
        mapping[node.name] = v4["mapping"]
    check_equal(mapping, {"n2": "MAPPING_NONE", "n3": "MAPPING_PORT_INDEPENDENT",
                          "n4": "MAPPING_ADDRESS_AND_PORT_DEPENDENT",
                          "n5": "MAPPING_ADDRESS_AND_PORT_DEPENDENT"}, "mappings")
    check("easy" in lab.nodes[1].omnictl("netcheck").stdout, "for people")


@scenario(topology="star", arguments=("3",), nucleus=True)
def the_best_way_is_taken_and_a_dead_one_left(lab):
    n2, n3 = lab.nodes
    wait_all_know(lab, timeout=60)

    def ways():
        return {n2.peers()["n3"]["path_kind"], n3.peers()["n2"]["path_kind"]}
    with steady_ping(n2, n3.vip4) as pings:
        wait_for(lambda: ways() == {"direct v6"}, 30, "both sides on the better way")
        pings.wait_for_more(20)
        check(not pings.lost(), "an echo was lost on the way to the better way")
        sessions = session_ids(n2)
        for node in (n3, n2):  # one of them decides, the other follows: both are asked
            node.run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")
            wait_for(lambda: ways() == {"direct v4"}, 30, f"both have left what {node.name} lost")
            pings.wait_for_more(20)
            address = node.underlay["v6"]
            node.run("ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad")
            wait_for(lambda: ways() == {"direct v6"}, 60, f"both are back where {node.name} is")
            pings.wait_for_more(20)
        print(f"longest interruption {pings.longest_gap() * 1000:.0f} ms")
    check(sessions <= session_ids(n2), "the session is the same")
    check(n2.omnictl("peers", "list").stdout.count("direct v6") == 1, "for people")


run(two_filters_are_opened_from_both_sides, neighbours_meet_inside,
    a_hard_nat_meets_who_does_not_filter_ports, the_port_of_a_hard_nat_is_searched_for,
    a_call_needs_the_nucleus,
    netcheck_tells_the_kinds_apart, the_best_way_is_taken_and_a_dead_one_left)
