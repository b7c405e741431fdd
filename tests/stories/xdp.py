# SPDX-License-Identifier: Apache-2.0
"""XDP on the underlay: what is worth nothing ends there and is counted, and what others have put
there is left to them.

    n1 eth0 ---- eth0 n2        XDP on eth0 of both, natively
"""
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from story import (Options, build_directory, check, check_equal, connect, metric, ping, run,
                   scenario, wait_for, wait_for_drops)
from omnilab.shell import ip_batch
from omnilab.sockets import socket_in

PORT = 51900


def feature(node, name):
    return next((f for f in node.status()["dataplane"]["features"] if f["name"] == name), None)


def wait_for_xdp(node, interface="eth0", active=True):
    def is_so():
        found = feature(node, f"xdp:{interface}")
        return found is not None and found["active"] == active
    wait_for(is_so, 20, f"{node.name}: XDP {'on' if active else 'off'} on {interface}")
    return feature(node, f"xdp:{interface}")["reason"]


def program_on(node, interface="eth0"):
    """What the kernel says is attached; None: nothing."""
    shown = json.loads(node.run("ip", "-j", "link", "show", interface).stdout)[0]
    return shown.get("xdp")


def worker_messages(node):
    return metric(node, "omni_dataplane_rx_messages_total")


def garbage(node, target, payloads, address=None):
    with socket_in(node.namespace, socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for payload in payloads:
            stranger.sendto(payload, (address or target.underlay["v4"], PORT))


@scenario(topology="pair", xdp="native")
def garbage_ends_at_xdp(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    check("by choice" in wait_for_xdp(n2), "the reason")
    check(program_on(n2) is not None, "the program")
    before, heard = n2.drops(), worker_messages(n2)
    garbage(n1, n2, [b"\x04" + os.urandom(63)] * 200 + [b"\x04" * 31] * 200 +
            [b"\x05" + bytes(63)] * 200 + [b"\x06" + os.urandom(1000)] * 200)
    for reason, count in (("rx_unknown_channel", 200), ("rx_truncated", 400),
                          ("rx_oversized", 200)):
        wait_for_drops(n2, reason, before[reason] + count)
    more = worker_messages(n2) - heard
    check(more < 100, f"{more} messages reached the workers")
    with ThreadPoolExecutor() as pool:
        told = pool.submit(n2.omnictl_json, "trace", "--next", "1", "--drops")
        while not told.done():
            garbage(n1, n2, [b"\x04" + os.urandom(63)] * 20)
            time.sleep(0.05)
    (dropped,) = told.result()["packets"]
    check_equal((dropped["path"], dropped["verdict"]), ("xdp", "rx_unknown_channel"), "the trace")
    ping(n1, n2.vip4, count=20)
    ping(n1, n2.vip6, count=20)


@scenario(topology="pair", xdp="native")
def addresses_of_the_loopback_interface_are_ours_too(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    wait_for_xdp(n2)
    n2.run("ip", "address", "add", "203.0.113.7/32", "dev", "lo")
    n1.run("ip", "route", "add", "203.0.113.7/32", "via", n2.underlay["v4"])

    def ends_at_xdp():
        before = worker_messages(n2), n2.drops()["rx_unknown_channel"]
        garbage(n1, n2, [b"\x04" + os.urandom(63)] * 50, "203.0.113.7")
        wait_for_drops(n2, "rx_unknown_channel", before[1] + 50)
        return worker_messages(n2) < before[0] + 50
    wait_for(ends_at_xdp, 20, "garbage to it ends at XDP")


# Initiations of the right size, from next door to the peers.
FLOOD = """
import os, socket, sys, time
flood = [b"\\x05" + os.urandom(231) for _ in range(64)]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
    stranger.connect((sys.argv[1], 51900))
    print("ready", flush=True)
    sent, begin = 0, time.monotonic()
    while True:
        for n in range(int((time.monotonic() - begin) * 20000) - sent):
            sent += 1
            try:
                stranger.send(flood[sent % 64])
            except ConnectionRefusedError:  # nobody listens just now
                pass
        time.sleep(0.001)
"""


@scenario(topology="star", arguments=("3",), xdp="native")
def a_flood_of_initiations_keeps_no_peer_out(lab):
    n1, n2, n3 = lab.nodes
    connect(n2, n1)
    wait_for_xdp(n1)
    before = n1.drops()["rx_control_rate"]
    stranger = n3.popen("/usr/bin/python3", "-c", FLOOD, n1.underlay["v4"], stdout=-1, text=True)
    try:
        check_equal(stranger.stdout.readline(), "ready\n", "the flood")
        wait_for_drops(n1, "rx_control_rate", before + 5000)
        os.kill(n1.pid("dataplane"), signal.SIGKILL)
        n1.wait_ready()
        begin = time.monotonic()
        ping(n2, n1.vip4, attempts=6)
        print(f"    back after {time.monotonic() - begin:.1f} s", flush=True)
        check(n1.drops()["rx_control_rate"] > 0, "while strangers were beyond their rate")
    finally:
        stranger.kill()
        stranger.wait()


@scenario(topology="pair", xdp="generic")
def behind_the_driver_by_choice(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    check("generic" in wait_for_xdp(n2), "the mode")
    before = n2.drops()["rx_unknown_channel"]
    garbage(n1, n2, [b"\x04" + os.urandom(63)] * 100)
    wait_for_drops(n2, "rx_unknown_channel", before + 100)
    # What is at TC sees frames as they are.
    opened = n2.workers_counters()
    ping(n1, n2.vip4, count=20)
    check(n2.workers_counters()["kernel_rx"] >= opened["kernel_rx"] + 20, "opened at TC")
    check_equal(n2.workers_counters()["kernel_rx_slow"], opened["kernel_rx_slow"], "opened on request")


@scenario(topology="pair")
def not_by_itself_where_it_costs_offloads(lab):
    for node in lab.nodes:
        check(program_on(node) is None, f"XDP on the veth of {node.name}")
        check_equal(node.status()["dataplane"]["path"], "socket", "the path")


@scenario(topology="pair", xdp="native", supervised=False)
def a_crash_leaves_nothing_behind(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    check(program_on(n1) is not None, "the program")
    os.kill(n1.pid("dataplane"), signal.SIGKILL)
    wait_for(lambda: program_on(n1) is None, 10, "nothing attached")
    n1.start_dataplane(supervised=False)
    n1.wait_ready()
    wait_for_xdp(n1)
    ping(n1, n2.vip4, attempts=5)


@scenario(topology="pair", xdp="native")
def interfaces_come_and_go(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    ip_batch([f"link add eth1 netns {n1.namespace} type veth peer name eth1 "
              f"netns {n2.namespace}"])
    for node in lab.nodes:
        ip_batch([f"address add 198.51.100.{node.number}/24 dev eth1", "link set eth1 up"],
                 node.namespace)
    wait_for_xdp(n2, "eth1")
    before = n2.drops()["rx_unknown_channel"]
    with socket_in(n1.namespace, socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"\x04" + os.urandom(63), ("198.51.100.2", PORT))
    wait_for_drops(n2, "rx_unknown_channel", before + 1)
    n1.run("ip", "link", "delete", "eth1")
    wait_for(lambda: feature(n2, "xdp:eth1") is None, 20, "eth1 is forgotten")
    ping(n1, n2.vip4, count=5)


@scenario(topology="pair", xdp="native", in_kernel="on", start=False)
def small_packets_are_opened_at_tc_by_choice(lab):
    n1, n2 = lab.nodes
    n2.dataplane_options += ["--in-kernel-hook", "tc"]
    lab.start(Options())
    connect(n1, n2)
    wait_for(lambda: "at XDP on eth0" in feature(n1, "in_kernel")["reason"], 20, "XDP on n1")
    reason = feature(n2, "in_kernel")["reason"]
    check("opened at TC: by choice" in reason, f"the reason on n2: {reason}")
    wait_for_xdp(n2)
    before = [node.workers_counters() for node in lab.nodes]
    ping(n1, n2.vip4, count=50)
    moved = [{name: after[name] - a[name] for name in after}
             for a, after in zip(before, (node.workers_counters() for node in lab.nodes))]
    check(moved[0]["kernel_rx_xdp"] >= 40, f"opened at XDP on n1: {moved[0]['kernel_rx_xdp']}")
    check_equal(moved[1]["kernel_rx_xdp"], 0, "opened at XDP on n2")
    check(moved[1]["kernel_rx"] >= 40, f"opened at TC on n2: {moved[1]['kernel_rx']}")


@scenario(topology="pair", xdp="native", start=False)
def what_others_attached_stays(lab):
    n1, n2 = lab.nodes
    object_file = f"{build_directory()}/generated/bpf/steer.bpf.o"
    n2.run("ip", "link", "set", "dev", "eth0", "xdpdrv", "object", object_file, "section",
           "xdp.frags")
    theirs = program_on(n2)["prog"]["id"]
    lab.start(Options())
    connect(n1, n2)
    reason = wait_for_xdp(n2, active=False)
    check(f"id {theirs}" in reason, f"the reason names the program: {reason}")
    check_equal(program_on(n2)["prog"]["id"], theirs, "the program")
    # Once they have left, we come.
    n2.run("ip", "link", "set", "dev", "eth0", "xdpdrv", "off")
    wait_for_xdp(n2)
    ping(n1, n2.vip4, count=5)


run(garbage_ends_at_xdp, addresses_of_the_loopback_interface_are_ours_too,
    a_flood_of_initiations_keeps_no_peer_out, behind_the_driver_by_choice,
    not_by_itself_where_it_costs_offloads,
    a_crash_leaves_nothing_behind, interfaces_come_and_go,
    small_packets_are_opened_at_tc_by_choice, what_others_attached_stays)
