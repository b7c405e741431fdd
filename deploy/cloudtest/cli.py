# SPDX-License-Identifier: Apache-2.0
"""The command `deploy/cloud-test`."""
import argparse
import json
import os
import shlex
import signal
import statistics
import sys

from . import measure, network
from .host import Failed, Host, pack, resolve

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = ("ping", "iperf3", "ip", "ss", "setsid", "timeout", "install", "tar")
# Of one direction, beside what a line of the table is called.
ROWS = (("tcp_mbit", "TCP, Mbit/s"), ("rtt_p50", "ping median, ms"), ("rtt_p99", "ping p99, ms"))

DESCRIPTION = """A Nucleus and two edges on three hosts (or two: the Nucleus may share one), over ssh. The edges know
nothing but the Nucleus' address and the cluster's secret. Shows the path that they found, what the tunnel
adds to the underlay's latency, throughput inside and beside the tunnel in both directions, loss and processor
time; several rounds, each from nothing. Everything is put into a folder under /tmp there and taken away
again; a network that is in use on the hosts is not touched.

    deploy/cloud-test --nucleus root@a.example --edge root@b.example --edge root@c.example

The hosts are Debian 12, of this machine's architecture, with `scripts/setup` done once; the user is root or
may use sudo without a password. UDP port --port is used on the edges, --port + 1 on the Nucleus."""


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def parse(arguments):
    def positive(text):
        value = int(text)
        if value < 1:
            raise argparse.ArgumentTypeError("at least 1")
        return value

    def port(text):
        value = int(text)
        if not 1 <= value <= 65534:
            raise argparse.ArgumentTypeError("1 to 65534")
        return value
    parser = argparse.ArgumentParser(prog="deploy/cloud-test", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nucleus", required=True, metavar="[USER@]HOST")
    parser.add_argument("--edge", required=True, action="append", metavar="[USER@]HOST",
                        help="twice")
    parser.add_argument("--nucleus-address", metavar="NAME",
                        help="by which the edges reach the Nucleus; as ssh does by default")
    parser.add_argument("--edge-address", action="append", metavar="ADDRESS",
                        help="by which the other edge may be reached without the tunnel, in the order "
                             "of --edge; as ssh does by default")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--seconds", type=positive, default=5, help="of each throughput measurement")
    parser.add_argument("--timeout", type=positive, default=60,
                        help="seconds that each step of bringing up may take")
    parser.add_argument("--port", type=port, default=51990)
    parser.add_argument("--build", default=f"{REPOSITORY}/build/release", metavar="DIR")
    parser.add_argument("--dataplane", type=shlex.split, default=[], metavar="OPTIONS",
                        help="further options of omni-dataplane, in one word")
    parser.add_argument("--ssh-option", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", metavar="FILE", help="write all rounds")
    options = parser.parse_args(arguments)
    if len(options.edge) != 2:
        parser.error("--edge: give two")
    if options.edge_address and len(options.edge_address) != 2:
        parser.error("--edge-address: give two, or none")
    return options


def addresses(options):
    """Where edges are without the tunnel."""
    return options.edge_address or [resolve(target) for target in options.edge]


def one_round(options, hosts, programs):
    """Brings everything up, measures, takes it down. The round's results."""
    nucleus, *edges = hosts
    try:
        for host in hosts:
            host.prepare(programs, TOOLS)
        first_echo_s = network.bring_up(nucleus, edges, options)
        out = {"first_echo_s": first_echo_s, "directions": []}
        where = addresses(options)
        for host, other, address in ((edges[0], edges[1], where[1]), (edges[1], edges[0], where[0])):
            say(f"{host.target} -> {other.target}: measuring")
            inside = measure.through_tunnel(host, other, options.seconds)
            beside = measure.beside_tunnel(host, other, address, options.seconds)
            peer = network.peer_of(host, other)
            out["directions"].append({
                "from": host.target, "to": other.target, "endpoint": peer["endpoint"],
                "peer": peer, "tunnel": inside, "underlay": beside})
        return out
    except Failed:
        for host in hosts:
            print(f"--- {host.target}\n{host.logs()}", file=sys.stderr)
        raise
    finally:
        for host in hosts:
            host.clean()


def value(side, key):
    if side is None:
        return None
    return side["rtt_ms"][key.removeprefix("rtt_")] if key.startswith("rtt_") else side[key]


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def text(number):
    return "-" if number is None else f"{number:,.3f}" if number < 10 else f"{number:,.0f}"


def summary(rounds):
    """Medians over the rounds, a table for each direction."""
    lines = []
    for index in (0, 1):
        runs = [a_round["directions"][index] for a_round in rounds]
        found = ", ".join(sorted({f"{run['peer']['path_kind']} {run['endpoint']}" for run in runs}))
        lines += [f"{runs[0]['from']} -> {runs[0]['to']}, path: {found}",
                  f"    {'':<34} {'tunnel':>10} {'underlay':>10}"]
        for key, name in ROWS:
            inside, beside = (median(value(run[side], key) for run in runs)
                              for side in ("tunnel", "underlay"))
            lines.append(f"    {name:<34} {text(inside):>10} {text(beside):>10}")
        added = [value(run["tunnel"], "rtt_p50") - value(run["underlay"], "rtt_p50")
                 for run in runs if run["underlay"]]
        for name, number in (
                ("ping median, added by the tunnel, ms", median(added)),
                (f"UDP loss at {measure.UDP_MBIT} Mbit/s, %",
                 median(run["tunnel"]["udp_loss_percent"] for run in runs)),
                ("CPU seconds per Gbit, sender", median(run["tunnel"]["cpu_s_per_gbit"]["sender"]
                                                        for run in runs)),
                ("CPU seconds per Gbit, receiver", median(run["tunnel"]["cpu_s_per_gbit"]["receiver"]
                                                          for run in runs))):
            lines.append(f"    {name:<34} {text(number):>10}")
    first = median(a_round["first_echo_s"] for a_round in rounds)
    lines.append(f"first echo {first:.2f} s after both knew of each other (median of {len(rounds)})")
    return "\n".join(lines)


def run(options):
    programs = pack(options.build)
    options.nucleus_endpoint = network.endpoint(options.nucleus_address or resolve(options.nucleus),
                                                options.port + 1)
    rounds = []
    for number in range(1, options.rounds + 1):
        say(f"round {number} of {options.rounds}")
        hosts = [Host(target, options.ssh_option) for target in (options.nucleus, *options.edge)]
        rounds.append(one_round(options, hosts, programs))
    print(summary(rounds), flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"nucleus": options.nucleus, "edges": options.edge, "rounds": rounds}, file,
                      indent=1)
            file.write("\n")


def main(arguments):
    options = parse(arguments)

    def interrupt(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupt)
    try:
        run(options)
    except Failed as failed:
        print(f"cloud-test: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cloud-test: interrupted; all taken down", file=sys.stderr)
        return 130
    return 0
