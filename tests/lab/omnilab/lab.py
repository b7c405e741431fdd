# SPDX-License-Identifier: Apache-2.0
"""Lab: a set of nodes that stands up and comes down as one.

State lives in /run/omni-lab/NAME: lab.json (the plan, written before anything is made, so that
`down` works after any failure) and one directory a node. Making that directory is the lock that
keeps two labs of one name apart.
"""
import contextlib
import json
import os
import re
import secrets
import shutil
from dataclasses import dataclass, field

from . import config, process, shell, topology as topologies
from .errors import LabError
from .node import Node
from .nucleus import NucleusMachine
from .waiting import wait_for

ROOT = "/run/omni-lab"
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
PROGRAMS = ("omni-dataplane", "omni-controller", "omnictl")


@dataclass
class Options:
    topology: str = "pair"
    arguments: tuple = ()  # of the topology, as text
    name: str = None           # None: the topology's
    build: str = "build/release"
    wire: str = None           # faults of a pair's cable, in the words of omni-lab-wire
    underlay: str = "v4"       # family of the configured endpoints
    session: dict = field(default_factory=dict)  # the configuration's [session]
    mtu: int = None            # of the TUN devices; None: "auto"
    workers: int = 0           # of each dataplane; 0: its own choice
    keepalive: int = None      # of every peer
    supervised: bool = True    # restart dataplanes that end
    secrets: dict = field(default_factory=dict)  # node name -> cluster secret other than the lab's
    nucleus: bool = False      # the first machine is a Nucleus; the others know nothing but it
    beacons: bool = False      # nodes find each other by beacons, and know no peer before
    start: bool = True         # start the daemons and wait until they are ready
    path: str = None           # of each dataplane: auto, socket, afxdp; None: its own choice
    xdp: str = None            # likewise: auto, off, native, generic
    log_level: str = "info"
    in_kernel: str = "auto"    # of each dataplane, or node name -> value


def _check(options):
    if os.geteuid() != 0:
        raise LabError("network namespaces need root: run it with sudo")
    # No hyphen: namespaces are called omni-NAME-NODE, and no name may be the beginning of another.
    if not re.fullmatch(r"[a-z0-9]{1,24}", options.name):
        raise LabError(f"lab name \"{options.name}\": must be 1-24 of [a-z0-9]")
    if options.underlay not in ("v4", "v6"):
        raise LabError(f"underlay \"{options.underlay}\": must be v4 or v6")
    for program in PROGRAMS + ("omni-nucleus",) * options.nucleus:
        if not os.access(f"{options.build}/bin/{program}", os.X_OK):
            preset = os.path.basename(options.build)
            raise LabError(f"{options.build}/bin/{program}: missing; build it: "
                           f"cmake --preset {preset} && cmake --build --preset {preset}")


