# SPDX-License-Identifier: Apache-2.0
"""Who is connected to whom: plans of namespaces and links, and their making.

    pair    n1 eth0 ------- eth0 n2

    star N  n1 eth0 --+
            n2 eth0 --+-- br0 (in a namespace "switch" of its own)
            nN eth0 --+

In both, every node is a peer of every other. Underlay addresses are 192.0.2.N and 2001:db8::N; each
lab is isolated, so that all labs use the same ones. VIPs are 10.77.0.N and fd77::N.
"""
from dataclasses import asdict, dataclass

from .errors import LabError
from .shell import ip_batch, run

MAX_NODES = 200


@dataclass
class NodePlan:
    name: str
    namespace: str
    number: int

    @property
    def underlay(self):
        return {"v4": f"192.0.2.{self.number}", "v6": f"2001:db8::{self.number}"}

    @property
    def vips(self):
        return {"v4": f"10.77.0.{self.number}", "v6": f"fd77::{self.number}"}


@dataclass
class Topology:
    kind: str
    nodes: list
    switch: str = ""  # namespace of the bridge, when there is one

    @property
    def namespaces(self):
        return [node.namespace for node in self.nodes] + ([self.switch] if self.switch else [])

    def to_json(self):
        return {"kind": self.kind, "switch": self.switch, "nodes": [asdict(n) for n in self.nodes]}

    @staticmethod
    def from_json(value):
        return Topology(value["kind"], [NodePlan(**n) for n in value["nodes"]], value["switch"])


def plan(kind, lab, count):
    """The plan of a lab; nothing is made yet."""
    if kind == "pair":
        if count not in (None, 2):
            raise LabError("topology pair: always has 2 nodes")
        count = 2
    elif kind == "star":
        count = 3 if count is None else count
    else:
        raise LabError(f"topology {kind}: not known; there are: pair, star N")
    if not 2 <= count <= MAX_NODES:
        raise LabError(f"topology {kind}: 2 to {MAX_NODES} nodes, not {count}")
    nodes = [NodePlan(f"n{i}", f"omni-{lab}-n{i}", i) for i in range(1, count + 1)]
    return Topology(kind, nodes, f"omni-{lab}-switch" if kind == "star" else "")


def build(topology):
    """Makes namespaces and links; whatever fails, remove() cleans up."""
    ip_batch([f"netns add {namespace}" for namespace in topology.namespaces])
    for namespace in topology.namespaces:
        # Without duplicate address detection, addresses are usable at once.
        run("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0",
            "net.ipv6.conf.default.accept_dad=0")
    if topology.switch:
        _build_star(topology)
    else:
        first, second = topology.nodes
        ip_batch([f"link add eth0 netns {first.namespace} type veth "
                  f"peer name eth0 netns {second.namespace}"])
    for node in topology.nodes:
        ip_batch(["link set lo up", "link set eth0 up",
                  f"address add {node.underlay['v4']}/24 dev eth0",
                  f"address add {node.underlay['v6']}/64 dev eth0 nodad"], node.namespace)


def _build_star(topology):
    ip_batch([f"link add eth0 netns {node.namespace} type veth "
              f"peer name p{node.number} netns {topology.switch}" for node in topology.nodes])
    lines = ["link set lo up", "link add br0 type bridge", "link set br0 up"]
    for node in topology.nodes:
        lines += [f"link set p{node.number} master br0", f"link set p{node.number} up"]
    ip_batch(lines, topology.switch)


def remove(topology, existing):
    """Removes those of the plan's namespaces that exist; links and devices go with them."""
    ours = [name for name in topology.namespaces if name in existing]
    if ours:
        ip_batch([f"netns delete {name}" for name in ours])
