# SPDX-License-Identifier: Apache-2.0
"""The command `benchmarks/tunnels`."""
import argparse
import os
import subprocess
import sys
import time

from omnilab import Lab, LabError, Options
from omnilab.lab import REPOSITORY, ROOT

from . import command, plot, report
from .peers import Nebula, Openvpn, WireguardGo
from .systems import MTU, Absent, Omni, Veth
from .tests import QUICK, Effort, measure

SYSTEMS = (Veth, Omni, WireguardGo, Nebula, Openvpn)
# The lab's namespaces are omni-bench-n1 and omni-bench-n2.
LAB = "bench"
TARGETS = ("omni-dataplane", "omni-controller", "omnictl", "omni-bench-load")

DESCRIPTION = """Measures tunnels side by side: the bare cable, ours, and others, one after the other
in the same two network namespaces, for several rounds.

    sudo benchmarks/tunnels                            all, about ten minutes
    sudo benchmarks/tunnels --quick --only omni,wireguard-go
    sudo benchmarks/tunnels --json FILE --svg FILE     for programs, and a plot
"""


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def parse(arguments):
    names = [system.name for system in SYSTEMS]

    def chosen(text):
        wanted = text.split(",")
        for name in wanted:
            if name not in names:
                raise argparse.ArgumentTypeError(f"{name}: not one of {', '.join(names)}")
        return wanted

    def positive(text):
        value = int(text)
        if value < 1:
            raise argparse.ArgumentTypeError("at least 1")
        return value
    parser = argparse.ArgumentParser(prog="benchmarks/tunnels", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=chosen, default=names, metavar="SYSTEM,...",
                        help=", ".join(names))
    parser.add_argument("--rounds", type=positive, help="3 by default, 1 with --quick")
    parser.add_argument("--quick", action="store_true",
                        help="one round of short measurements, some ten seconds a system")
    parser.add_argument("--json", metavar="FILE", help="write rows, curves and the machine")
    parser.add_argument("--svg", metavar="FILE", help="write a plot")
    parser.add_argument("--build", metavar="DIR",
                        help="measure what stands there; build/release is brought up to date")
    return parser.parse_args(arguments)


def build(targets):
    """Packages and programs; quick when all is there."""
    env = os.environ | {"CMAKE_CXX_COMPILER_LAUNCHER": "ccache"}
    steps = [["scripts/setup"]]
    if not os.path.exists(f"{REPOSITORY}/build/release/build.ninja"):
        steps.append(["cmake", "--preset", "release"])
    steps.append(["cmake", "--build", "--preset", "release", "--target", *targets])
    for step in steps:
        say(" ".join(step))
        done = subprocess.run(step, cwd=REPOSITORY, env=env, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise LabError(f"{' '.join(step)}:\n{done.stdout[-4000:]}")


def prepare(names):
    """(systems that are there, [{name, reason}] of those that are not)"""
    there, absent = [], []
    for kind in SYSTEMS:
        if kind.name not in names:
            continue
        say(f"{kind.name}: prepare")
        try:
            for system in kind.all():
                system.prepare()
                there.append(system)
        except Absent as reason:
            say(f"{kind.name}: absent: {reason}")
            absent.append({"name": kind.name, "reason": str(reason)})
    return there, absent


def in_turn(systems, number):
    """Another one begins each round, so that what drifts with time falls on all alike."""
    shift = number % len(systems)
    return systems[shift:] + systems[:shift]


def one(lab, system, effort):
    begin = time.monotonic()
    try:
        system.start(lab)
        return measure(lab, system, effort)
    finally:
        system.stop(lab)
        say(f"{system.name}, {system.path}, {system.cipher}: {time.monotonic() - begin:.0f} s")


def measure_all(lab, systems, rounds, effort):
    """Values and curves of all rounds. A system that fails is left out from then on."""
    values = {system: [] for system in systems}
    curves, loads, failed, broken = [], [], [], set()
    for number in range(rounds):
        loads.append(os.getloadavg()[0])
        say(f"round {number + 1} of {rounds}; load average {loads[-1]:.2f}")
        for system in in_turn(systems, number):
            if system in broken:
                continue
            try:
                measured, curve = one(lab, system, effort)
            except (LabError, Absent) as error:
                say(f"{system.name}: failed: {error}")
                broken.add(system)
                failed.append({"name": system.name, "path": system.path, "cipher": system.cipher,
                               "reason": f"round {number + 1}: {error}"})
                continue
            values[system].append(measured)
            curves += [{"system": system.name, "path": system.path, "cipher": system.cipher,
                        "round": number + 1, **point} for point in curve]
    return {"load_before_rounds": loads, "failed": failed, "curves": curves,
            "rows": [row for system in systems for row in report.rows(system, values[system])]}


def run(options):
    """Exit code: 1 when a system that was there failed."""
    effort = QUICK if options.quick else Effort()
    rounds = options.rounds or (1 if options.quick else 3)
    if not options.build:
        build(TARGETS)
    systems, absent = prepare(options.only)
    if not systems:
        raise LabError("no system to measure: " +
                       "; ".join(f"{a['name']}: {a['reason']}" for a in absent))
    if os.path.exists(f"{ROOT}/{LAB}"):
        say("taking down what an earlier run left")
        Lab.load(LAB).down()
    lab_options = Options(topology="pair", name=LAB, build=options.build or "build/release",
                          start=False, log_level="warn", mtu=MTU)
    with Lab.up(lab_options) as lab:
        lab.options = lab_options
        measured = measure_all(lab, systems, rounds, effort)
    result = {"machine": report.machine(), "rounds": rounds,
              "systems": [{"name": s.name, "version": s.version, "path": s.path,
                           "cipher": s.cipher} for s in systems],
              "absent": absent, **measured}
    write(result, systems, options)
    return 1 if result["failed"] else 0


def write(result, systems, options):
    print(report.summary(result, systems), flush=True)
    command.write_json(options.json, result)
    if options.svg:
        info = result["machine"]
        title = f"{info['cpu']}, {info['cpus']} CPUs, Linux {info['kernel']}"
        with open(options.svg, "w", encoding="utf-8") as file:
            file.write(plot.svg(result["rows"], title))


def main(arguments):
    return command.execute("tunnels", run, parse(arguments))
