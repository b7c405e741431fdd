# SPDX-License-Identifier: Apache-2.0
"""Small packets are sealed and opened inside the kernel, and user space sleeps.

    n1 omni0 -- TC egress: seal --> eth0 ---- eth0 -- TC ingress: open --> omni0 n2

With --xdp native they are opened at XDP, and TC ingress takes them on.
"""
import json
import os
import re

from story import (check, check_equal, connect, ping, run, scenario, session_ids, steady_ping,
                   wait_for, wait_for_drops, xdp_is_native)
from omnilab import measure
from omnilab.sockets import Capture, Forger, parse_udp

DATA, CONTROL_INDEX = 4, 0x40
PORT = 51900

# Sends each message of a list of sizes and waits for its echo.
CLIENT = """
import socket, sys
kind, address, sizes = sys.argv[1], sys.argv[2], [int(n) for n in sys.argv[3:]]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, getattr(socket, kind)) as s:
    s.settimeout(10)
    s.connect((address, 7007))
    if kind == "SOCK_STREAM":
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for number in range(200):
        for size in sizes:
            message = bytes([number & 255]) * size
            s.send(message)
            got = b""
            while len(got) < size:
                got += s.recv(65535)
            assert got == message, (size, number)
print("ok")
"""
SERVER = """
import socket, sys
kind, address = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, getattr(socket, kind)) as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, 7007))
    if kind == "SOCK_STREAM":
        s.listen()
        print("ready", flush=True)
        s = s.accept()[0]
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := s.recv(65535):
            s.sendall(data)
    print("ready", flush=True)
    while kind == "SOCK_DGRAM":
        data, peer = s.recvfrom(65535)
        s.sendto(data, peer)
"""
# One flow, sizes in disorder around the threshold: a receiver that counts what comes late.
MIXED_SEND = """
import random, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
s.connect((sys.argv[1], 7008))
random.seed(1)
for number in range(20000):
    size = random.choice((20, 60, 200, 400, 800, 1300))
    s.send(number.to_bytes(8, "big") + bytes(size))
    if number % 16 == 15:
        time.sleep(random.choice((0, 0.0003, 0.003, 0.012)))
    if number % 1000 == 999:  # longer than a flow stays with user space
        time.sleep(0.15)
try:
    for _ in range(10):
        time.sleep(0.02)
        s.send(b"end")
except ConnectionRefusedError:  # it has heard one, and ended
    pass
"""
RECEIVE = """
import socket, sys, json
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)
s.bind((sys.argv[1], 7008))
print("ready", flush=True)
late = received = 0
newest = -1
while len(data := s.recv(65535)) != 3:
    number = int.from_bytes(data[:8], "big")
    late += number < newest
    newest = max(newest, number)
    received += 1
print(json.dumps({"late": late, "received": received}))
"""
# Bursts of small datagrams.
BURST = """
import socket, sys, time
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 7008))
first, count = int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count):
    s.send(number.to_bytes(8, "big") + bytes(92))
    if number % 64 == 63:
        time.sleep(0.004)
if count == 0:
    s.send(b"end")
"""
PYTHON = ("/usr/bin/python3", "-c")


def in_kernel(node):
    return next(f for f in node.status()["dataplane"]["features"] if f["name"] == "in_kernel")


def connect_in_kernel(n1, n2):
    """A session, and the kernel knows the peers' paths: it follows them ten times a second."""
    connect(n1, n2)
    for node in (n1, n2):
        check(in_kernel(node)["active"], f"{node.name}: {in_kernel(node)}")
        if xdp_is_native():
            wait_for(lambda n=node: "at XDP on eth0" in in_kernel(n)["reason"], 10,
                     f"{node.name} opens at XDP")
        else:
            check("opened at TC" in in_kernel(node)["reason"], f"{node.name}: {in_kernel(node)}")

    def both_ways():
        before = [node.workers_counters() for node in (n1, n2)]
        ping(n1, n2.vip4)
        ping(n1, n2.vip6)
        after = [node.workers_counters() for node in (n1, n2)]
        return all(b["kernel_tx"] >= a["kernel_tx"] + 2 and b["kernel_rx"] >= a["kernel_rx"] + 2
                   for a, b in zip(before, after))
    wait_for(both_ways, 10, "packets stay inside the kernel")


def echo(n1, n2, kind, address, *sizes):
    server = n2.popen(*PYTHON, SERVER, kind, address, stdout=-1, text=True)
    try:
        server.stdout.readline()
        done = n1.run(*PYTHON, CLIENT, kind, address, *map(str, sizes))
        check_equal(done.stdout.strip(), "ok", f"{kind} to {address}: {done.stderr}")
    finally:
        server.kill()
        server.wait()


