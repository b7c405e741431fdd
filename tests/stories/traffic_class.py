# SPDX-License-Identifier: Apache-2.0
"""DSCP and ECN cross the tunnel as RFC 6040 has it.

    n1 omni0 ping -Q ..  eth0 ---- eth0  omni0 n2
                          |  nftables may mark congestion here
"""
from story import by_the_kernel, check, check_equal, connect, ping, run, scenario, wait_for_drops
from omnilab.sockets import Capture, parse_udp

EF, NOT_ECT, ECT0, CE = 0xb8, 0, 2, 3


def outer_tos(n1, n2, tos):
    """TOS of the datagram that carries a ping with the given TOS."""
    with by_the_kernel(n2), Capture(n2) as wire:
        ping(n1, n2.vip4, "-Q", str(tos), "-s", "500")
        return wire_data(wire, n1).tos


def wire_data(wire, sender):
    def wanted(packet):
        d = parse_udp(packet)
        return (d is not None and d.payload[:1] == b"\x04" and d.source == sender.underlay["v4"]
                and len(d.payload) > 500)
    return parse_udp(wire.until(wanted, what="the datagram with the ping"))


def mark_congestion(node):
    """Of what leaves the host's stack: large packets, which the kernel does not seal by itself.
    tests/bpf has the same table for those that it does."""
    node.run("nft", "add table inet congestion; "
             "add chain inet congestion out { type filter hook output priority 0; }; "
             "add rule inet congestion out oifname eth0 udp sport 51900 ip ecn set ce")


@scenario(topology="pair")
def the_outer_header_copies_the_inner(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    for tos in (0, EF, ECT0, EF | ECT0):
        check_equal(outer_tos(n1, n2, tos), tos, f"outer TOS of inner {tos:#x}")


@scenario(topology="pair")
def congestion_on_the_way_reaches_the_inside(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    mark_congestion(n1)
    with by_the_kernel(n1):
        with Capture(n2, "omni0") as inner:
            ping(n1, n2.vip4, "-Q", str(EF | ECT0), "-s", "600")
            packet = inner.until(lambda p: p[0] >> 4 == 4 and p[9] == 1 and p[20] == 8,
                                 what="the ping")
        check_equal(packet[1], EF | CE, "inner TOS after congestion")
        before = n2.drops()["rx_ecn"]
        n1.run("ping", "-n", "-c", "3", "-i", "0.01", "-W", "0.1", "-s", "600", n2.vip4, check=False)
        wait_for_drops(n2, "rx_ecn", before + 3)
        n1.run("nft", "delete table inet congestion")
    ping(n1, n2.vip4, count=3)
    check(n2.drops()["rx_ecn"] >= before + 3, "counted")


run(the_outer_header_copies_the_inner, congestion_on_the_way_reaches_the_inside)
