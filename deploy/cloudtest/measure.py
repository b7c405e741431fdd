# SPDX-License-Identifier: Apache-2.0
"""What is measured between two edges, one direction at a time, inside the tunnel and beside it."""
import json
import re
import time

from .host import Failed

PORT = 5201
PINGS = 200
UDP_MBIT = 50
PERCENTILES = (50, 90, 99)


def percentiles(samples):
    samples = sorted(samples)
    return {f"p{p}": samples[min(len(samples) - 1, len(samples) * p // 100)] for p in PERCENTILES}


def ping(host, address):
    """Round-trip times in ms, and loss in percent."""
    done = host.run("ping", "-n", "-i", "0.02", "-c", str(PINGS), "-W", "2", address, check=False,
                    timeout=PINGS * 0.1 + 30)
    samples = [float(value) for value in re.findall(r"time=([\d.]+) ms", done.stdout)]
    if not samples:
        raise Failed(f"{host.target}: ping {address}: nothing came back")
    return {**percentiles(samples), "loss_percent": 100 * (1 - len(samples) / PINGS)}


def cpu_seconds(host, daemon="dataplane"):
    """User and system time of a daemon, all threads."""
    stat = host.run("cat", f"/proc/{host.pid(daemon)}/stat").stdout.rpartition(")")[2].split()
    ticks = int(host.run("getconf", "CLK_TCK").stdout)
    return (int(stat[11]) + int(stat[12])) / ticks


def iperf(host, other, address, seconds, *options):
    """From `host` to `other`; the "end" part of the report."""
    # One connection, then it ends by itself.
    server = f"setsid timeout {seconds + 60} iperf3 -s -1 -p {PORT} >/dev/null 2>&1 </dev/null &"
    other.shell(server)
    deadline = time.monotonic() + 10
    while not other.shell(f"ss -Hltn 'sport = :{PORT}'", check=False).stdout.strip():
        if time.monotonic() > deadline:
            raise Failed(f"{other.target}: iperf3 does not listen on port {PORT}")
        time.sleep(0.1)
    done = host.run("iperf3", "-c", address, "-p", str(PORT), "-J", "-t", str(seconds), *options,
                    timeout=seconds + 60, check=False)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise Failed(f"{host.target}: iperf3 {address}: {done.stderr.strip()}") from None
    if "error" in result:
        raise Failed(f"{host.target}: iperf3 {address}: {result['error']}")
    return result["end"]


def through_tunnel(host, other, seconds):
    """One direction inside: {test: value}."""
    before = cpu_seconds(host), cpu_seconds(other)
    tcp = iperf(host, other, other.vip4, seconds)["sum_received"]
    spent = cpu_seconds(host) - before[0], cpu_seconds(other) - before[1]
    if tcp["bytes"] == 0:
        raise Failed(f"{host.target}: TCP moved nothing through the tunnel")
    udp = iperf(host, other, other.vip4, seconds, "-u", "-b", f"{UDP_MBIT}M", "-l", "1200")["sum"]
    gbit = tcp["bytes"] * 8 / 1e9
    return {"rtt_ms": ping(host, other.vip4), "rtt6_ms": ping(host, other.vip6),
            "tcp_mbit": tcp["bits_per_second"] / 1e6, "udp_loss_percent": udp["lost_percent"],
            "cpu_s_per_gbit": {"sender": spent[0] / gbit, "receiver": spent[1] / gbit}}


def beside_tunnel(host, other, address, seconds):
    """The same without the tunnel, where the other edge can be reached so; None where not, as behind a
    NAT. A firewall may let echoes through and no TCP."""
    if address is None or host.run("ping", "-nc2", "-W2", address, check=False).returncode != 0:
        return None
    out = {"rtt_ms": ping(host, address), "tcp_mbit": None}
    try:
        out["tcp_mbit"] = iperf(host, other, address, seconds)["sum_received"]["bits_per_second"] / 1e6
    except Failed:
        pass
    return out
