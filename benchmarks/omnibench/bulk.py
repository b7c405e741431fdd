# SPDX-License-Identifier: Apache-2.0
"""The command `benchmarks/bulk`: what TCP keeps of its goodput while the in-kernel path is on.

    n1 ==== tunnel ====> n2

One tunnel stands all the time, and the path is switched under it at both ends (`omnictl path set`):
what differs between one start and the next, such as the processors that flows fall on, is the same for
both. Each pair of transfers follows at once, and every other pair begins with the other one.
"""
import os
import statistics

from omnilab import Lab, Options
from omnilab.measure import IperfServer, iperf

from . import command, report
from .cli import build, say
from .systems import MTU

LAB = "benchbulk"
TARGETS = ("omni-dataplane", "omni-controller", "omnictl")
STATES = ("off", "on")
STREAMS = (1, 4)

DESCRIPTION = """Measures what bulk TCP through a tunnel keeps of its goodput while the in-kernel path is on:
pairs of transfers through one tunnel, with the path switched at both ends in between.

    sudo benchmarks/bulk [--quick] [--rounds N] [--json FILE]"""


def transfer(lab, state, streams, seconds):
    """Mbit/s that arrived."""
    first, second = lab.nodes
    for node in lab.nodes:
        node.omnictl("path", "set", "--in-kernel", state)
    with IperfServer(second):
        done = iperf(first, second.vip4, "-P", str(streams), seconds=seconds)
    return done["sum_received"]["bits_per_second"] / 1e6


def measure(lab, rounds, seconds):
    """streams -> state -> [Mbit/s of a round]"""
    values = {streams: {state: [] for state in STATES} for streams in STREAMS}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}; load average {os.getloadavg()[0]:.2f}")
        for streams in STREAMS:
            for state in STATES if number % 2 == 0 else STATES[::-1]:
                values[streams][state].append(transfer(lab, state, streams, seconds))
    return values


def rows(values):
    out = []
    for streams, by_state in values.items():
        kept = [100 * on / off for off, on in zip(by_state["off"], by_state["on"])]
        for test, unit, samples in (("off", "Mbit/s", by_state["off"]), ("on", "Mbit/s", by_state["on"]),
                                    ("kept", "%", kept)):
            out.append({"system": "omni", "streams": streams, "test": test, "unit": unit,
                        "median": round(statistics.median(samples), 1),
                        "min": round(min(samples), 1), "max": round(max(samples), 1)})
    return out


def table(measured):
    lines = ["| | " + " | ".join(f"{n} stream{'s' if n > 1 else ''}" for n in STREAMS) + " |",
             "| --- |" + " --- |" * len(STREAMS)]
    for test, text in (("off", "off, Mbit/s"), ("on", "on, Mbit/s"), ("kept", "kept, %")):
        cells = [report.spread(row) for row in measured if row["test"] == test]
        lines.append(f"| {text} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def run(options):
    if not options.build:
        build(TARGETS)
    rounds = options.rounds or (1 if options.quick else 20)
    with Lab.up(Options(topology="pair", name=LAB, build=options.build or "build/release",
                        log_level="warn", mtu=MTU)) as lab:
        first, second = lab.nodes
        first.run("ping", "-nc1", "-W5", second.vip4)
        first.wait_up(second)
        second.wait_up(first)
        measured = rows(measure(lab, rounds, 1 if options.quick else 3))
    print(table(measured))
    command.write_json(options.json, {"machine": report.machine(), "rounds": rounds, "rows": measured})
    return 0


def main(arguments):
    parser = command.parser("bulk", DESCRIPTION, 20, "one round of short transfers")
    return command.execute("bulk", run, parser.parse_args(arguments))
