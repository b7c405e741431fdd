# SPDX-License-Identifier: Apache-2.0
"""A node is excluded from its cluster while it talks to the others, and stays out.

    n1 eth0 --+        n1: omni-nucleus, and nothing else
    n2 eth0 --+-- br0  n4 is revoked
    n3 eth0 --+
    n4 eth0 --+
    n5 eth0 --+        in one of them
"""
import json
import threading
import time

from story import (check, check_equal, metric, nucleus_status, ping, run, scenario, session_ids,
                   steady_ping, wait_all_know, wait_for)
from omnilab import Options

LIMIT_S = 1.0  # promised: everywhere within a second


def revocations(node):
    return node.omnictl_json("cluster", "revocations")["revocations"]


def wait_connected(lab):
    wait_all_know(lab)
    for index, node in enumerate(lab.nodes):
        for other in lab.nodes[index + 1:]:
            ping(node, other.vip4)
            node.wait_up(other)
            other.wait_up(node)


def is_out(node, revoked):
    """Neither a peer nor a session is left of it."""
    return revoked.name not in node.peers() and not session_ids(node, revoked)


def watch(node, revoked, gone, stop):
    while not stop.is_set():
        if is_out(node, revoked):
            gone[node.name] = time.monotonic()
            return


def check_stays_out(revoked, *others):
    """It tries by itself: by its Nucleus, by what it knows, by traffic in both directions."""
    for other in others:
        lost = revoked.run("ping", "-n", "-c", "3", "-i", "0.3", "-W", "1", other.vip4, check=False)
        check(" 0 received" in lost.stdout, f"{revoked.name} reaches {other.name}: {lost.stdout}")
        lost = other.run("ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", revoked.vip4, check=False)
        check(lost.returncode != 0, f"{other.name} reaches {revoked.name}: {lost.stdout}")
        check(is_out(other, revoked), f"{other.name} has let {revoked.name} in again")


@scenario(topology="star", arguments=("4",), nucleus=True)
def a_node_is_out_everywhere_within_a_second_and_for_good(lab):
    n2, n3, n4 = lab.nodes
    wait_connected(lab)
    refused = n2.omnictl("cluster", "revoke", "n4", check=False)
    check_equal(refused.returncode, 2, "exit code without --yes")
    gone, stop = {}, threading.Event()
    watchers = [threading.Thread(target=watch, args=(node, n4, gone, stop)) for node in (n2, n3)]
    for watcher in watchers:
        watcher.start()
    began = time.monotonic()
    n2.omnictl("cluster", "revoke", "n4", "--reason", "stolen from the dock", "--yes")
    for watcher in watchers:
        watcher.join(15)
    stop.set()
    check_equal(sorted(gone), ["n2", "n3"], "nodes that let go of n4")
    took = {name: round(when - began, 3) for name, when in gone.items()}
    print(f"from the command to no peer and no session: {took} s", flush=True)
    check(max(took.values()) < LIMIT_S, f"it took {took} s")

    wait_for(lambda: "revoked" in nucleus_status(n4), 10, "n4 knows that it is revoked")
    status = nucleus_status(n4)
    check_equal(status["revoked"]["reason"], "stolen from the dock", "the reason, at n4")
    check(status["state"] != "NUCLEUS_STATE_REGISTERED", "n4 is not registered any more")
    check("this node is revoked" in n4.omnictl("nucleus", "status").stdout, "and says so to people")
    for node in (n2, n3):
        check_equal([r["name"] for r in revocations(node)], ["n4"], f"revoked, says {node.name}")
        check_equal(metric(node, "omni_controller_revoked_nodes"), 1.0, "the metric")
    check_equal(lab.nucleus.metric("omni_nucleus_revoked_nodes"), 1.0, "revoked, says the Nucleus")
    check_equal(lab.nucleus.metric("omni_nucleus_nodes"), 2.0, "nodes in the registry")
    check_stays_out(n4, n2, n3)
    # It tries anew once it has missed answers for long enough.
    with steady_ping(n4, n2.vip4, interval=0.2):
        wait_for(lambda: metric(n2, "omni_controller_handshake_failures_total") > 0, 30,
                 "its handshakes are counted")
    ping(n2, n3.vip4)

    # Nothing of it depends on what a process remembers.
    lab.nucleus.crash("nucleus")
    for node in (n2, n3, n4):
        node.crash("controller")
    for node in (n2, n3, n4):
        node.start_controller()
    for node in (n2, n3, n4):
        node.wait_ready()
    for node in (n2, n3):
        check_equal([r["name"] for r in revocations(node)], ["n4"],
                    f"revoked, says {node.name} without its Nucleus")
    check_stays_out(n4, n2, n3)
    lab.nucleus.start()
    check_equal(lab.nucleus.metric("omni_nucleus_revoked_nodes"), 1.0, "the Nucleus still knows")
    wait_for(lambda: all(nucleus_status(n)["state"] == "NUCLEUS_STATE_REGISTERED"
                         for n in (n2, n3)), 60, "n2 and n3 are back")
    wait_for(lambda: "revoked" in nucleus_status(n4), 60, "n4 is refused again")
    for node in (n2, n3, n4):
        node.crash("dataplane")
    for node in (n2, n3, n4):
        node.wait_ready()
    ping(n2, n3.vip4, attempts=3)
    check_stays_out(n4, n2, n3)


