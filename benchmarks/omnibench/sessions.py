# SPDX-License-Identifier: Apache-2.0
"""The command `benchmarks/sessions`: the speed of one tunnel while others stand beside it."""
import json
import os
import signal
import statistics
from dataclasses import dataclass

from omnilab import Lab, Options
from omnilab.config import PORT

from . import command, report
from .cli import build, in_turn, say
from .systems import MTU, Omni
from .tests import percentile, ping, rss_mib, tcp, udp_point

COUNTS = (1, 1000, 10000)
LAB = "benchsessions"
TARGETS = ("omni-dataplane", "omni-controller", "omnictl", "omni-bench-load", "omni-bench-fill")
# test -> unit
TESTS = {"tcp1": "Mbit/s", "udp64_400kpps": "Mbit/s", "rtt64_p50": "us", "rss_mib": "MiB",
         "session_bytes": "B", "peer_bytes": "B"}

DESCRIPTION = """Measures one tunnel of ours while 1, 1,000 and 10,000 sessions are installed at
both ends, one after the other, for several rounds.

    sudo benchmarks/sessions [--quick] [--rounds N] [--json FILE]

The other sessions are installed through the dataplane's own contract; the controllers stand still
meanwhile, so a measurement ends before the sessions do (180 s)."""


@dataclass
class Effort:
    tcp_s: float = 4
    udp_s: float = 2
    ping_s: float = 2


QUICK = Effort(tcp_s=1, udp_s=0.5, ping_s=0.5)


def fill(node, other, count):
    """`count` more peers with a session each; what they cost."""
    done = node.run("omni-bench-fill", node.dataplane_socket, str(count),
                    f"{other.underlay['v4']}:{PORT}")
    return json.loads(done.stdout)


def measure(lab, system, count, effort):
    first, second = lab.nodes
    for node in lab.nodes:
        node.signal("controller", signal.SIGSTOP)
    try:
        values = {}
        if count > 1:
            cost = fill(first, second, count - 1)
            fill(second, first, count - 1)
            values = {name: cost[name] for name in ("session_bytes", "peer_bytes")}
        values["rtt64_p50"] = percentile(ping(lab, system, effort.ping_s), 50)
        values["tcp1"] = tcp(lab, system, effort)[0]
        values["udp64_400kpps"] = udp_point(lab, system, 64, 400, effort.udp_s)["goodput_mbit"]
        values["rss_mib"] = rss_mib([first.pid("dataplane")])
        return values
    finally:
        for node in lab.nodes:
            node.signal("controller", signal.SIGCONT)


def one(lab, count, effort):
    system = Omni(*Omni.WAYS[0])
    try:
        system.start(lab)
        return measure(lab, system, count, effort)
    finally:
        system.stop(lab)


def rows(values):
    """values: count -> [{test: value} of a round]"""
    out = []
    for count, rounds in values.items():
        for test, unit in TESTS.items():
            samples = [one_round[test] for one_round in rounds if test in one_round]
            if samples:
                out.append({"system": "omni", "sessions": count, "test": test, "unit": unit,
                            "median": round(statistics.median(samples), 1),
                            "min": round(min(samples), 1), "max": round(max(samples), 1)})
    return out


def table(measured):
    lines = ["| | " + " | ".join(f"{count:,} sessions" for count in COUNTS) + " |",
             "| --- |" + " --- |" * len(COUNTS)]
    for test, unit in TESTS.items():
        of_test = {row["sessions"]: row for row in measured if row["test"] == test}
        base = of_test.get(COUNTS[0])
        cells = []
        for count in COUNTS:
            row = of_test.get(count)
            if row is None:
                cells.append("")
                continue
            cell = f"{row['median']:,} [{row['min']:,}, {row['max']:,}]"
            if base and count != COUNTS[0]:
                cell += f" **{row['median'] / base['median']:.2f}x**"
            cells.append(cell)
        lines.append(f"| {test}, {unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def run(options):
    if not options.build:
        build(TARGETS)
    effort = QUICK if options.quick else Effort()
    rounds = options.rounds or (1 if options.quick else 3)
    values = {count: [] for count in COUNTS}
    loads = []
    lab_options = Options(topology="pair", name=LAB, build=options.build or "build/release",
                          start=False, log_level="warn", mtu=MTU)
    with Lab.up(lab_options) as lab:
        lab.options = lab_options
        for number in range(rounds):
            loads.append(os.getloadavg()[0])
            say(f"round {number + 1} of {rounds}; load average {loads[-1]:.2f}")
            for count in in_turn(COUNTS, number):
                values[count].append(one(lab, count, effort))
    measured = rows(values)
    print(table(measured))
    command.write_json(options.json, {
        "machine": report.machine(), "rounds": rounds,
        "load_before_rounds": loads, "rows": measured})
    return 0


def main(arguments):
    parser = command.parser("sessions", DESCRIPTION, 3, "one round of short measurements")
    return command.execute("sessions", run, parser.parse_args(arguments))
