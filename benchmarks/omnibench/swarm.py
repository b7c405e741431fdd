# SPDX-License-Identifier: Apache-2.0
"""The command `benchmarks/swarm`: what many nodes cost their Nucleus and each other.

    n1 eth0 --+        n1: omni-nucleus
    n2 eth0 --+-- br0  n2: a node with both daemons, who knows them all
    n3 eth0 --+        n3: the swarm, in one process
"""
import json
import os
import statistics
from dataclasses import dataclass

from omnilab import Lab, LabError, Options, wait_for
from omnilab.config import PORT

from . import command, report
from .cli import build, say

LAB = "benchswarm"
TARGETS = ("omni-dataplane", "omni-controller", "omni-nucleus", "omnictl", "omni-bench-swarm")
# test -> unit; of the whole swarm
TESTS = {"join_rate": "1/s", "register_p50_ms": "ms", "register_p99_ms": "ms",
         "visible_p50_ms": "ms", "visible_p99_ms": "ms", "visible_max_ms": "ms",
         "nucleus_bytes_per_node": "B", "edge_bytes_per_peer": "B"}
# at each size
CHANGE = {"change_first_ms": "ms", "change_all_ms": "ms", "change_cpu_us": "us",
          "change_cpu_us_per_node": "us", "change_edge_bytes": "B"}

DESCRIPTION = """Registers a swarm of edges, real QUIC and real messages, at one real omni-nucleus, for several
rounds: how soon others know of one that joins, what a node costs in the Nucleus' memory and a known peer in a
controller's, and what one changed record costs while 100 and while 2,000 nodes are registered.

    sudo benchmarks/swarm [--quick] [--rounds N] [--nodes N] [--json FILE]"""


@dataclass
class Effort:
    small: int = 100
    nodes: int = 2000
    rate: int = 50
    changes: int = 20


QUICK = Effort(small=20, nodes=100, rate=50, changes=5)


def one(options, effort):
    """{test: value} of one round, {nodes: {test: value}} of its sizes."""
    lab_options = Options(topology="star", arguments=("3",), name=LAB,
                          build=options.build or "build/release", start=False,
                          nucleus=True)
    with Lab.up(lab_options) as lab:
        edge, crowd = lab.nodes
        lab.nucleus.start()
        edge.start_dataplane()
        edge.start_controller()
        edge.wait_ready()
        wait_for(lambda: edge.omnictl_json("nucleus", "status")["state"]
                 == "NUCLEUS_STATE_REGISTERED", 30, "registration of the node beside the swarm")
        done = crowd.run(
            "omni-bench-swarm", f"{lab.nucleus.underlay['v4']}:{PORT}", "--secret-file",
            f"{crowd.directory}/secret", "--nucleus-pid", str(lab.nucleus.pid("nucleus")),
            "--edge-pid", str(edge.pid("controller")), "--small", str(effort.small), "--nodes",
            str(effort.nodes), "--rate", str(effort.rate), "--changes", str(effort.changes),
            timeout=600)
        known = int(edge.omnictl_json("nucleus", "status")["nodes"])
        if known != effort.nodes:
            raise LabError(f"the node beside the swarm knows {known} of {effort.nodes}")
        usable = len(edge.peers())
        if usable != effort.nodes:
            raise LabError(f"the node beside the swarm can use {usable} of {effort.nodes} peers")
    return evaluate(json.loads(done.stdout))


def evaluate(found):
    small, large = found.pop("sizes")
    more = large["nodes"] - small["nodes"]
    for test, process in (("nucleus_bytes_per_node", "nucleus_rss"),
                          ("edge_bytes_per_peer", "edge_rss")):
        found[test] = (large[process] - small[process]) / more
    sizes = {}
    for size in (small, large):
        size["change_cpu_us_per_node"] = size["change_cpu_us"] / (size["nodes"] - 1)
        sizes[size["nodes"]] = {test: size[test] for test in CHANGE}
    return {test: found[test] for test in TESTS}, sizes


def row(test, unit, samples, nodes):
    return {"system": "omni", "nodes": nodes, "test": test, "unit": unit,
            "median": round(statistics.median(samples), 2), "min": round(min(samples), 2),
            "max": round(max(samples), 2)}


def rows(rounds, effort):
    """rounds: [(values, sizes)]"""
    out = [row(test, unit, [values[test] for values, _ in rounds], effort.nodes)
           for test, unit in TESTS.items()]
    for nodes in (effort.small, effort.nodes):
        out += [row(test, unit, [sizes[nodes][test] for _, sizes in rounds], nodes)
                for test, unit in CHANGE.items()]
    return out


def table(measured, effort):
    def cell(test, nodes):
        found = [r for r in measured if r["test"] == test and r["nodes"] == nodes]
        if not found:
            return ""
        return (f"{report.number(found[0]['median'])} [{report.number(found[0]['min'])}, "
                f"{report.number(found[0]['max'])}]")
    sizes = (effort.small, effort.nodes)
    lines = ["| | " + " | ".join(f"{nodes:,} nodes" for nodes in sizes) + " |",
             "| --- |" + " --- |" * len(sizes)]
    for test, unit in (TESTS | CHANGE).items():
        lines.append(f"| {test}, {unit} | " + " | ".join(cell(test, n) for n in sizes) + " |")
    return "\n".join(lines)


def run(options):
    if not options.build:
        build(TARGETS)
    effort = QUICK if options.quick else Effort()
    if options.nodes:
        effort.nodes = options.nodes
    count = options.rounds or (1 if options.quick else 3)
    loads, rounds = [], []
    for number in range(count):
        loads.append(os.getloadavg()[0])
        say(f"round {number + 1} of {count}; load average {loads[-1]:.2f}")
        rounds.append(one(options, effort))
    measured = rows(rounds, effort)
    print(table(measured, effort))
    command.write_json(options.json, {
        "machine": report.machine(), "rounds": count,
        "joins_per_s": effort.rate, "load_before_rounds": loads, "rows": measured})
    return 0


def main(arguments):
    parser = command.parser("swarm", DESCRIPTION, 3, "one round with 100 nodes")
    parser.add_argument("--nodes", type=int, choices=range(101, 9000), metavar="N",
                        help="2,000 by default")
    return command.execute("swarm", run, parser.parse_args(arguments))
