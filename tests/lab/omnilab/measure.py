# SPDX-License-Identifier: Apache-2.0
"""Measurements between two nodes, with iperf3, ping and a UDP stream; the same for every path."""
import hashlib
import json
import os
import re
import subprocess
import sys

from .errors import LabError
from .waiting import wait_for

PING_COUNT = 200
UDP_MBIT = 100


def is_listening(node, port):
    return bool(node.run("ss", "-Hltn", f"sport = :{port}").stdout.strip())


class IperfServer:
    """iperf3 -s on a node for as long as the context lasts."""

    def __init__(self, node, port=5201):
        self.node, self.port = node, port

    def __enter__(self):
        self.process = self.node.popen("iperf3", "-s", "-p", str(self.port),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: is_listening(self.node, self.port), 10,
                 f"{self.node.name}: iperf3 on port {self.port}")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def iperf(node, address, *options, seconds, port=5201):
    """Runs a client against an IperfServer; the "end" part of its report."""
    done = node.run("iperf3", "-c", address, "-p", str(port), "-J", "-t", str(seconds), *options,
                    timeout=seconds + 30, check=False)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise LabError(f"iperf3 {address}: {done.stderr.strip() or 'no report'}") from None
    if "error" in result:
        raise LabError(f"iperf3 {address}: {result['error']}")
    return result["end"]


def tcp_mbit(node, address, seconds):
    return iperf(node, address, seconds=seconds)["sum_received"]["bits_per_second"] / 1e6


def udp(sender, receiver, address, seconds, mbit=UDP_MBIT, port=5301):
    """(lost, sent) packets of a UDP stream to the receiver's address."""
    program = f"{os.path.dirname(os.path.abspath(__file__))}/udp_stream.py"
    listening = receiver.popen(sys.executable, "-B", program, "receive", address, str(port),
                               stdout=subprocess.PIPE, text=True)
    try:
        listening.stdout.readline()
        sent = json.loads(sender.run(sys.executable, "-B", program, "send", address, str(port),
                                     str(mbit), str(seconds), timeout=seconds + 30).stdout)["sent"]
        received = json.loads(listening.communicate(timeout=30)[0])["received"]
    finally:
        listening.kill()
        listening.wait()
    return sent - received, sent


def ping_samples(node, address, count=PING_COUNT):
    """Round-trip times in ms, sorted; a lost echo is an error."""
    done = node.run("ping", "-n", "-i", "0.01", "-c", str(count), "-W", "2", address,
                    timeout=count * 0.1 + 30, check=False)
    samples = sorted(float(value) for value in re.findall(r"time=([\d.]+) ms", done.stdout))
    if len(samples) < count:
        raise LabError(f"ping {address}: {count - len(samples)} of {count} not answered")
    return samples


def percentile(samples, percent):
    return samples[min(len(samples) - 1, len(samples) * percent // 100)]


def measure(node, peer, address, seconds):
    """The keys that `scripts/demo --json` documents, from node to an address of its peer."""
    samples = ping_samples(node, address)
    lost, sent = udp(node, peer, address, seconds)
    with IperfServer(peer):
        mbit = tcp_mbit(node, address, seconds)
    return {"tcp_mbit": round(mbit, 1),
            "udp_loss_percent": round(100 * lost / sent, 4) if sent else 100.0,
            "rtt_ms_p50": percentile(samples, 50), "rtt_ms_p99": percentile(samples, 99)}


SEND = """
import socket, sys
with socket.create_server(("{address}", {port}), family=socket.{family}) as server:
    connection, _ = server.accept()
    with connection, open("{path}", "rb") as file:
        connection.sendfile(file)
"""
RECEIVE = """
import hashlib, socket
digest, size = hashlib.sha256(), 0
with socket.create_connection(("{address}", {port}), timeout=30) as connection:
    while data := connection.recv(1 << 20):
        digest.update(data)
        size += len(data)
print(digest.hexdigest(), size)
"""


def move_file(sender, receiver, address, megabytes=64, port=8000):
    """Sends random bytes over TCP to whoever asks at `address`; SHA-256 of them, equal at both ends."""
    path = f"{sender.directory}/file"
    content = os.urandom(megabytes << 20)
    with open(path, "wb") as file:
        file.write(content)
    family = "AF_INET6" if ":" in address else "AF_INET"
    values = {"address": address, "port": port, "path": path, "family": family}
    server = sender.popen("/usr/bin/python3", "-c", SEND.format(**values))
    try:
        wait_for(lambda: is_listening(sender, port), 10, f"{sender.name}: file server")
        received = receiver.run("/usr/bin/python3", "-c", RECEIVE.format(**values)).stdout.split()
    finally:
        server.terminate()
        server.wait()
        os.unlink(path)
    expected = hashlib.sha256(content).hexdigest()
    if received != [expected, str(len(content))]:
        raise LabError(f"file over {address}: {received[1]} of {len(content)} bytes, "
                       f"SHA-256 {received[0]} instead of {expected}")
    return expected
