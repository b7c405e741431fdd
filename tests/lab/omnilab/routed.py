# SPDX-License-Identifier: Apache-2.0
"""Two machines with a router between them, which can become narrow, and silent about it.

    n1 eth0 ------- to1 r to2 ------- eth0 n2
    192.0.2.1       .254  .254        198.51.100.2
    2001:db8:1::1   ::ff  ::ff        2001:db8:2::2
"""
from .errors import LabError
from .shell import inside, ip_batch, run

ETHERNET = 1500
NETWORKS = {1: ("192.0.2", "2001:db8:1:"), 2: ("198.51.100", "2001:db8:2:")}


def underlay(number):
    v4, v6 = NETWORKS[number]
    return {"v4": f"{v4}.{number}", "v6": f"{v6}:{number}"}


def parse(arguments):
    if len(arguments) > 1 or not all(text.isdigit() and 1280 <= int(text) <= 65535
                                     for text in arguments):
        raise LabError("topology routed: takes at most the MTU of its cables, 1280-65535")
    return int(arguments[0]) if arguments else ETHERNET


def build(topology):
    router = topology.routers[0]
    run(*inside(router, ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]))
    ip_batch(["link set lo up"], router)
    for node in topology.nodes:
        v4, v6 = NETWORKS[node.number]
        port = f"to{node.number}"
        ip_batch([f"link add eth0 mtu {topology.mtu} netns {node.namespace} type veth "
                  f"peer name {port} mtu {topology.mtu} netns {router}"])
        ip_batch([f"link set {port} up", f"address add {v4}.254/24 dev {port}",
                  f"address add {v6}:ff/64 dev {port} nodad"], router)
        ip_batch(["link set lo up", "link set eth0 up",
                  f"address add {node.underlay['v4']}/24 dev eth0",
                  f"address add {node.underlay['v6']}/64 dev eth0 nodad",
                  f"route add default via {v4}.254", f"route add ::/0 via {v6}:ff"],
                 node.namespace)


def narrow(lab, mtu):
    """From now on the router carries no more than `mtu` bytes, in either direction."""
    ip_batch([f"link set to{n} mtu {mtu}" for n in NETWORKS], lab.topology.routers[0])


def silence(lab):
    """The router tells nobody what it does not carry."""
    run(*inside(lab.topology.routers[0], ["nft", "-f", "-"]), stdin="""
table inet silence {
  chain output {
    type filter hook output priority filter; policy accept;
    icmp type destination-unreachable drop
    icmpv6 type packet-too-big drop
  }
}
""")
