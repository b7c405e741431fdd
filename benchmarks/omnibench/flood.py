# SPDX-License-Identifier: Apache-2.0
"""The command `benchmarks/flood`: what a flood of garbage at the port costs an established tunnel.

    n1 ==== tunnel ====> n2 <---- garbage, 64 bytes ---- n3
                                     nobody <----+

Making a flood costs this machine something, too. So the tunnel is measured three times: alone, beside a
flood that goes to nobody and ends at the switch, and under the same flood at n2's port. What the flood
costs is what lies between the second and the third.
"""
import contextlib
import json
import os
import statistics
import subprocess
import time

from omnilab import Lab, LabError, Options
from omnilab.config import PORT
from omnilab.measure import IperfServer, tcp_mbit
from omnilab.shell import run as run_command

from . import command, report
from .cli import build, in_turn, say
from .systems import MTU
from .tests import percentile, ping

LAB = "benchflood"
TARGETS = ("omni-dataplane", "omni-controller", "omnictl", "omni-bench-load")
MODES = ("off", "generic", "native")
NOBODY, NOBODY_MAC = "192.0.2.99", "02:00:00:00:00:99"
# The worker of n2 and the maker of the flood, whose interrupt work is n2's, too: a veth delivers on the
# processor that sends. Everything else is on the other.
FLOODED_CPU, OTHER_CPU = 0, 1
# test -> unit
TESTS = {"alone": "Mbit/s", "beside": "Mbit/s", "under": "Mbit/s", "cost": "%",
         "rtt64_p50_beside": "us", "rtt64_p50_under": "us", "flood_kpps": "kpps",
         "reached_worker": "%"}

DESCRIPTION = """Measures what a flood of 64-byte garbage at the port costs the tunnel: session data of no session
and forged handshakes, with XDP off, generic and native, one after the other, for several rounds.

    sudo benchmarks/flood [--quick] [--rounds N] [--kpps N] [--json FILE]"""


class Tunnel:
    """As the other benchmarks' measurements want it."""
    name = "omni"

    def target(self, lab):
        return lab.nodes[1].vip4


def pin(node, cpu):
    """Every thread of the node's daemons to one processor."""
    for daemon in ("dataplane", "controller"):
        run_command("taskset", "-apc", str(cpu), str(node.pid(daemon)))


def packets(node):
    """What left the node's interface."""
    (link,) = json.loads(node.run("ip", "-s", "-j", "link", "show", "eth0").stdout)
    return link["stats64"]["tx"]["packets"]


@contextlib.contextmanager
def flood(lab, address, kpps, result):
    """Puts into `result` how fast it was and how much of it came to n2's worker."""
    _, flooded, attacker = lab.nodes
    process = attacker.popen("taskset", "-c", str(FLOODED_CPU), "omni-bench-load", "flood",
                             f"{address}:{PORT}", "64", str(kpps * 1000), "3600",
                             stdout=subprocess.DEVNULL)
    try:
        begin, sent, came = time.monotonic(), packets(attacker), heard(flooded)
        yield
        sent, came = packets(attacker) - sent, heard(flooded) - came
        if process.poll() is not None or sent == 0:
            raise LabError("the flood ended by itself")
        result["flood_kpps"] = sent / (time.monotonic() - begin) / 1000
        result["reached_worker"] = 100 * came / sent
    finally:
        process.terminate()
        process.wait()


def heard(node):
    """What the worker's sockets had to read: datagrams, or several that the kernel merged."""
    return node.workers_counters()["rx_messages"]


def goodput(lab, seconds):
    first, flooded, _ = lab.nodes
    with IperfServer(flooded):
        return tcp_mbit(first, flooded.vip4, seconds)


def measure(lab, kpps, effort):
    """{test: value} of one round of one mode."""
    system = Tunnel()
    tcp_s, ping_s = effort
    _, flooded, attacker = lab.nodes
    values, ignored = {"alone": goodput(lab, tcp_s)}, {}
    attacker.run("ip", "neighbour", "replace", NOBODY, "lladdr", NOBODY_MAC, "dev", "eth0")
    run_command("bridge", "-n", lab.topology.switch, "fdb", "replace", NOBODY_MAC, "dev", "p3",
                "master")
    for test, address in (("beside", NOBODY), ("under", flooded.underlay["v4"])):
        with flood(lab, address, kpps, ignored):
            values[test] = goodput(lab, tcp_s)
        with flood(lab, address, kpps, values):
            values[f"rtt64_p50_{test}"] = percentile(ping(lab, system, ping_s), 50)
    values["cost"] = 100 * (1 - values["under"] / values["beside"])
    return values


def one(lab, mode, kpps, effort):
    begin = time.monotonic()
    try:
        for node in lab.nodes:
            node.dataplane_options = ["--xdp", mode]
        lab.start(lab.options)
        first, flooded, _ = lab.nodes
        first.run("ping", "-nc1", "-W5", flooded.vip4)
        first.wait_up(flooded)
        for node in lab.nodes:
            pin(node, FLOODED_CPU if node is flooded else OTHER_CPU)
        return measure(lab, kpps, effort)
    finally:
        for node in lab.nodes:
            node.stop_all()
        say(f"XDP {mode}: {time.monotonic() - begin:.0f} s")


def rows(values):
    """values: mode -> [{test: value} of a round]"""
    out = []
    for mode, rounds in values.items():
        for test, unit in TESTS.items():
            samples = [one_round[test] for one_round in rounds]
            out.append({"system": "omni", "xdp": mode, "test": test, "unit": unit,
                        "median": round(statistics.median(samples), 2),
                        "min": round(min(samples), 2), "max": round(max(samples), 2)})
    return out


def table(measured):
    lines = ["| | " + " | ".join(f"XDP {mode}" for mode in MODES) + " |",
             "| --- |" + " --- |" * len(MODES)]
    for test, unit in TESTS.items():
        of_test = {row["xdp"]: row for row in measured if row["test"] == test}
        cells = [report.spread(of_test[mode]) for mode in MODES]
        lines.append(f"| {test}, {unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def run(options):
    if not options.build:
        build(TARGETS)
    effort = (1, 0.5) if options.quick else (3, 1)
    rounds = options.rounds or (1 if options.quick else 5)
    values = {mode: [] for mode in MODES}
    loads = []
    lab_options = Options(topology="star", arguments=("3",), name=LAB,
                          build=options.build or "build/release", start=False, log_level="warn",
                          mtu=MTU, workers=1)
    with Lab.up(lab_options) as lab:
        lab.options = lab_options
        for number in range(rounds):
            loads.append(os.getloadavg()[0])
            say(f"round {number + 1} of {rounds}; load average {loads[-1]:.2f}")
            for mode in in_turn(MODES, number):
                values[mode].append(one(lab, mode, options.kpps, effort))
    measured = rows(values)
    print(table(measured))
    command.write_json(options.json, {
        "machine": report.machine(), "rounds": rounds,
        "kpps": options.kpps, "load_before_rounds": loads, "rows": measured})
    return 0


def main(arguments):
    parser = command.parser("flood", DESCRIPTION, 5, "one round of short measurements")
    parser.add_argument("--kpps", type=int, choices=range(1, 2000), metavar="N", default=100,
                        help="thousands of datagrams a second that are offered; 100 by default")
    return command.execute("flood", run, parser.parse_args(arguments))