def tcp_counters(node):
    """What the machine's TCP sent twice, and what came to it out of order."""
    found = {}
    for file, group in (("snmp", "Tcp:"), ("netstat", "TcpExt:")):
        lines = node.run("cat", f"/proc/net/{file}").stdout.splitlines()
        names, values = (line.split() for line in lines if line.startswith(group))
        found.update(zip(names, values))
    return {name: int(found[name])
            for name in ("RetransSegs", "TCPOFOQueue", "TCPLossProbes")}


@scenario(topology="pair", in_kernel="on")
def user_space_sleeps(lab):
    n1, n2 = lab.nodes
    connect_in_kernel(n1, n2)
    before = [node.workers_counters() for node in lab.nodes]
    for vip in (n2.vip4, n2.vip6):
        for size in (0, 1, 16, 56, 200, 400):
            ping(n1, vip, "-s", str(size), count=50)
        echo(n1, n2, "SOCK_DGRAM", vip, 1, 2, 17, 64, 300, 400)
    after = [node.workers_counters() for node in lab.nodes]
    for node, a, b in zip(lab.nodes, before, after):
        moved = {name: b[name] - a[name] for name in a if b[name] != a[name]}
        print(f"    {node.name}: {moved}", flush=True)
        check(moved["kernel_tx"] >= 3000 and moved["kernel_rx"] >= 3000, "they stayed in the kernel")
        check_equal(moved.get("kernel_rx_xdp", 0), moved["kernel_rx"] if xdp_is_native() else 0,
                    "packets opened at XDP")
        # The host itself has something to say now and then: router solicitations, group reports.
        check(moved.get("wakeups", 0) <= moved.get("kernel_tx_other", 0), "nobody else was woken")
    rx, tx = int(n1.peers()["n2"]["rx_packets"]), int(n1.peers()["n2"]["tx_packets"])
    check(rx >= 3000 and tx >= 3000, f"the peer's counters have them: {rx}, {tx}")


@scenario(topology="pair", in_kernel="on")
def tcp_keeps_its_order(lab):
    n1, n2 = lab.nodes
    connect_in_kernel(n1, n2)
    before = [tcp_counters(node) for node in lab.nodes]
    for vip in (n2.vip4, n2.vip6):
        echo(n1, n2, "SOCK_STREAM", vip, 1, 64, 400)
        echo(n1, n2, "SOCK_STREAM", vip, 10, 3000, 100, 40000, 64)
    check(measure.move_file(n2, n1, n2.vip4, megabytes=16), "a file arrives whole")
    after = [tcp_counters(node) for node in lab.nodes]
    for node, a, b in zip(lab.nodes, before, after):
        moved = {name: b[name] - a[name] for name in b}
        print(f"    {node.name}: {moved}", flush=True)
        check_equal(moved["TCPOFOQueue"], 0, f"segments that came out of order to {node.name}")
        # A busy machine answers late, and TCP asks with its last segment (tail loss probe).
        check(moved["RetransSegs"] <= moved["TCPLossProbes"], "nothing was sent twice but probes")


@scenario(topology="pair", in_kernel="on")
def a_flow_of_mixed_sizes_keeps_its_order(lab):
    n1, n2 = lab.nodes
    connect_in_kernel(n1, n2)
    receiver = n2.popen(*PYTHON, RECEIVE, n2.vip4, stdout=-1, text=True)
    try:
        receiver.stdout.readline()
        before = n1.workers_counters()
        n1.run(*PYTHON, MIXED_SEND, n2.vip4)
        result = json.loads(receiver.communicate(timeout=30)[0])
    finally:
        receiver.kill()
        receiver.wait()
    after = n1.workers_counters()
    moved = {name: after[name] - before[name] for name in after if name.startswith("kernel_tx")}
    print(f"    {result}, {moved}", flush=True)
    check_equal(result["late"], 0, "datagrams that came behind a later one")
    check(moved["kernel_tx"] > 0 and moved["kernel_tx_kept"] > 0, "both ways were taken")


@scenario(topology="pair", in_kernel="on")
def a_peer_that_moves_is_followed(lab):
    n1, n2 = lab.nodes
    connect_in_kernel(n1, n2)
    sessions = session_ids(n2)
    with steady_ping(n1, n2.vip4) as pinger:
        pinger.wait_for_more(20)
        n1.run("ip", "-4", "address", "flush", "dev", "eth0")
        n1.run("ip", "address", "add", "192.0.2.51/24", "dev", "eth0")
        pinger.wait_for_more(50)
    check(pinger.longest_gap() < 2, f"traffic stood still for {pinger.longest_gap():.2f} s")
    check_equal(n2.peers()["n1"]["endpoint"], "192.0.2.51:51900", "where n2 sees n1")
    check_equal(session_ids(n2), sessions, "the sessions")
    connect_in_kernel(n1, n2)