class Lab:
    def __init__(self, name, topology, build, with_nucleus=False):
        self.name = name
        self.directory = f"{ROOT}/{name}"
        self.topology = topology
        self.build = build
        self.nodes = [Node(plan, f"{self.directory}/{plan.name}", build)
                      for plan in topology.nodes]
        self.nucleus = None
        if with_nucleus:
            first = topology.nodes[0]
            self.nucleus = NucleusMachine(first, f"{self.directory}/{first.name}", build)
            del self.nodes[0]
        self.keys = {}  # node name -> public key

    @staticmethod
    def up(options):
        """Stands a lab up. On any failure, and on Ctrl-C, what was made is taken down."""
        options.name = options.name or options.topology
        options.build = os.path.join(REPOSITORY, options.build)
        _check(options)
        topology = topologies.plan(options.topology, options.name, options.arguments)
        lab = Lab(options.name, topology, options.build, options.nucleus)
        os.makedirs(ROOT, mode=0o755, exist_ok=True)
        try:
            os.mkdir(lab.directory, 0o755)
        except FileExistsError:
            raise LabError(f"lab {lab.name}: is up already; take it down: "
                           f"tests/lab/lab down {lab.name}") from None
        try:
            with open(f"{lab.directory}/lab.json", "w", encoding="utf-8") as file:
                json.dump({"build": options.build, "topology": topology.to_json(),
                           "nucleus": options.nucleus}, file)
            topologies.build(topology, lab.wire(options.wire) if options.wire is not None else None)
            lab.configure(options)
            if options.start:
                lab.start(options)
        except BaseException:
            lab.down()
            raise
        return lab

    @staticmethod
    def load(name):
        """A lab that stands."""
        try:
            with open(f"{ROOT}/{name}/lab.json", encoding="utf-8") as file:
                state = json.load(file)
        except (FileNotFoundError, ValueError):
            raise LabError(f"lab {name}: is not up") from None
        return Lab(name, topologies.Topology.from_json(state["topology"]), state["build"],
                   state.get("nucleus", False))

    def wire(self, faults):
        """What makes the cable of a pair."""
        control, log = f"{self.directory}/wire", f"{self.directory}/wire.log"

        def make(*ends):
            os.mkfifo(control)
            child = process.start([f"{self.build}/bin/omni-lab-wire", *ends, control,
                                   *faults.split()], log, f"{self.directory}/wire.pid")
            wait_for(lambda: child.poll() is not None or "ready" in process.tail(log), 10,
                     "the wire")
            if child.poll() is not None:
                raise LabError(f"omni-lab-wire ended:{process.tail(log)}")
        return make

    def set_wire(self, faults):
        """Other faults from now on."""
        with open(f"{self.directory}/wire", "w", encoding="utf-8") as control:
            control.write(faults + "\n")

    def configure(self, options):
        secret = secrets.token_hex(16)
        for node in self.nodes:
            node.workers = options.workers
            node.mtu = options.mtu
            node.log_level = options.log_level
            for flag, value in (("--path", options.path), ("--xdp", options.xdp)):
                node.dataplane_options += [flag, value] if value else []
            node.in_kernel = (options.in_kernel if isinstance(options.in_kernel, str)
                              else options.in_kernel.get(node.name, "auto"))
            config.make_directories(node)
            config.write_private(f"{node.directory}/secret",
                                 options.secrets.get(node.name, secret) + "\n")
            self.keys[node.name] = config.make_identity(node, f"{self.build}/bin/omnictl")
        if self.nucleus:
            self.nucleus.log_level = options.log_level
            self.nucleus.configure(secret)
        for node in self.nodes:
            self.write_config(node, options)

    def write_config(self, node, options, peers=None, nucleus=None):
        """`peers`: nodes; all others by default, and none where there is a Nucleus. `nucleus`: what
        stands in that section, besides the address."""
        if peers is None:
            peers = [] if self.nucleus or options.beacons else [other for other in self.nodes if other is not node]
        section = None
        # Stories of a Nucleus are about the Nucleus: its nodes are all on one link.
        beacons = "on" if options.beacons else "off" if self.nucleus else None
        if self.nucleus:
            family = options.underlay if node.underlay[options.underlay] else "v6"
            address = config.endpoint(self.nucleus.underlay[family])
            section = {"addresses": [address], **(nucleus or {})}
        entries = [config.peer_entry(p, self.keys[p.name], options.underlay, options.keepalive)
                   for p in peers]
        config.write_private(node.config_file,
                             config.controller_toml(node, entries, options.session, nucleus=section,
                                                    beacons=beacons))

    def start(self, options):
        self.start_all(options.supervised)

    def start_all(self, supervised=True):
        if self.nucleus:
            self.nucleus.start()
        for node in self.nodes:
            node.start_dataplane(supervised)
            node.start_controller()
        for node in self.nodes:
            node.wait_ready()

    def down(self):
        """Ends the daemons and whatever else runs in the namespaces; removes all that was made."""
        for machine in self.nodes + ([self.nucleus] if self.nucleus else []):
            machine.stop_all()
        existing = shell.namespaces()
        for namespace in self.topology.namespaces:
            if namespace in existing:
                for pid in shell.run("ip", "netns", "pids", namespace).stdout.split():
                    process.end(int(pid))
        wire = process.live_pid(f"{self.directory}/wire.pid")
        if wire is not None:
            process.end(wire)
        topologies.remove(self.topology, existing)
        shutil.rmtree(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.down()

    def to_json(self):
        return {"name": self.name, "topology": self.topology.kind, "build": self.build,
                "nodes": [node.to_json() for node in self.nodes]}


def list_labs():
    """All labs that stand, also half-made ones. Others may come and go while we look."""
    labs = []
    for name in sorted(os.listdir(ROOT)) if os.path.isdir(ROOT) else []:
        with contextlib.suppress(LabError):
            labs.append(Lab.load(name))
    return labs
