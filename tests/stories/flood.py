# SPDX-License-Identifier: Apache-2.0
"""Somebody floods the port with garbage: sessions that do not exist, handshakes that are none. The
tunnel goes on, and with XDP on the flood never reaches the dataplane. Shows the goodput of the
tunnel, with XDP off and on: alone, beside a flood that ends at the switch (all of this is one
machine, and making a flood costs it something), and under the flood. Judges none of it.

    n2 ==== tunnel ====> n1 <---- garbage ---- n3
                                      nobody <----+
"""
import contextlib
import sys
import subprocess

from story import check, connect, metric, run, scenario, wait_for_drops
from omnilab import measure
from omnilab.shell import run as run_command

SECONDS = 3
KPPS = 100
NOBODY, NOBODY_MAC = "192.0.2.99", "02:00:00:00:00:99"

# Datagrams of 64 bytes one by one, as they would come from many machines, at a steady rate.
FLOOD = """
import os, socket, sys, time
target, kpps = sys.argv[1], float(sys.argv[2])
garbage = [bytes([4 + n % 2]) + os.urandom(63) for n in range(64)]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
    flood.connect((target, 51900))
    print("ready", flush=True)
    sent, begin = 0, time.monotonic()
    while True:
        owed = (time.monotonic() - begin) * kpps * 1000 - sent
        for n in range(min(int(owed), 1000)):
            flood.send(garbage[n % 64])
            sent += 1
        time.sleep(0.001)
"""


@contextlib.contextmanager
def flood(attacker, address):
    process = attacker.popen(sys.executable, "-B", "-c", FLOOD, address, str(KPPS),
                             stdout=subprocess.PIPE, text=True)
    try:
        check(process.stdout.readline() == "ready\n", "the flood began")
        yield
    finally:
        process.terminate()
        process.wait()


def goodput(lab):
    n1, n2, _ = lab.nodes
    with measure.IperfServer(n1):
        return measure.tcp_mbit(n2, n1.vip4, SECONDS)


def tunnel_under_flood(lab):
    n1, n2, n3 = lab.nodes
    connect(n2, n1)
    alone = goodput(lab)
    n3.run("ip", "neighbour", "replace", NOBODY, "lladdr", NOBODY_MAC, "dev", "eth0")
    run_command("bridge", "-n", lab.topology.switch, "fdb", "add", NOBODY_MAC, "dev", "p3", "master")
    with flood(n3, NOBODY):
        beside = goodput(lab)
    drops = n1.drops()
    with flood(n3, n1.underlay["v4"]):
        wait_for_drops(n1, "rx_unknown_channel", drops["rx_unknown_channel"] + 1000)
        heard = metric(n1, "omni_dataplane_rx_messages_total")
        under = goodput(lab)
        heard = metric(n1, "omni_dataplane_rx_messages_total") - heard
    died = sum(n1.drops()[r] - drops[r] for r in ("rx_unknown_channel", "rx_truncated"))
    print(f"    {alone:.0f} Mbit/s alone, {beside:.0f} beside the flood, {under:.0f} under it "
          f"({died} packets); {heard:.0f} messages reached the workers", flush=True)
    check(under > 0, "the tunnel carries something")
    connect(n2, n1)


@scenario(topology="star", arguments=("3",), xdp="off", workers=1)
def without_xdp(lab):
    tunnel_under_flood(lab)


def tunnel_behind_xdp(lab):
    before = metric(lab.nodes[0], "omni_dataplane_control_datagrams_total")
    tunnel_under_flood(lab)
    control = metric(lab.nodes[0], "omni_dataplane_control_datagrams_total") - before
    check(control < 100, f"{control} forged handshakes reached the workers")


@scenario(topology="star", arguments=("3",), xdp="native", workers=1)
def with_native_xdp(lab):
    tunnel_behind_xdp(lab)


@scenario(topology="star", arguments=("3",), xdp="generic", workers=1)
def with_generic_xdp(lab):
    tunnel_behind_xdp(lab)


run(without_xdp, with_native_xdp, with_generic_xdp)
