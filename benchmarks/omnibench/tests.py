# SPDX-License-Identifier: Apache-2.0
"""What is measured on a system that stands: one round gives {test: value} and the curves."""
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass

from omnilab import LabError
from omnilab.measure import IperfServer, iperf

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
UDP_PORT = 5302
PING_INTERVAL_US = 1000
PING_TIMEOUT_US = 500e3  # the prober's kPingTimeout

# test -> (unit, which way is better)
TESTS = {
    "tcp1": ("Mbit/s", "more"),
    "tcp4": ("Mbit/s", "more"),
    "tcp1_reverse": ("Mbit/s", "more"),
    "udp1300": ("Mbit/s", "more"),
    "udp1300_loss": ("%", "less"),
    "udp64": ("Mbit/s", "more"),
    "udp64_loss": ("%", "less"),
    "rtt64_p50": ("us", "less"),
    "rtt64_p99": ("us", "less"),
    "rtt64_p99.9": ("us", "less"),
    "rtt64_p50_loaded": ("us", "less"),
    "rtt64_p99_loaded": ("us", "less"),
    "tcp1_while_pinged": ("Mbit/s", "more"),
    "cpu_s_per_gbit": ("s", "less"),
    "machine_cpu_s_per_gbit": ("s", "less"),
    "rss_mib": ("MiB", "less"),
}


@dataclass
class Effort:
    """How long each measurement of a round takes, and which loads are offered."""
    tcp_s: float = 4
    udp_s: float = 1.5
    ping_s: float = 4
    # Thousands of packets a second.
    udp1300_kpps: tuple = (25, 50, 75, 100, 150, 200, 250, 300, 350, 400, 600)
    udp64_kpps: tuple = (20, 40, 80, 120, 160, 240, 320, 400, 450, 500, 600, 800)


QUICK = Effort(tcp_s=1, udp_s=0.5, ping_s=0.7, udp1300_kpps=(50, 100, 200, 300, 400),
               udp64_kpps=(40, 80, 240, 400, 500))


def percentile(samples, percent):
    """Of sorted samples, the nearest rank."""
    return samples[min(len(samples) - 1, int(len(samples) * percent / 100))]


# ---- processor time and memory

def cpu_seconds(pids):
    """User and system time of live processes, all threads."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            fields = stat.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_SECOND


def machine_cpu_seconds():
    """Time in which a processor of the machine was not idle."""
    with open("/proc/stat", encoding="utf-8") as stat:
        user, nice, system, _, _, irq, softirq = map(int, stat.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS_PER_SECOND


def rss_mib(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/statm", encoding="utf-8") as statm:
            total += int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total / (1 << 20)


# ---- single measurements

def tcp(lab, system, effort, *options):
    """Mbit/s as they arrived, CPU seconds of the system and of the machine per Gbit."""
    first, second = lab.nodes
    pids = [pid for own in system.pids(lab).values() for pid in own]
    with IperfServer(second):
        machine, own = machine_cpu_seconds(), cpu_seconds(pids)
        received = iperf(first, system.target(lab), *options, seconds=effort.tcp_s)["sum_received"]
        machine, own = machine_cpu_seconds() - machine, cpu_seconds(pids) - own
    gbit = received["bytes"] * 8 / 1e9
    if gbit == 0:
        raise LabError(f"{system.name}: iperf3 moved nothing")
    return received["bits_per_second"] / 1e6, own / gbit, machine / gbit


def udp_point(lab, system, size, kpps, seconds):
    """One point of the curve."""
    first, second = lab.nodes
    endpoint = f"{system.target(lab)}:{UDP_PORT}"
    receiver = second.popen("omni-bench-load", "receive", endpoint, stdout=subprocess.PIPE,
                            text=True)
    try:
        if receiver.stdout.readline() != "ready\n":
            raise LabError(f"{system.name}: no UDP receiver at {endpoint}")
        sent = json.loads(first.run("omni-bench-load", "send", endpoint, str(size),
                                    str(kpps * 1000), str(seconds)).stdout)
        received = json.loads(receiver.communicate(timeout=30)[0])
    finally:
        receiver.kill()
        receiver.wait()
    offered = sent["sent"] + sent["refused"]
    # What waits in queues when the sender ends arrives later; it must not count as faster.
    took = max(sent["seconds"], received["seconds"])
    return {"wanted_kpps": kpps,
            "offered_kpps": round(offered / sent["seconds"] / 1e3, 2),
            "offered_mbit": round(offered * size * 8 / sent["seconds"] / 1e6, 2),
            "goodput_mbit": round(received["bytes"] * 8 / took / 1e6, 2),
            "loss_percent": round(100 * (1 - received["packets"] / offered), 2) if offered else 100}


def udp_curve(lab, system, size, loads, seconds):
    return [udp_point(lab, system, size, kpps, seconds) for kpps in loads]


def ping(lab, system, seconds):
    """Sorted round-trip times in us. One that was lost counts as the prober's timeout."""
    first = lab.nodes[0]
    answer = json.loads(first.run("omni-bench-load", "ping", system.target(lab),
                                  str(PING_INTERVAL_US), str(seconds)).stdout)
    samples = sorted(answer["rtt_us"] + [PING_TIMEOUT_US] * answer["lost"])
    if not samples:
        raise LabError(f"{system.name}: no ping was answered")
    return samples


