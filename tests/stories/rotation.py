# SPDX-License-Identifier: Apache-2.0
"""A cluster changes its secret while its nodes talk, and who is left with the former one is out.

    n1 eth0 --+        n1: omni-nucleus, and nothing else
    n2 eth0 --+-- br0  n4 is late with every step
    n3 eth0 --+
    n4 eth0 --+
"""
from story import (check, check_equal, metric, ping, run, scenario, session_ids, steady_ping,
                   wait_for, wait_for_drops, wait_knows)
from omnilab import Options
from omnilab.config import write_private

# Handshakes within seconds, so that each step sees some.
SESSION = {"rekey_after_s": 5, "reject_after_s": 15}
NEXT = "the-secret-that-comes-next"


def cluster_status(node):
    return node.omnictl_json("cluster", "status")


def uses(node, other):
    return next(n["cluster_id"] for n in cluster_status(node)["nodes"] if n["name"] == other.name)


def write_secrets(lab, node, present, accepted=None, options=Options(session=SESSION)):
    write_private(f"{node.directory}/secret", present + "\n")
    node.accepted_secret_file = f"{node.directory}/accepted" if accepted else None
    if accepted:
        write_private(node.accepted_secret_file, accepted + "\n")
    lab.write_config(node, options)


def set_secrets(lab, node, *secrets, **options):
    """Files, configuration and a reload, as an administrator does it."""
    write_secrets(lab, node, *secrets, **options)
    node.omnictl("reload")


def restart_nucleus(lab, *secrets):
    lab.nucleus.set_secrets(*secrets)
    lab.nucleus.stop("nucleus")
    lab.nucleus.start()
    for node in lab.nodes:
        wait_for(lambda n=node: n.omnictl_json("nucleus", "status")["state"]
                 == "NUCLEUS_STATE_REGISTERED", 90, f"{node.name} is registered again")


def wait_for_handshakes(*pairs):
    """Until each pair has another session than now."""
    before = {pair: session_ids(*pair) for pair in pairs}
    for node, other in pairs:
        wait_for(lambda n=node, o=other: session_ids(n, o) - before[(n, o)], 30,
                 f"{node.name} and {other.name} shake hands")


