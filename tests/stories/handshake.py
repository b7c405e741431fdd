# SPDX-License-Identifier: Apache-2.0
"""Two machines that know each other's key talk, inside and outside over IPv4 and IPv6.

    n1 10.77.0.1, fd77::1                      10.77.0.2, fd77::2 n2
       eth0 192.0.2.1, 2001:db8::1 ---- 192.0.2.2, 2001:db8::2 eth0
"""
from story import check, check_equal, current_session, ping, run, scenario, wait_for


def both_families_inside(n1, n2):
    ping(n1, n2.vip4)
    ping(n1, n2.vip6)
    ping(n2, n1.vip4, count=20)
    ping(n2, n1.vip6, count=20)
    n1.wait_up(n2)
    n2.wait_up(n1)
    wait_for(lambda: current_session(n1, n2) == current_session(n2, n1), 5, "the same session")
    # The largest packet that the interface takes, unfragmented, in both directions.
    ping(n1, n2.vip4, "-M", "do", "-s", str(1420 - 28), count=3)
    ping(n2, n1.vip6, "-M", "do", "-s", str(1420 - 48), count=3)


@scenario(topology="pair", underlay="v4")
def over_ipv4(lab):
    n1, n2 = lab.nodes
    both_families_inside(n1, n2)
    check_equal(n1.peers()["n2"]["endpoint"], "192.0.2.2:51900", "endpoint of n2")
    check_equal(n2.peers()["n1"]["endpoint"], "192.0.2.1:51900", "endpoint of n1")
    check_equal(n1.peers()["n2"]["handshake_failures"], "0", "failed handshakes")


@scenario(topology="pair", underlay="v6", start=False)
def over_ipv6_alone(lab):
    """The underlay has no IPv4 address at all."""
    n1, n2 = lab.nodes
    for node in lab.nodes:
        node.run("ip", "-4", "address", "flush", "dev", "eth0")
        node.start_dataplane()
        node.start_controller()
    for node in lab.nodes:
        node.wait_ready()
    both_families_inside(n1, n2)
    check_equal(n1.peers()["n2"]["endpoint"], "[2001:db8::2]:51900", "endpoint of n2")


@scenario(topology="pair")
def both_sides_at_once(lab):
    """Simultaneous initiation ends in a session that both use."""
    n1, n2 = lab.nodes
    pings = [a.popen("ping", "-n", "-c", "5", "-i", "0.1", "-W", "10", b.vip4)
             for a, b in ((n1, n2), (n2, n1))]
    check_equal([p.wait() for p in pings], [0, 0], "exit codes of ping")
    n1.wait_up(n2)
    n2.wait_up(n1)
    ping(n1, n2.vip4, count=10)
    ping(n2, n1.vip4, count=10)
    check(n1.drops()["rx_unknown_channel"] == 0, "no data on a session that does not exist")


run(over_ipv4, over_ipv6_alone, both_sides_at_once)
