# SPDX-License-Identifier: Apache-2.0
"""Ways to be connected to the internet, made of namespaces and nftables.

    n1 eth0 --- lan r1 wan ---------------------+
    n2 eth0 --- lan r2 wan --- lan c2 wan ------+-- br0 (namespace "internet")
    n3 eth0 ------------------------------------+   198.51.100.1 and .2, 2001:db8:f::1 and ::2
    n4 eth0 --- lan r1 (same)

The words of RFC 4787 and RFC 5780 in those of RFC 3489, by which people know them:

    kind                mapping       filtering
    none                -             -                     a public address, IPv4 and IPv6
    full-cone           independent   endpoint-independent
    address-restricted  independent   address-dependent
    port-restricted     independent   address and port-dependent
    symmetric           dependent     address and port-dependent
    symmetric-block     dependent     address and port-dependent; of a block of 256 ports (RFC 7422)
    udp-blocked         independent   no UDP but with 198.51.100.1 and .11, where a Nucleus can run:
                                      .11 is the first machine, when that has no NAT
    ipv6-only           -             -                     a public IPv6 address, no IPv4

"cgnat+KIND" has a second, port-restricted NAT above the first. "same" puts a node beside the one
before it, behind the same NAT, which has no hairpin: neither reaches the other by the outer address.
The cones know one UDP port, the product's: 51900.
"""
from dataclasses import dataclass

from .config import PORT
from .errors import LabError
from .shell import inside, ip_batch, run

KINDS = ("none", "full-cone", "address-restricted", "port-restricted", "symmetric",
         "symmetric-block", "udp-blocked", "ipv6-only")
INTERNET = ("198.51.100.1", "198.51.100.2")
FIRST_SITE = "198.51.100.11"
INTERNET6 = ("2001:db8:f::1", "2001:db8:f::2")
MAX_NODES = 100


@dataclass
class Access:
    kind: str
    cgnat: bool
    site: int  # number of the router; nodes of one site share it

    @property
    def is_public(self):
        return self.kind in ("none", "ipv6-only")

    @property
    def outer(self):
        """The site's address on the internet."""
        return f"198.51.100.{10 + self.site}"

    def underlay(self, number):
        v6 = f"2001:db8:f::{10 + number:x}" if self.is_public else None
        if self.kind == "ipv6-only":
            return {"v4": None, "v6": v6}
        return {"v4": self.outer if self.is_public else f"10.0.{self.site}.{10 + number}",
                "v6": v6}


def parse(words):
    """One Access a node."""
    if not 2 <= len(words) <= MAX_NODES:
        raise LabError(f"topology nat: 2 to {MAX_NODES} kinds of access, one a node")
    out = []
    for word in words:
        if word == "same":
            if not out or out[-1].is_public:
                raise LabError("topology nat: \"same\" needs a node behind a NAT before it")
            out.append(out[-1])
            continue
        kind = word.removeprefix("cgnat+")
        access = Access(kind, kind != word, out[-1].site + 1 if out else 1)
        if kind not in KINDS or (access.cgnat and access.is_public):
            raise LabError(f"topology nat: {word}: not known; there are: {', '.join(KINDS)}, "
                           "cgnat+KIND, same")
        out.append(access)
    return out


def _sites(accesses):
    """Those with a router, once each."""
    return {access.site: access for access in accesses if not access.is_public}.values()


def routers(prefix, accesses):
    """Names of the namespaces between the nodes and the internet."""
    return [f"{prefix}-{letter}{access.site}" for access in _sites(accesses)
            for letter in ("r", "c") if letter == "r" or access.cgnat]


# ---- making

def build(topology):
    prefix = topology.switch.removesuffix("-internet")
    accesses = [Access(**node.access) for node in topology.nodes]
    lines = ["link set lo up", "link add br0 type bridge", "link set br0 up"]
    lines += [f"address add {address}/24 dev br0" for address in INTERNET]
    lines += [f"address add {address}/64 dev br0 nodad" for address in INTERNET6]
    ip_batch(lines, topology.switch)
    for access in _sites(accesses):
        _build_site(prefix, access, topology.switch)
    for node, access in zip(topology.nodes, accesses):
        if access.is_public:
            _plug(node.namespace, "eth0", topology.switch, f"n{node.number}")
        else:
            _plug(node.namespace, "eth0", f"{prefix}-r{access.site}", f"n{node.number}")
        _address_node(node, access)


