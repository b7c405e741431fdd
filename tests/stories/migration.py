# SPDX-License-Identifier: Apache-2.0
"""Fifty times a node gets another address, or another interface: tunnels, the TCP connections inside
them and the QUIC connections to the Nucleus move along.

    n2 --- switch --- n3
             |
         n1: omni-nucleus
"""
import json
import os
import subprocess
import time

from story import check, check_equal, connect, run, scenario, session_ids, steady_ping, wait_for

INTERVAL_S = 0.01
# LIMIT: after each change, so that none is counted for another: the quick rounds of tries are over.
CALM_S = 1.0


class Mover:
    """Changes the network of one node."""

    def __init__(self, lab, node):
        self.lab, self.node = lab, node
        self.device, self.devices = "eth0", 1
        self.number = 0

    def _next(self):
        """Addresses that nobody had before."""
        self.number += 1
        host = self.node.number * 40 + self.number
        return f"192.0.2.{host}/24", f"2001:db8::{host:x}/64"

    def ip(self, *lines):
        self.node.run("sh", "-ec", "\n".join(f"ip {line}" for line in lines))

    def new_v6(self):
        _, v6 = self._next()
        self.ip(f"-6 address flush dev {self.device} scope global",
                f"address add {v6} dev {self.device} nodad")

    def no_v6(self):
        self.ip(f"-6 address flush dev {self.device} scope global")

    def new_v4(self):
        v4, _ = self._next()
        self.ip(f"-4 address flush dev {self.device}", f"address add {v4} dev {self.device}")

    def v6_again(self):
        self.new_v6()

    def another_interface(self):
        """The new one is there before the old one goes, as when a cable is plugged in."""
        v4, v6 = self._next()
        old, self.device = self.device, f"eth{self.devices}"
        self.devices += 1
        port = f"q{self.node.number}x{self.devices}"
        self.ip(f"link add {self.device} type veth peer name {port} netns {self.lab.topology.switch}")
        switch = ["ip", "-n", self.lab.topology.switch, "link", "set", port]
        self.node.run(*switch, "master", "br0")
        self.node.run(*switch, "up")
        self.ip(f"link set {self.device} up", f"address add {v4} dev {self.device}",
                f"address add {v6} dev {self.device} nodad", f"link delete {old}")


CHANGES = ("new_v6", "no_v6", "new_v4", "v6_again", "another_interface")


def connections(lab):
    return {node.name: node.omnictl_json("nucleus", "status")["connection_id"] for node in lab.nodes}


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


@scenario(topology="star", arguments=("3",), nucleus=True)
def fifty_changes_interrupt_nothing_for_long(lab):
    n2, n3 = lab.nodes
    wait_for(lambda: "n3" in n2.peers() and "n2" in n3.peers(), 60, "both know each other")
    connect(n2, n3)
    wait_for(lambda: n2.peers()["n3"]["path_kind"] == "direct v6", 30, "the best way")
    before = connections(lab)
    check(all(before.values()), "each has a connection")
    handshakes = lab.nucleus.metric("omni_nucleus_quic_handshakes_total")
    sessions = session_ids(n2)
    rounds = int(os.environ.get("OMNI_MIGRATION_ROUNDS", "5"))
    interruptions = {change: [] for change in CHANGES}
    n3.popen("iperf3", "--server", "--one-off", "--bind", n3.vip4, stdout=subprocess.DEVNULL)
    wait_for(lambda: n3.vip4 in n3.run("ss", "-Hltn").stdout, 10, "the server of the TCP connection")
    with open(f"{n2.directory}/tcp.json", "wb") as file:
        stream = n2.popen("iperf3", "--client", n3.vip4, "--time", "3600", "--bitrate", "5M", "--json",
                          stdout=file)
    with steady_ping(n2, n3.vip4, INTERVAL_S) as pings:
        pings.wait_for_more(50)
        movers = [Mover(lab, n2), Mover(lab, n3)]
        for _ in range(rounds):
            for change in CHANGES:
                for mover in movers:
                    begin = time.time()
                    getattr(mover, change)()
                    time.sleep(CALM_S)
                    pings.wait_for_more(20)
                    interruptions[change].append(pings.longest_gap(begin) - INTERVAL_S)
    check(stream.poll() is None, "the TCP connection is alive")
    stream.terminate()
    stream.wait()
    with open(f"{n2.directory}/tcp.json", encoding="utf-8") as file:
        tcp = json.load(file)
    everything = [gap for gaps in interruptions.values() for gap in gaps]
    for change, gaps in interruptions.items():
        print(f"{change:18} p50 {percentile(gaps, 50) * 1000:4.0f} ms  longest {max(gaps) * 1000:4.0f} ms")
    silent = sum(interval["sum"]["bytes"] == 0 for interval in tcp["intervals"])
    print(f"{len(everything)} changes: p50 {percentile(everything, 50) * 1000:.0f} ms, "
          f"p99 {percentile(everything, 99) * 1000:.0f} ms; TCP: "
          f"{tcp['end']['sum_sent']['retransmits']} retransmissions, {silent} s without data")
    check(percentile(everything, 50) < 0.3, "half of all interruptions are under 300 ms")
    check(percentile(everything, 99) < 1, "99 % of all interruptions are under a second")
    check_equal(connections(lab), before, "the QUIC connections")
    check_equal(lab.nucleus.metric("omni_nucleus_quic_handshakes_total"), handshakes, "TLS handshakes")
    check(sessions <= session_ids(n2), "the session is the same")


run(fifty_changes_interrupt_nothing_for_long)
