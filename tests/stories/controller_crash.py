# SPDX-License-Identifier: Apache-2.0
"""The controllers crash while traffic flows: nobody notices. They come back and adopt what runs.

    n1 controller X ---- controller X n2
       dataplane  ======  dataplane
"""
from story import check, check_equal, connect, run, scenario, session_ids, steady_ping


@scenario(topology="pair")
def traffic_goes_on_and_sessions_are_adopted(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    sessions = session_ids(n1)
    pids = [node.pid("dataplane") for node in lab.nodes]
    with steady_ping(n1, n2.vip4) as pinger:
        pinger.wait_for_more(10)
        for node in lab.nodes:
            node.crash("controller")
        pinger.wait_for_more(100)
        for node in lab.nodes:
            node.start_controller()
        for node in lab.nodes:
            node.wait_ready()
        pinger.wait_for_more(20)
    check_equal(pinger.lost(), [], "pings without an answer")
    check_equal(session_ids(n1), sessions, "sessions of n1")
    check_equal(session_ids(n2), sessions, "sessions of n2")
    check_equal([node.pid("dataplane") for node in lab.nodes], pids, "the dataplanes")
    check_equal(n1.peers()["n2"]["handshakes"], "0", "handshakes of the new controller")
    check_equal(n1.peers()["n2"]["state"], "PEER_STATE_UP", "state of n2")


@scenario(topology="pair", session={"rekey_after_s": 5, "reject_after_s": 15})
def an_adopted_session_is_rekeyed(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    sessions = session_ids(n1)
    n1.crash("controller")
    n1.start_controller()
    n1.wait_ready()
    with steady_ping(n1, n2.vip4) as pinger:
        # 5 s to the rekey, at 50 a second.
        pinger.wait_for_more(400, timeout=40)
    check_equal(pinger.lost(), [], "pings without an answer")
    check(session_ids(n1) - sessions, "a newer session")


run(traffic_goes_on_and_sessions_are_adopted, an_adopted_session_is_rekeyed)