@scenario(topology="star", arguments=("5",), nucleus=True)
def without_a_nucleus_it_goes_from_node_to_node(lab):
    n2, n3, n4, n5 = lab.nodes
    wait_connected(lab)
    n5.stop_all()
    # Without a word: nobody has missed it yet when the node is revoked.
    lab.nucleus.crash("nucleus")
    gone, stop = {}, threading.Event()
    watcher = threading.Thread(target=watch, args=(n3, n4, gone, stop))
    watcher.start()
    began = time.monotonic()
    n2.omnictl("cluster", "revoke", "n4", "--reason", "stolen", "--yes")
    check(is_out(n2, n4), "n2 has let go of n4 when the command ends")
    watcher.join(15)
    stop.set()
    check("n3" in gone, "n3 has let go of n4")
    took = gone["n3"] - began
    print(f"from the command to no peer and no session, from node to node: {took:.3f} s", flush=True)
    check(took < LIMIT_S, f"it took {took:.3f} s")
    check_equal([r["reason"] for r in revocations(n3)], ["stolen"], "the reason, at n3")
    check_stays_out(n4, n2, n3)
    ping(n2, n3.vip4)

    # Who was away learns it from whom it talks to.
    n5.start_dataplane()
    n5.start_controller()
    n5.wait_ready()
    ping(n5, n3.vip4, attempts=3)
    wait_for(lambda: [r["name"] for r in revocations(n5)] == ["n4"], 20, "n5 has learned of it")
    check(is_out(n5, n4), "n5 has let go of n4")
    check_stays_out(n4, n5)
    # It does not go round for ever.
    def said():
        return [metric(n3, f"omni_mesh_{name}_total") for name in ("handshakes", "messages_refused")]
    handshakes, refused = said()
    ping(n2, n3.vip4, count=100)  # two seconds
    check(said()[0] - handshakes <= 2, "QUIC handshakes at n3, where nothing is new")
    check_equal(said()[1], refused, "messages that n3 refused")

    lab.nucleus.start()
    wait_for(lambda: all(nucleus_status(n)["state"] == "NUCLEUS_STATE_REGISTERED"
                         for n in (n2, n3, n5)), 60, "the others are registered again")
    check_equal(lab.nucleus.metric("omni_nucleus_revoked_nodes"), 1.0, "the Nucleus knows as well")
    wait_for(lambda: "revoked" in nucleus_status(n4), 60, "n4 knows that it is revoked")


@scenario(topology="star", arguments=("3",))
def a_peer_that_is_configured_by_hand_is_refused_as_well(lab):
    n1, n2, n3 = lab.nodes
    wait_connected(lab)
    n1.omnictl("cluster", "revoke", "n3", "--reason", "sold", "--yes")
    listed = n1.omnictl("peers", "list").stdout
    check("revoked" in listed and "n3: revoked: sold" in listed, f"peers list says so: {listed}")
    check_equal(n1.peers()["n3"]["state"], "PEER_STATE_REVOKED", "state of n3")
    check_equal(session_ids(n1, n3), set(), "sessions with n3")
    refused = n1.omnictl("ping", "n3", "--count", "1", check=False)
    check_equal(refused.returncode, 5, f"exit code of ping: {refused.stderr}")
    lost = n3.run("ping", "-n", "-c", "3", "-i", "0.3", "-W", "1", n1.vip4, check=False)
    check(" 0 received" in lost.stdout, "n3 does not reach n1")
    # The file still holds it: neither a reload nor a restart brings it back.
    lab.write_config(n1, Options())
    n1.omnictl("reload")
    n1.stop("controller")
    n1.start_controller()
    n1.wait_ready()
    check_equal(n1.peers()["n3"]["state"], "PEER_STATE_REVOKED", "state of n3 after a restart")
    key = json.loads(n3.omnictl("status", "--output", "json").stdout)["key"]
    lab.write_config(n1, Options(), peers=[n2])
    n1.omnictl("reload")
    again = n1.omnictl("peers", "add", "n3", "--key", key, "--allowed", f"{n3.vip4}/32", check=False)
    check_equal(again.returncode, 5, f"exit code of adding it again: {again.stderr}")
    ping(n1, n2.vip4)


run(a_node_is_out_everywhere_within_a_second_and_for_good,
    without_a_nucleus_it_goes_from_node_to_node,
    a_peer_that_is_configured_by_hand_is_refused_as_well)
