# SPDX-License-Identifier: Apache-2.0
"""The demonstration: builds, stands a Nucleus and two machines behind NATs up, shows how they find each
other and what their tunnel carries, takes all of it down.

    n2 eth0 --- NAT ---+
                       +--- internet --- n1: omni-nucleus
    n3 eth0 --- NAT ---+
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from omnilab import Lab, LabError, Options, measure, nat, wait_for  # noqa: E402
from omnilab.lab import REPOSITORY, ROOT  # noqa: E402
from omnilab.process import interrupt_on_termination  # noqa: E402

NAME = "demo"
PRESET = "release"
TARGETS = ("omni-nucleus", "omni-dataplane", "omni-controller", "omnictl")
NATS = ("port-restricted", "full-cone")
PROGRESS_S = 5


def say(text):
    print(f"==> {text}", flush=True)


def build():
    """Configures once; after that the build system itself knows that there is nothing to do."""
    env = os.environ | {"CMAKE_CXX_COMPILER_LAUNCHER": "ccache"}
    if not os.path.exists(f"{REPOSITORY}/build/{PRESET}/build.ninja"):
        say("configure")
        done = subprocess.run(["cmake", "--preset", PRESET], cwd=REPOSITORY, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise LabError(f"configure:\n{done.stdout}")
    say("build (the first time takes minutes)")
    shown, lines = time.monotonic(), []
    with subprocess.Popen(["cmake", "--build", "--preset", PRESET, "--target", *TARGETS],
                          cwd=REPOSITORY, env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            lines.append(line)
            step = re.match(r"\[(\d+/\d+)\]", line)
            if step and time.monotonic() - shown > PROGRESS_S:
                shown = time.monotonic()
                say(f"build: {step.group(1)}")
    if process.returncode != 0:
        raise LabError("build:\n" + "".join(lines[-40:]))


def ping(node, address, count=3):
    done = node.run("ping", "-c", str(count), "-i", "0.2", "-W", "5", address, check=False)
    if done.returncode != 0 or " 0% packet loss" not in done.stdout:
        raise LabError(f"ping {address}: not every echo was answered:\n{done.stdout}{done.stderr}")
    say(f"{node.name} pings {address}: {done.stdout.strip().splitlines()[-1]}")


def show(title, text):
    say(title)
    print("\n".join(f"    {line}" for line in text.rstrip().splitlines()), flush=True)


def table(result):
    rows = [("", "tunnel", "underlay"),
            ("TCP, Mbit/s", "tcp_mbit"), (f"UDP loss at {measure.UDP_MBIT} Mbit/s, %",
                                          "udp_loss_percent"),
            ("ping median, ms", "rtt_ms_p50"), ("ping p99, ms", "rtt_ms_p99")]
    lines = ["{:<28} {:>10} {:>10}".format(*rows[0])]
    for name, key in rows[1:]:
        lines.append(f"{name:<28} {result['tunnel'][key]:>10} {result['underlay'][key]:>10}")
    return "\n".join(lines)


def has_tested_its_nat(node):
    v4 = node.omnictl_json("netcheck")["families"][0]
    return v4["mapping"] not in ("MAPPING_UNSPECIFIED", "MAPPING_UNKNOWN")


def find_each_other(lab):
    """From two machines that know a Nucleus and a secret to a tunnel; how long the first echo took, ms."""
    first, second = lab.nodes
    for node, other in ((first, second), (second, first)):
        wait_for(lambda n=node, o=other: o.name in n.peers(), 60, f"{node.name} hears of {other.name}")
    for node in lab.nodes:
        wait_for(lambda n=node: has_tested_its_nat(n), 30, f"{node.name} knows what its NAT does")
        show(f"omnictl netcheck, on {node.name}", node.omnictl("netcheck").stdout)
    # Before anything flows there is no session: the first packet asks for one.
    begin = time.monotonic()
    ping(first, second.vip4, count=1)
    took = (time.monotonic() - begin) * 1000
    first.wait_up(second)
    ping(second, first.vip6)
    return took


def demonstrate(lab, seconds):
    first, second = lab.nodes
    first_echo_ms = find_each_other(lab)
    peer = first.peers()[second.name]
    show(f"omnictl peers list, on {first.name}", first.omnictl("peers", "list").stdout)
    session = next(s for s in first.sessions() if s["slot"] == "current")
    show(f"omnictl sessions list, on {first.name}", first.omnictl("sessions", "list").stdout)
    digest = measure.move_file(second, first, second.vip4)
    say(f"64 MiB from {second.name} to {first.name} through the tunnel, SHA-256 equal: {digest[:16]}...")
    say(f"measuring through the tunnel, {2 * seconds + 4} s")
    tunnel = measure.measure(first, second, second.vip4, seconds)
    nat.bypass(lab.topology)
    say(f"measuring beside it, over the same cables and routers without their NAT, {2 * seconds + 4} s")
    underlay = measure.measure(first, second, second.underlay["v4"], seconds)
    return {"nodes": [{"name": node.name, "vip": node.vip4, "namespace": node.namespace,
                       "nat": plan.access["kind"]}
                      for node in lab.nodes for plan in lab.topology.nodes if plan.name == node.name],
            "way": peer["path_kind"], "endpoint": peer["endpoint"],
            "first_echo_ms": round(first_echo_ms, 1),
            "added_ms_p50": round(tunnel["rtt_ms_p50"] - underlay["rtt_ms_p50"], 3),
            "path": first.status()["dataplane"]["path"], "cipher": session["cipher"],
            "tunnel": tunnel, "underlay": underlay}


HOW_TO_USE = """the machines stay up. Try:
    sudo tests/lab/lab exec demo/n2 omnictl peers list
    sudo tests/lab/lab exec demo/n2 ping 10.77.0.3
    sudo tests/lab/lab exec demo/n3 iperf3 -s &
    sudo tests/lab/lab exec demo/n2 iperf3 -c 10.77.0.3
