# SPDX-License-Identifier: Apache-2.0
"""A dataplane crashes: the supervisor starts it again, the controller gives it its state and shakes
hands anew. Traffic is back within two seconds, whichever side it was.

    n1 eth0 ---- eth0 n2
"""
from story import check, connect, run, scenario, session_ids, steady_ping, wait_for


def crash_and_return(lab, victim):
    n1, n2 = lab.nodes
    connect(n1, n2)
    sessions = session_ids(n1)
    pid = victim.pid("dataplane")
    with steady_ping(n1, n2.vip4) as pinger:
        pinger.wait_for_more(20)
        victim.crash("dataplane")
        pinger.wait_for_more(50)
    wait_for(lambda: victim.pid("dataplane") not in (None, pid), 5, "another dataplane")
    gap = pinger.longest_gap()
    print(f"    traffic stood still for {gap:.2f} s")
    # The product's promise, not a measurement: it is what the crash model is built for.
    check(gap < 2, f"traffic stood still for {gap:.2f} s")
    check(not sessions & session_ids(victim), "sessions of before are gone")


@scenario(topology="pair")
def of_the_receiver(lab):
    crash_and_return(lab, lab.nodes[1])


@scenario(topology="pair")
def of_the_sender(lab):
    crash_and_return(lab, lab.nodes[0])


run(of_the_receiver, of_the_sender)
