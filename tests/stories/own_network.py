# SPDX-License-Identifier: Apache-2.0
"""The host's side of the tunnel. A peer claims the network that this machine is on: the machine stays
on it. Somebody takes the interface down and up: it gets back what it lost.

    n1 eth0 ---- eth0 n2        192.0.2.0/24 is the cable between them
"""
from story import check, check_equal, connect, ping, run, scenario, wait_for


def routes(node):
    return node.run("ip", "route", "show", "192.0.2.0/24", "dev", "eth0").stdout


@scenario(topology="pair")
def a_peers_prefix_takes_no_route_away(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    own = routes(n1)
    check("proto kernel" in own, f"the cable's route: {own}")
    n2.omnictl("identity", "new", "--dir", f"{n2.directory}/spare")
    key = n2.omnictl("identity", "export", "--dir", f"{n2.directory}/spare").stdout.strip()
    n1.omnictl("peers", "add", "greedy", "--key", key,
               "--allowed", "192.0.2.0/24,198.51.100.0/24")
    check("omni0" in n1.run("ip", "route", "get", "198.51.100.1").stdout, "the other is routed")
    check("eth0" in n1.run("ip", "route", "get", n2.underlay["v4"]).stdout, "the cable is used")
    check_equal(routes(n1), own, "the cable's route")
    ping(n1, n2.vip4, count=5)
    n1.omnictl("peers", "remove", "greedy")
    check_equal(routes(n1), own, "the cable's route afterwards")
    ping(n1, n2.vip4, count=5)


@scenario(topology="pair")
def an_interface_that_was_down_gets_its_addresses_and_routes_back(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    n2.omnictl("identity", "new", "--dir", f"{n2.directory}/spare")
    key = n2.omnictl("identity", "export", "--dir", f"{n2.directory}/spare").stdout.strip()
    n1.omnictl("peers", "add", "other", "--key", key, "--allowed", "198.51.100.0/24")
    n1.run("ip", "link", "set", "omni0", "down")
    n1.run("ip", "link", "set", "omni0", "up")
    wait_for(lambda: n1.vip6 in n1.run("ip", "-6", "addr", "show", "dev", "omni0").stdout, 5,
             "the IPv6 address")
    wait_for(lambda: "198.51.100.0/24" in n1.run("ip", "route", "show", "dev", "omni0").stdout, 5,
             "the route")
    ping(n1, n2.vip6, count=3)
    ping(n1, n2.vip4, count=3)


run(a_peers_prefix_takes_no_route_away, an_interface_that_was_down_gets_its_addresses_and_routes_back)