def _plug(namespace, device, bridge_namespace, port):
    """A cable from a device to a port of the other namespace's br0."""
    ip_batch([f"link add {device} netns {namespace} type veth "
              f"peer name {port} netns {bridge_namespace}"])
    ip_batch([f"link set {port} master br0", f"link set {port} up"], bridge_namespace)
    ip_batch(["link set lo up", f"link set {device} up"], namespace)


def _address_node(node, access):
    lines = []
    if node.underlay["v4"]:
        lines.append(f"address add {node.underlay['v4']}/24 dev eth0")
    if node.underlay["v6"]:
        lines.append(f"address add {node.underlay['v6']}/64 dev eth0 nodad")
    if not access.is_public:
        lines.append(f"route add default via 10.0.{access.site}.1")
    ip_batch(lines, node.namespace)


def _build_site(prefix, access, internet):
    router, carrier = f"{prefix}-r{access.site}", f"{prefix}-c{access.site}"
    _build_router(router, f"10.0.{access.site}.1")
    if access.cgnat:
        _build_router(carrier, f"100.64.{access.site}.1")
        _plug(router, "wan", carrier, "cpe")
        ip_batch([f"address add 100.64.{access.site}.2/24 dev wan",
                  f"route add default via 100.64.{access.site}.1"], router)
        _load_rules(carrier, rules("port-restricted"))
    outermost = carrier if access.cgnat else router
    _plug(outermost, "wan", internet, f"s{access.site}")
    ip_batch([f"address add {access.outer}/24 dev wan"], outermost)
    _load_rules(router, rules(access.kind))


def _build_router(namespace, address):
    ip_batch(["link set lo up", "link add br0 type bridge", "link set br0 up",
              f"address add {address}/24 dev br0"], namespace)
    run(*inside(namespace, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]))


def _load_rules(namespace, text):
    run(*inside(namespace, ["nft", "-f", "-"]), stdin=text)


def bypass(topology):
    """Lets the networks behind NATs (but not behind two) reach each other without, over the same cables
    and routers: the underlay of a tunnel between them, to be measured."""
    prefix = topology.switch.removesuffix("-internet")
    sites = list(_sites([Access(**node.access) for node in topology.nodes]))
    for access in sites:
        router = f"{prefix}-r{access.site}"
        ip_batch([f"route replace 10.0.{other.site}.0/24 via {other.outer}" for other in sites
                  if other is not access and not other.cgnat], router)
        _load_rules(router, "insert rule ip nat forward iifname wan ip saddr 10.0.0.0/16 accept\n"
                            "insert rule ip nat postrouting ip daddr 10.0.0.0/16 return\n")


def rules(kind):
    """The ruleset of a NAT router. The cones of RFC 3489 open the one port that the product uses to
    whoever used it last from inside, which is what an endpoint-independent mapping comes to."""
    masquerade = {"symmetric": "masquerade fully-random",
                  "symmetric-block": "meta l4proto udp masquerade to :40000-40255 fully-random",
                  }.get(kind, "masquerade")
    cone = kind in ("full-cone", "address-restricted")
    admitted = {"full-cone": "ct status dnat accept",
                "address-restricted": "ct status dnat ip saddr @contacted accept"}.get(kind, "")
    refused = f"iifname br0 meta l4proto udp ip daddr != {{ {INTERNET[0]}, {FIRST_SITE} }} drop" \
        if kind == "udp-blocked" else ""
    learn = f"""
    iifname br0 oifname wan udp sport {PORT} update @owner {{ udp sport : ip saddr }}
    iifname br0 oifname wan update @contacted {{ ip daddr timeout 120s }}""" if cone else ""
    redirect = f"iifname wan udp dport {PORT} dnat to udp dport map @owner" if cone else ""
    return f"""
table ip nat {{
  map owner {{ type inet_service : ipv4_addr; flags dynamic; size 16; }}
  set contacted {{ type ipv4_addr; flags dynamic,timeout; size 65535; }}
  chain forward {{
    type filter hook forward priority filter; policy drop;{learn}
    {refused}
    iifname br0 oifname {{ wan, br0 }} accept  # br0: neighbours, where bridged packets come by here
    ct state established,related accept
    {admitted}
  }}
  # As home routers do: a stranger's packet must not take the mapping that our own will ask for.
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname wan ct state new drop
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    {redirect}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname wan {masquerade}
  }}
}}
"""
