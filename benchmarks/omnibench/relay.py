# SPDX-License-Identifier: Apache-2.0
"""The command `benchmarks/relay`: what a node that relays for its peers takes, in user space and in XDP.

    n2 ==== n4, which relays ====> n3        on one switch; n2 and n3 drop each other's packets

One tunnel stands all the time, and the way through n4 is switched under it. A veth with native XDP costs its
other end TSO and USO, whoever relays then: so user space is measured with and without XDP on the veth.
"""
import os
import statistics

from omnilab import Lab, Options, wait_for, wall
from omnilab.measure import IperfServer, iperf, percentile, ping_samples
from omnilab.shell import inside
from omnilab.shell import run as run_command

from . import command, report
from .cli import build, say
from .systems import MTU
from .tests import cpu_seconds

LAB = "benchrelay"
TARGETS = ("omni-dataplane", "omni-controller", "omnictl", "omni-nucleus")
# XDP on the relay's interface, and whether the other end of its veth takes what XDP sends.
STATES = {"workers": ("off", "off"), "workers, XDP on the veth": ("native", "off"), "XDP": ("native", "on")}
TESTS = {"tcp": "TCP, 1 stream, Mbit/s", "cpu": "the relay's dataplane, ms of CPU a MB",
         "ping": "round trip of 56 bytes, p50, µs"}

DESCRIPTION = """Measures TCP and the round trip through a node that relays, and the processor time of its
dataplane: in user space, and in XDP, in turns.

    sudo benchmarks/relay [--quick] [--rounds N] [--json FILE]"""


def relays_by_xdp(node):
    return any(f["name"] == "xdp_relay" and f["active"] for f in node.status()["dataplane"]["features"])


def switch(lab, state):
    relay = lab.nodes[2]
    xdp, gro = STATES[state]
    run_command(*inside(lab.topology.switch, ["ethtool", "-K", "p4", "gro", gro]))
    relay.omnictl("path", "set", "--xdp", xdp)
    wait_for(lambda: relays_by_xdp(relay) == (state == "XDP"), 20, f"relay by {state}")


def sample(lab, state, seconds):
    """test -> value"""
    first, second, relay = lab.nodes
    switch(lab, state)
    pings = ping_samples(first, second.vip4)
    with IperfServer(second):
        pids = [relay.pid("dataplane")]
        before = cpu_seconds(pids)
        done = iperf(first, second.vip4, seconds=seconds)["sum_received"]
        spent = cpu_seconds(pids) - before
    return {"tcp": done["bits_per_second"] / 1e6, "cpu": spent * 1e9 / done["bytes"],
            "ping": percentile(pings, 50) * 1000}


def measure(lab, rounds, seconds):
    """test -> state -> [value of a round]"""
    values = {test: {state: [] for state in STATES} for test in TESTS}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}; load average {os.getloadavg()[0]:.2f}")
        for state in list(STATES) if number % 2 == 0 else list(STATES)[::-1]:
            for test, value in sample(lab, state, seconds).items():
                values[test][state].append(value)
    return values


def rows(values):
    return [{"test": test, "state": state, "median": round(statistics.median(samples), 2),
             "min": round(min(samples), 2), "max": round(max(samples), 2)}
            for test, by_state in values.items() for state, samples in by_state.items()]


def table(measured):
    lines = ["| | " + " | ".join(STATES) + " |", "| --- |" + " --- |" * len(STATES)]
    for test, text in TESTS.items():
        cells = [report.spread(row) for row in measured if row["test"] == test]
        lines.append(f"| {text} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def prepare(lab):
    """n2 and n3 talk through n4, and the Nucleus is away."""
    first, second, relay = lab.nodes
    wall.build(first, second)
    for node in lab.nodes:
        node.run("ip", "-6", "address", "flush", "dev", "eth0")
    with open(relay.config_file, "a", encoding="utf-8") as file:
        file.write('\n[relay]\nfor_peers = "on"\npair_mbit = 20000\ntotal_mbit = 40000\n')
    lab.start(Options())
    for node in lab.nodes:
        wait_for(lambda n=node: len(n.peers()) == 2, 30, f"{node.name} knows the others")
    lab.nucleus.stop("nucleus")
    for node in (first, second):
        wait_for(lambda n=node: n.peers()["n4"]["state"] == "PEER_STATE_UP", 60,
                 f"{node.name} has a session with n4")
    first.run("ping", "-nc5", "-W5", second.vip4, check=False)
    wait_for(lambda: first.peers()["n3"]["relay"] == "n4", 30, "n4 relays")


def run(options):
    if not options.build:
        build(TARGETS)
    rounds = options.rounds or (1 if options.quick else 6)
    with Lab.up(Options(topology="star", arguments=("4",), nucleus=True, start=False, name=LAB,
                        build=options.build or "build/release", mtu=MTU)) as lab:
        prepare(lab)
        measured = rows(measure(lab, rounds, 1 if options.quick else 3))
    print(table(measured))
    command.write_json(options.json, {"machine": report.machine(), "rounds": rounds, "rows": measured})
    return 0


def main(arguments):
    parser = command.parser("relay", DESCRIPTION, 6, "one round of short transfers")
    return command.execute("relay", run, parser.parse_args(arguments))
