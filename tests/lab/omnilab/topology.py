# SPDX-License-Identifier: Apache-2.0
"""Who is connected to whom: plans of namespaces and links, and their making.

    pair        n1 eth0 ------- eth0 n2     or, with faults:  n1 eth0 - omni-lab-wire - eth0 n2

    star N      n1 eth0 --+
                n2 eth0 --+-- br0 (in a namespace "switch" of its own)
                nN eth0 --+

    routed MTU  n1 eth0 --- to1 r to2 --- eth0 n2     cables of 1,500 bytes, or of MTU; see routed.py

    nat A B...  an internet with one node behind each kind of access; see nat.py

In all of them, every node is a peer of every other. In pair and star, underlay addresses are
192.0.2.N and 2001:db8::N; each lab is isolated, so that all labs use the same ones. VIPs are
10.77.0.N and fd77::N.
"""
from dataclasses import asdict, dataclass, field

from . import nat, routed
from .errors import LabError
from .shell import ip_batch, run

MAX_NODES = 200


@dataclass
class NodePlan:
    name: str
    namespace: str
    number: int
    underlay: dict  # "v4", "v6" -> address; None: has none of the family
    access: dict = field(default_factory=dict)  # of nat.Access

    @property
    def vips(self):
        return {"v4": f"10.77.0.{self.number}", "v6": f"fd77::{self.number}"}

    def reachable(self, family):
        """The address under which every other node can begin to speak to this one, or None."""
        return None if self.access and not nat.Access(**self.access).is_public \
            else self.underlay[family]


@dataclass
class Topology:
    kind: str
    nodes: list
    switch: str = ""  # namespace of the bridge, when there is one
    routers: list = field(default_factory=list)  # namespaces between nodes, or nodes and switch
    mtu: int = routed.ETHERNET                   # of the cables, in "routed"

    @property
    def namespaces(self):
        return [node.namespace for node in self.nodes] + self.routers + \
            ([self.switch] if self.switch else [])

    def to_json(self):
        return {"kind": self.kind, "switch": self.switch, "routers": self.routers, "mtu": self.mtu,
                "nodes": [asdict(n) for n in self.nodes]}

    @staticmethod
    def from_json(value):
        return Topology(value["kind"], [NodePlan(**n) for n in value["nodes"]], value["switch"],
                        value["routers"], value["mtu"])


def _count(kind, arguments, default, largest):
    if len(arguments) > 1 or not all(text.isdigit() for text in arguments):
        raise LabError(f"topology {kind}: takes at most a number of nodes")
    count = int(arguments[0]) if arguments else default
    if not 2 <= count <= largest:
        raise LabError(f"topology {kind}: 2 to {largest} nodes, not {count}")
    return count


def plan(kind, lab, arguments=()):
    """The plan of a lab; nothing is made yet. `arguments`: what follows the kind, as text."""
    prefix = f"omni-{lab}"
    if kind == "nat":
        accesses = nat.parse(arguments)
        nodes = [NodePlan(f"n{i}", f"{prefix}-n{i}", i, access.underlay(i), vars(access))
                 for i, access in enumerate(accesses, 1)]
        return Topology(kind, nodes, f"{prefix}-internet", nat.routers(prefix, accesses))
    if kind == "routed":
        nodes = [NodePlan(f"n{i}", f"{prefix}-n{i}", i, routed.underlay(i)) for i in (1, 2)]
        return Topology(kind, nodes, routers=[f"{prefix}-r"], mtu=routed.parse(arguments))
    if kind not in ("pair", "star"):
        raise LabError(f"topology {kind}: not known; there are: pair, star N, routed MTU, nat KIND...")
    count = _count(kind, arguments, *((2, 2) if kind == "pair" else (3, MAX_NODES)))
    nodes = [NodePlan(f"n{i}", f"{prefix}-n{i}", i,
                      {"v4": f"192.0.2.{i}", "v6": f"2001:db8::{i}"})
             for i in range(1, count + 1)]
    return Topology(kind, nodes, f"{prefix}-switch" if kind == "star" else "")


def build(topology, wire=None):
    """Makes namespaces and links; whatever fails, remove() cleans up. `wire`: makes the cable of a
    pair from two devices ("NAMESPACE/NAME"), instead of veth."""
    ip_batch([f"netns add {namespace}" for namespace in topology.namespaces])
    for namespace in topology.namespaces:
        # Without duplicate address detection, addresses are usable at once.
        run("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0",
            "net.ipv6.conf.default.accept_dad=0")
    if wire and topology.kind != "pair":
        raise LabError(f"topology {topology.kind}: only a pair can have a wire with faults")
    if topology.kind == "pair":
        _build_pair(topology, wire)
    else:
        {"star": _build_star, "routed": routed.build, "nat": nat.build}[topology.kind](topology)


def _build_pair(topology, wire):
    first, second = topology.nodes
    if wire:
        wire(f"{first.namespace}/eth0", f"{second.namespace}/eth0")
    else:
        ip_batch([f"link add eth0 netns {first.namespace} type veth "
                  f"peer name eth0 netns {second.namespace}"])
    _bring_up(topology)


def _build_star(topology):
    ip_batch([f"link add eth0 netns {node.namespace} type veth "
              f"peer name p{node.number} netns {topology.switch}" for node in topology.nodes])
    lines = ["link set lo up", "link add br0 type bridge", "link set br0 up"]
    for node in topology.nodes:
        lines += [f"link set p{node.number} master br0", f"link set p{node.number} up"]
    ip_batch(lines, topology.switch)
    _bring_up(topology)


def _bring_up(topology):
    for node in topology.nodes:
        ip_batch(["link set lo up", "link set eth0 up",
                  f"address add {node.underlay['v4']}/24 dev eth0",
                  f"address add {node.underlay['v6']}/64 dev eth0 nodad"], node.namespace)


def remove(topology, existing):
    """Removes those of the plan's namespaces that exist; links and devices go with them."""
    ours = [name for name in topology.namespaces if name in existing]
    if ours:
        ip_batch([f"netns delete {name}" for name in ours])