@scenario(topology="star", arguments=("4",), nucleus=True, session=SESSION)
def the_secret_changes_and_no_echo_is_lost(lab):
    n2, n3, n4 = lab.nodes
    with open(f"{n2.directory}/secret", encoding="utf-8") as file:
        former = file.read().strip()
    for node in lab.nodes:
        wait_for(lambda n=node: len(n.peers()) == 2, 30, f"{node.name} knows all")
    for node, other in ((n2, n3), (n3, n4), (n4, n2)):
        ping(node, other.vip4)
    old = cluster_status(n2)["cluster_id"]
    pairs = ((n2, n3), (n3, n4), (n4, n2))
    with steady_ping(n2, n3.vip4) as first, steady_ping(n3, n4.vip4) as second, \
            steady_ping(n4, n2.vip4) as third:
        def step(what):
            wait_for_handshakes(*pairs)
            lost = [pings.lost() for pings in (first, second, third)]
            check_equal(lost, [[], [], []], f"lost echoes: {what}")
            print(f"no echo lost: {what}", flush=True)

        first.wait_for_more(5)
        restart_nucleus(lab, NEXT, former)
        step("the Nucleus knows both")
        for node in (n2, n3):
            set_secrets(lab, node, former, NEXT)
        status = cluster_status(n2)
        check_equal(status["cluster_id"], old, "n2 goes on with the former one")
        wait_for(lambda: cluster_status(n2)["not_accepted"] == 1, 10, "n4 alone does not hold it")
        step("two of three accept the next one")
        for node in (n2, n3):
            set_secrets(lab, node, NEXT, former)
        new = cluster_status(n2)["cluster_id"]
        check(new != old, "n2 uses the next one")
        wait_for(lambda: (uses(n2, n3), uses(n2, n4), uses(n4, n2)) == (new, old, new), 10,
                 "who uses which")
        check_equal(cluster_status(n2)["not_present"], 1, "n4 is missing, says n2")
        check("1 of 2 are not known to use" in n2.omnictl("cluster", "status").stdout,
              "and says so to people")
        step("two of three use it, and n4 has never heard of it")
        set_secrets(lab, n4, NEXT, former)
        for node in lab.nodes:
            wait_for(lambda n=node: cluster_status(n)["not_present"] == 0, 10,
                     f"{node.name} says that all use it")
        step("all use it")
        for node in lab.nodes:
            set_secrets(lab, node, NEXT)
        step("no node accepts the former one")
        restart_nucleus(lab, NEXT)
        step("the Nucleus neither")
        answers = len(first.replies()) + len(second.replies()) + len(third.replies())
        print(f"{answers} echoes, none lost", flush=True)

    # A machine that kept the former secret, as one that was stolen before the change.
    set_secrets(lab, n4, former)
    wait_for(lambda: not session_ids(n2, n4) and not session_ids(n3, n4), 40,
             "sessions with n4 end at their reject time")
    refused = metric(n2, "omni_controller_handshake_failures_total")
    lost = n4.run("ping", "-n", "-c", "3", "-i", "0.3", "-W", "1", n2.vip4, check=False)
    check(" 0 received" in lost.stdout, f"n4 reaches n2: {lost.stdout}")
    # A call that was under way is repeated after five seconds, whoever pings meanwhile.
    wait_for(lambda: metric(n2, "omni_controller_handshake_failures_total") > refused, 10,
             "it is counted")
    check_equal(session_ids(n2, n4), set(), "sessions with n4")
    n4.stop("controller")
    n4.start_controller()
    n4.wait_ready()
    wait_for(lambda: "does not serve this cluster" in n4.omnictl_json("nucleus", "status")
             ["last_error"], 30, "the Nucleus refuses n4")
    ping(n2, n3.vip4)


@scenario(topology="star", arguments=("3",), beacons=True, start=False)
def neighbours_by_either_secret_find_each_other_without_a_nucleus(lab):
    late, between, early = lab.nodes
    options = Options(beacons=True)
    with open(f"{late.directory}/secret", encoding="utf-8") as file:
        former = file.read().strip()
    write_secrets(lab, between, former, NEXT, options=options)
    write_secrets(lab, early, NEXT, options=options)
    lab.start_all()
    for node in (late, early):
        wait_knows(node, between.name)
        wait_knows(between, node.name)
        ping(node, between.vip4, attempts=2)
        ping(between, node.vip4)
    check_equal(set(late.peers()) | set(early.peers()), {between.name}, "they share no secret")
    wait_for_drops(late, "rx_beacon_stranger", 1)
    # Everybody takes a step; the last of the former secret has met the last of the next one.
    set_secrets(lab, between, NEXT, former, options=options)
    set_secrets(lab, late, former, NEXT, options=options)
    wait_knows(late, early.name)
    wait_knows(early, late.name)
    ping(late, early.vip4, attempts=2)
    # And then there is one again: who has kept the former one is a stranger.
    set_secrets(lab, between, NEXT, options=options)
    write_secrets(lab, late, former, options=options)
    late.stop("controller")
    before = between.drops()["rx_beacon_stranger"]
    heard = metric(between, "omni_mesh_beacons_heard_total")
    late.start_controller()
    late.wait_ready()
    wait_for_drops(between, "rx_beacon_stranger", before + 1)
    check(metric(between, "omni_mesh_beacons_heard_total") - heard <= 3, "heard but those of the third")
    ping(between, early.vip4)


run(the_secret_changes_and_no_echo_is_lost,
    neighbours_by_either_secret_find_each_other_without_a_nucleus)