@scenario(topology="pair", in_kernel="on", session={"rekey_after_s": 5, "reject_after_s": 15})
def a_rekey_loses_nothing(lab):
    n1, n2 = lab.nodes
    connect_in_kernel(n1, n2)
    before = session_ids(n1)
    with steady_ping(n1, n2.vip4, interval=0.005) as pinger:
        wait_for(lambda: not before & session_ids(n1), 30, "the first session is gone")
        pinger.wait_for_more(50)
    check_equal(pinger.lost(), [], "pings without an answer")
    for node in lab.nodes:
        drops = {reason: n for reason, n in node.drops().items()
                 if n and reason in ("rx_unknown_channel", "rx_bad_tag", "rx_replayed",
                                     "rx_session_expired")}
        check_equal(drops, {}, f"drops on {node.name}")


def record_control(n1, n2):
    """A datagram of n2's control channel."""
    def wanted(packet):
        d = parse_udp(packet)
        return (d is not None and d.payload[:2] == bytes((DATA, CONTROL_INDEX))
                and d.target == n2.underlay["v4"])
    # Where it leaves: where it arrives XDP may have opened it before a capture sees it.
    with Capture(n1) as wire:
        ping(n1, n2.vip4)
        return parse_udp(wire.until(wanted, what="session data of a control channel"))


@scenario(topology="pair", in_kernel="on")
def recorded_packets_are_worth_nothing(lab):
    n1, n2 = lab.nodes
    connect_in_kernel(n1, n2)
    data = record_control(n1, n2)

    def replay(payload, reason, source=data.source):
        before = n2.drops()[reason]
        with Forger(n1) as forger:
            for _ in range(5):
                forger.send(source, PORT, data.target, PORT, payload)
        wait_for_drops(n2, reason, before + 5)

    before = n2.workers_counters()["wakeups"]
    replay(data.payload, "rx_replayed")
    replay(data.payload, "rx_replayed", source="192.0.2.99")
    for position in (9, 16, 32, len(data.payload) - 1):
        flipped = bytearray(data.payload)
        flipped[position] ^= 1
        replay(bytes(flipped), "rx_bad_tag")
    check_equal(n2.workers_counters()["wakeups"], before, "wake-ups of n2's workers")
    unknown = bytearray(data.payload)
    unknown[5] ^= 1
    replay(bytes(unknown), "rx_unknown_channel")
    check_equal(n2.peers()["n1"]["endpoint"], "192.0.2.1:51900", "the endpoint did not move")
    ping(n1, n2.vip4, count=20)
    n1.run("ip", "address", "add", "10.77.0.99/32", "dev", "omni0")
    n1.run("ping", "-n", "-c", "5", "-i", "0.01", "-W", "0.1", "-I", "10.77.0.99", n2.vip4,
           check=False)
    wait_for_drops(n2, "rx_inner_source", 5)


def take_program_away(node):
    """Ends the link of the program at TC ingress. The dataplane does not hear of it."""
    folder = f"/proc/{node.pid('dataplane')}/fdinfo"
    for number in os.listdir(folder):
        with open(f"{folder}/{number}", encoding="ascii") as file:
            text = file.read()
        if "(ingress)" in text:
            link = re.search(r"link_id:\s*(\d+)", text)[1]
            node.run("bpftool", "link", "detach", "id", link)
            # XDP opens nothing that nobody takes on.
            wait_for(lambda: "at XDP" not in in_kernel(node)["reason"], 10, "XDP leaves it alone")
            return
    raise AssertionError("no program at TC ingress")


def what_reaches_the_socket_is_opened_too(lab):
    n1, n2 = lab.nodes
    connect_in_kernel(n1, n2)
    take_program_away(n2)
    before = n2.workers_counters()
    receiver = n2.popen(*PYTHON, RECEIVE, n2.vip6, stdout=-1, text=True)
    sent = 2560
    try:
        receiver.stdout.readline()
        n1.run(*PYTHON, BURST, n2.vip6, "0", str(sent))
        n1.run(*PYTHON, BURST, n2.vip6, "0", "0")
        result = json.loads(receiver.communicate(timeout=30)[0])
    finally:
        receiver.kill()
        receiver.wait()
    ping(n1, n2.vip4, "-Q", "2", count=20)
    after = n2.workers_counters()
    check_equal(result, {"late": 0, "received": sent}, "what arrived")
    check(after["kernel_rx_slow"] >= before["kernel_rx_slow"] + sent + 20, "opened on request")
    check_equal(after["kernel_rx"], before["kernel_rx"], "what the program took off the wire")
    check_equal(n2.drops()["rx_unknown_channel"], 0, "datagrams that nobody could open")
    # It is looked for once a second, and comes back ten seconds later.
    wait_for(lambda: "was taken off" in in_kernel(n2)["reason"], 5, "status says so")
    wait_for(lambda: "was taken off" not in in_kernel(n2)["reason"], 30, "the program is back")
    before = n2.workers_counters()["kernel_rx"]
    ping(n1, n2.vip4, count=20)
    check(n2.workers_counters()["kernel_rx"] >= before + 20, "it opens again")


