# SPDX-License-Identifier: Apache-2.0
"""The lab's NATs are what their names say, and a tunnel begins behind each of them.

    n2..n8 eth0 --- r, c (NAT) ---+
                                  +--- internet: 198.51.100.1, 198.51.100.2
    n1 eth0 ----------------------+
"""
import socket

from story import check, check_equal, ping, run, scenario
from omnilab.config import PORT
from omnilab.nat import INTERNET
from omnilab.sockets import socket_in

ACCESS = ("none", "full-cone", "address-restricted", "port-restricted", "symmetric",
          "cgnat+full-cone", "cgnat+symmetric", "udp-blocked")
TIMEOUT_S = 5
# Ports of the observers: the one that is spoken to first, and others.
FIRST, SECOND = 4001, 4002
SENTINEL = b"the last one"


def udp_socket(namespace, address, port):
    out = socket_in(namespace, socket.AF_INET, socket.SOCK_DGRAM)
    out.bind((address, port))
    out.settimeout(TIMEOUT_S)
    return out


def heard_until_sentinel(inner):
    """What reached the node, up to the sentinel, which every NAT lets through. Cables keep order."""
    heard = set()
    while (payload := inner.recv(100)) != SENTINEL:
        heard.add(payload)
    return heard


def observe(lab, node):
    """(mapping, filtering) of a node's access in the words of RFC 4787."""
    observers = {(host, port): udp_socket(lab.topology.switch, host, port)
                 for host in INTERNET for port in (FIRST, SECOND)}
    inner = udp_socket(node.namespace, node.underlay["v4"], PORT)
    try:
        known = observers[(INTERNET[0], FIRST)]
        mapped = {}

        def speak(to):
            inner.sendto(b"outwards", to)
            mapped[to] = observers[to].recvfrom(100)[1]
        speak((INTERNET[0], FIRST))
        outer = mapped[(INTERNET[0], FIRST)]
        observers[(INTERNET[1], FIRST)].sendto(b"other address", outer)
        observers[(INTERNET[0], SECOND)].sendto(b"other port", outer)
        known.sendto(SENTINEL, outer)
        heard = heard_until_sentinel(inner)
        for to in ((INTERNET[0], SECOND), (INTERNET[1], FIRST)):
            speak(to)
        filtering = {0: "address and port-dependent", 1: "address-dependent",
                     2: "endpoint-independent"}[len(heard)]
        check(len(heard) != 1 or heard == {b"other port"}, f"{node.name}: heard {heard}")
        return "independent" if len(set(mapped.values())) == 1 else "dependent", filtering
    finally:
        for one in (inner, *observers.values()):
            one.close()


@scenario(topology="nat", arguments=ACCESS[:-1], start=False)
def each_kind_is_what_its_name_says(lab):
    restricted = "address and port-dependent"
    expected = {"none": ("independent", "endpoint-independent"),
                "full-cone": ("independent", "endpoint-independent"),
                "address-restricted": ("independent", "address-dependent"),
                "port-restricted": ("independent", restricted),
                "symmetric": ("dependent", restricted),
                "cgnat+full-cone": ("independent", restricted),
                "cgnat+symmetric": ("dependent", restricted)}
    check_equal({kind: observe(lab, node) for kind, node in zip(ACCESS, lab.nodes)}, expected,
                "mapping and filtering")


@scenario(topology="nat", arguments=("none", "udp-blocked"), start=False)
def blocked_udp_reaches_the_nucleus_alone(lab):
    observers = [udp_socket(lab.topology.switch, host, FIRST) for host in INTERNET]
    inner = udp_socket(lab.nodes[1].namespace, lab.nodes[1].underlay["v4"], PORT)
    try:
        inner.sendto(b"stopped", (INTERNET[1], FIRST))
        inner.sendto(b"passes", (INTERNET[0], FIRST))
        check_equal(observers[0].recv(100), b"passes", "what the Nucleus hears")
        observers[1].setblocking(False)
        try:
            check(False, f"the other host heard {observers[1].recv(100)}")
        except BlockingIOError:
            pass
    finally:
        for one in (inner, *observers):
            one.close()


@scenario(topology="nat", arguments=ACCESS[:-1] + ("same", "same"))
def a_tunnel_begins_behind_each(lab):
    public = lab.nodes[0]
    for node in lab.nodes[1:]:
        ping(node, public.vip4, attempts=2)
        # And back, along the mapping that the other side made.
        ping(public, node.vip4)


@scenario(topology="nat", arguments=("none", "ipv6-only"), underlay="v6")
def an_internet_without_ipv4(lab):
    public, only6 = lab.nodes
    check_equal(only6.underlay["v4"], None, "an IPv4 address")
    ping(only6, public.vip4, attempts=2)
    ping(public, only6.vip6)


run(each_kind_is_what_its_name_says, blocked_udp_reaches_the_nucleus_alone,
    a_tunnel_begins_behind_each, an_internet_without_ipv4)