def written_bytes(pid):
    """What a process wrote so far, sockets included."""
    with open(f"/proc/{pid}/io", encoding="utf-8") as io:
        return int(re.search(r"^wchar: (\d+)", io.read(), re.M).group(1))


def ping_loaded(lab, system, seconds):
    """The same while one TCP stream runs in the same direction; and the stream's Mbit/s."""
    first, second = lab.nodes
    with IperfServer(second):
        client = first.popen("iperf3", "-c", system.target(lab), "-t", str(int(seconds) + 60),
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            # The stream's first moments are slow start, not load.
            ping(lab, system, min(0.5, seconds / 2))
            begin, written = time.monotonic(), written_bytes(client.pid)
            samples = ping(lab, system, seconds)
            took, written = time.monotonic() - begin, written_bytes(client.pid) - written
        except FileNotFoundError:
            written = 0
        finally:
            client.kill()
            client.wait()
    # Without the stream, these would be round trips of an idle system under another name.
    if written == 0:
        raise LabError(f"{system.name}: no TCP stream ran while pings were measured")
    return samples, written * 8 / took / 1e6


# ---- a round

def measure(lab, system, effort):
    """({test: value}, [curve points]) of one system."""
    idle = ping(lab, system, effort.ping_s)
    values = {"rtt64_p50": percentile(idle, 50), "rtt64_p99": percentile(idle, 99),
              "rtt64_p99.9": percentile(idle, 99.9)}
    values["tcp1"], own, values["machine_cpu_s_per_gbit"] = tcp(lab, system, effort)
    # The cable has no process: what the machine spends is what it costs.
    values["cpu_s_per_gbit"] = own if any(system.pids(lab).values()) else \
        values["machine_cpu_s_per_gbit"]
    values["tcp4"] = tcp(lab, system, effort, "-P", "4")[0]
    values["tcp1_reverse"] = tcp(lab, system, effort, "-R")[0]
    loaded, values["tcp1_while_pinged"] = ping_loaded(lab, system, effort.ping_s)
    values["rtt64_p50_loaded"] = percentile(loaded, 50)
    values["rtt64_p99_loaded"] = percentile(loaded, 99)
    curve = []
    for test, size, loads in (("udp1300", 1300, effort.udp1300_kpps),
                              ("udp64", 64, effort.udp64_kpps)):
        points = udp_curve(lab, system, size, loads, effort.udp_s)
        best = max(points, key=lambda point: point["goodput_mbit"])
        values[test], values[f"{test}_loss"] = best["goodput_mbit"], best["loss_percent"]
        curve += [{"test": test, **point} for point in points]
    pids = system.pids(lab)[lab.nodes[0].name]
    if pids:
        values["rss_mib"] = rss_mib(pids)
    return values, curve