@scenario(topology="pair", in_kernel="on")
def over_ipv4_it_is_opened_too(lab):
    what_reaches_the_socket_is_opened_too(lab)
    n1, n2 = lab.nodes
    data = record_control(n1, n2)
    drops = n2.drops()
    with Forger(n1) as forger:
        forger.send(data.source, PORT, data.target, PORT, data.payload)
        forger.send(data.source, PORT, data.target, PORT, data.payload[:-1] + b"\0")
    wait_for_drops(n2, "rx_replayed", drops["rx_replayed"] + 1)
    wait_for_drops(n2, "rx_bad_tag", drops["rx_bad_tag"] + 1)


@scenario(topology="pair", in_kernel="on", underlay="v6")
def over_ipv6_it_is_opened_too(lab):
    what_reaches_the_socket_is_opened_too(lab)


@scenario(topology="pair", in_kernel="on")
def interfaces_are_followed(lab):
    n1, n2 = lab.nodes
    connect_in_kernel(n1, n2)
    n1.run("ip", "link", "add", "extra", "type", "veth", "peer", "name", "other")
    n1.run("ip", "address", "add", "198.51.100.1/24", "dev", "extra")
    n1.run("ip", "link", "set", "extra", "up")
    wait_for(lambda: "watching 2 interfaces" in n1.log("dataplane"), 10, "the new one is watched")
    n1.run("ip", "link", "delete", "extra")
    wait_for(lambda: "watching 1 interface\n" in n1.log("dataplane"), 10, "it is forgotten")
    n1.run("ip", "link", "set", "eth0", "down")
    n1.run("ip", "link", "set", "eth0", "up")
    connect_in_kernel(n1, n2)


@scenario(topology="pair", in_kernel="on")
def what_the_path_does_not_carry_is_left_to_user_space(lab):
    n1, n2 = lab.nodes
    for node in lab.nodes:
        node.omnictl("path", "set", "--in-kernel-threshold", "1200")
        node.run("ip", "link", "set", "eth0", "mtu", "1000")
    connect_in_kernel(n1, n2)
    wait_for(lambda: n1.peers()["n2"].get("path_mtu", 0) <= 1000, 30, "the path's MTU is known")
    done = n1.run("ping", "-n", "-c", "20", "-i", "0.1", "-s", "1100", n2.vip4, check=False)
    received = int(re.search(r"(\d+) received", done.stdout)[1])
    check(received >= 15, f"{received} of 20 large echoes were answered")


@scenario(topology="pair", in_kernel="on")
def nothing_is_left_behind(lab):
    n1, n2 = lab.nodes
    connect_in_kernel(n1, n2)
    n1.stop("dataplane")
    check_equal(n1.run("tc", "qdisc", "show", "dev", "eth0", "clsact").stdout, "", "qdiscs")
    left = n1.run("bpftool", "-j", "net", "show", check=False).stdout
    check("omni_open" not in left, f"programs on interfaces: {left}")


@scenario(topology="pair", in_kernel={"n1": "on", "n2": "off"})
def one_side_is_enough_to_do_without(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    check(not in_kernel(n2)["active"], "off on n2")
    check_equal(in_kernel(n2)["reason"], "switched off at the start", "the reason")
    ping(n1, n2.vip4, count=50)
    ping(n2, n1.vip6, count=50)
    check_equal(n1.workers_counters()["kernel_tx"], 0, "n2 offered no channel, n1 uses none")


run(user_space_sleeps, tcp_keeps_its_order, a_flow_of_mixed_sizes_keeps_its_order,
    a_peer_that_moves_is_followed, a_rekey_loses_nothing, recorded_packets_are_worth_nothing,
    over_ipv4_it_is_opened_too, over_ipv6_it_is_opened_too, interfaces_are_followed,
    what_the_path_does_not_carry_is_left_to_user_space, nothing_is_left_behind,
    one_side_is_enough_to_do_without)