and take them down: sudo scripts/demo down"""


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="A Nucleus, and two machines behind NATs that know nothing but "
        "its address and a secret: how they find each other, and what their tunnel carries.")
    parser.add_argument("command", nargs="?", choices=("run", "down"), default="run",
                        help="down: take down what --keep left")
    parser.add_argument("--keep", action="store_true", help="leave the machines up")
    parser.add_argument("--json", metavar="FILE", help="write the results")
    parser.add_argument("--seconds", type=int, default=5, help="of each throughput measurement")
    return parser.parse_args(arguments)


def run(options):
    build()
    if os.path.exists(f"{ROOT}/{NAME}"):
        say("taking down what an earlier run left")
        Lab.load(NAME).down()
    say(f"network namespaces: a Nucleus on the internet; two machines behind routers, with a NAT that is "
        f"{NATS[0]} and one that is {NATS[1]}")
    lab = Lab.up(Options(topology="nat", arguments=("none", *NATS), name=NAME, nucleus=True,
                         build=f"build/{PRESET}"))
    try:
        result = demonstrate(lab, options.seconds)
        print(f"\nway {result['way']}, to {result['endpoint']}; first echo after "
              f"{result['first_echo_ms']} ms\npath {result['path']}, cipher {result['cipher']}\n"
              f"{table(result)}\nthe tunnel adds {result['added_ms_p50']} ms to the median round trip\n",
              flush=True)
        if options.json:
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump(result, file, indent=1)
                file.write("\n")
    except BaseException:
        lab.down()
        raise
    if options.keep:
        say(HOW_TO_USE)
    else:
        lab.down()
        say("all taken down")


def main(arguments):
    options = parse(arguments)
    interrupt_on_termination()
    try:
        if options.command == "down":
            if os.geteuid() != 0:
                raise LabError("network namespaces need root: sudo scripts/demo down")
            Lab.load(NAME).down()
            say("all taken down")
        else:
            run(options)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; all taken down", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
