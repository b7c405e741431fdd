# SPDX-License-Identifier: Apache-2.0
"""The command `lab`."""
import argparse
import json
import os
import shutil
import sys

from .errors import LabError
from .lab import ROOT, Lab, Options, list_labs
from .nat import KINDS
from .process import interrupt_on_termination
from .shell import inside

EXAMPLES = """examples:
  lab up pair                        two machines on one cable
  lab up star 5 --name five          five machines on a switch
  lab up nat none symmetric          a public machine, and one behind a NAT
  lab exec n1 ping -c3 10.77.0.2     a command on a machine
  lab exec five/n2 omnictl peers list
  lab list --json                    for programs
  lab down five                      or: lab down --all
"""


def _parser():
    parser = argparse.ArgumentParser(
        prog="lab", description="Machines in network namespaces, with the real daemons in them.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    up = commands.add_parser("up", help="stand machines up")
    up.add_argument("topology", help="pair, star, routed or nat")
    up.add_argument("arguments", nargs="*", metavar="ARGUMENT",
                    help="number of nodes of a star; kinds of access of nat: " +
                    ", ".join(KINDS) + ", cgnat+KIND, same")
    up.add_argument("--name", help="of the lab, [a-z0-9]; the topology's by default")
    up.add_argument("--build", default="build/release", help="where the programs were built")
    up.add_argument("--wire", metavar="WORDS", help="faults of a pair's cable: loss=0.01 "
                    "delay_ms=20 jitter_ms=5 reorder=0.1 duplicate=0.1 corrupt=0.01 rate_mbit=100 "
                    "queue=1000 mtu=1280; others later: echo WORDS > /run/omni-lab/LAB/wire")
    up.add_argument("--underlay", choices=("v4", "v6"), default="v4",
                    help="family of the peers' endpoints")
    up.add_argument("--workers", type=int, default=0, help="of each dataplane")
    up.add_argument("--path", help="of each dataplane: auto, socket or afxdp")
    up.add_argument("--xdp", help="of each dataplane: auto, off, native or generic")
    up.add_argument("--log-level", default="info")
    up.set_defaults(run=_up)

    listing = commands.add_parser("list", help="what stands")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=_list)

    execute = commands.add_parser("exec", help="run a command on a machine")
    execute.add_argument("node", help="NODE, or LAB/NODE when several labs stand")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="CMD")
    execute.set_defaults(run=_exec)

    down = commands.add_parser("down", help="take machines down")
    down.add_argument("name", nargs="?", help="not needed when one lab stands")
    down.add_argument("--all", action="store_true")
    down.set_defaults(run=_down)
    return parser


def _up(arguments):
    lab = Lab.up(Options(topology=arguments.topology, arguments=arguments.arguments,
                         name=arguments.name, build=arguments.build, wire=arguments.wire,
                         underlay=arguments.underlay, workers=arguments.workers,
                         path=arguments.path, xdp=arguments.xdp,
                         log_level=arguments.log_level))
    _print([lab])


def _print(labs):
    for lab in labs:
        print(f"lab {lab.name} ({lab.topology.kind})")
        for node in lab.nodes:
            pids = {daemon: node.pid(daemon) or "down" for daemon in ("dataplane", "controller")}
            print(f"  {node.name:<5} {node.namespace:<24} {node.vip4:<12} {node.vip6:<11} "
                  f"dataplane {pids['dataplane']}, controller {pids['controller']}")


def _list(arguments):
    labs = list_labs()
    if arguments.json:
        print(json.dumps({"labs": [lab.to_json() for lab in labs]}, indent=1))
    elif labs:
        _print(labs)
    else:
        print("no lab stands; lab up pair")


def _only_lab():
    labs = list_labs()
    if len(labs) != 1:
        names = ", ".join(lab.name for lab in labs) or "none"
        raise LabError(f"say which lab; these stand: {names}")
    return labs[0]


def _exec(arguments):
    lab_name, _, node_name = arguments.node.rpartition("/")
    lab = Lab.load(lab_name) if lab_name else _only_lab()
    nodes = {node.name: node for node in lab.nodes}
    if node_name not in nodes:
        raise LabError(f"lab {lab.name}: no node {node_name}; there are: {', '.join(nodes)}")
    if not arguments.words:
        raise LabError("no command to run; lab exec NODE CMD...")
    node = nodes[node_name]
    command = inside(node.namespace, arguments.words)
    sys.stdout.flush()
    os.execvpe(command[0], command, node.environment())


def _down(arguments):
    if os.geteuid() != 0:
        raise LabError("network namespaces need root: run it with sudo")
    if not arguments.all:
        (Lab.load(arguments.name) if arguments.name else _only_lab()).down()
        return
    for lab in list_labs():
        lab.down()
    # A directory without a plan was made by an `up` that died at once: nothing else exists of it.
    if os.path.isdir(ROOT):
        shutil.rmtree(ROOT)


def main(argv=None):
    arguments = _parser().parse_args(argv)
    interrupt_on_termination()
    try:
        arguments.run(arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; all taken down", file=sys.stderr)
        return 130
    return 0
