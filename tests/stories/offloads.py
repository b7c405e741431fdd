# SPDX-License-Identifier: Apache-2.0
"""Each offload of the kernel on, switched off, refused from the start and refused at run time: the
traffic is the same, byte for byte, and status and metrics say what is.

    n1 omni0 ==== eth0 ---- eth0 ==== omni0 n2
        |  a preloaded library plays a kernel that refuses
"""
import os
import re
import socket
import struct
import threading

from story import build_directory, check, check_equal, connect, run, scenario, wait_for
from omnilab.sockets import socket_in

OFFLOADS = ("udp_gso", "udp_gro", "tun_tso", "tun_uso", "tun_tcp_coalescing", "tun_udp_coalescing")
# Those that the kernel can refuse later than at start.
REFUSED_LATER = {"udp_gso": "Input/output error", "tun_tcp_coalescing": "Invalid argument",
                 "tun_udp_coalescing": "Invalid argument"}
SOL_UDP, UDP_SEGMENT = 17, 103
TCP_BYTES = 4 << 20
TRAINS, TRAIN_SEGMENTS, SEGMENT = 20, 20, 1000
TIMEOUT_S = 20


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def carry_tcp(sender, receiver, address):
    """Random bytes over one TCP connection arrive as they were sent."""
    content = os.urandom(TCP_BYTES)
    family = family_of(address)
    with socket_in(receiver.namespace, family, socket.SOCK_STREAM) as server, \
            socket_in(sender.namespace, family, socket.SOCK_STREAM) as client:
        server.settimeout(TIMEOUT_S)
        client.settimeout(TIMEOUT_S)
        server.bind((address, 0))
        server.listen(1)
        client.connect(server.getsockname()[:2])
        connection, _ = server.accept()
        connection.settimeout(TIMEOUT_S)

        def send():
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)
        sending = threading.Thread(target=send)
        sending.start()
        got = bytearray()
        with connection:
            while piece := connection.recv(1 << 20):
                got += piece
        sending.join()
    check(bytes(got) == content, f"TCP {sender.name} to {address}: {len(got)} of {len(content)} "
          "bytes, or not the same")


def carry_udp(sender, receiver, address):
    """Trains of datagrams arrive as they were sent, each datagram whole and in order."""
    family = family_of(address)
    size = struct.pack("=H", SEGMENT)
    with socket_in(receiver.namespace, family, socket.SOCK_DGRAM) as to, \
            socket_in(sender.namespace, family, socket.SOCK_DGRAM) as out:
        to.settimeout(TIMEOUT_S)
        to.bind((address, 0))
        for _ in range(TRAINS):  # one at a time: what is lost is lost by us
            content = os.urandom(TRAIN_SEGMENTS * SEGMENT + 77)
            out.sendmsg([content], [(SOL_UDP, UDP_SEGMENT, size)], 0, to.getsockname()[:2])
            for at in range(0, len(content), SEGMENT):
                check(to.recv(65536) == content[at:at + SEGMENT],
                      f"UDP {sender.name} to {address}: a datagram changed")


def carry_all(n1, n2):
    """Everything both ways; nothing may be dropped as refused."""
    for sender, receiver in ((n1, n2), (n2, n1)):
        for address in (receiver.vip4, receiver.vip6):
            carry_tcp(sender, receiver, address)
            carry_udp(sender, receiver, address)
    for node in (n1, n2):
        drops = node.drops()
        for reason in ("rx_tun_error", "tx_socket_error", "tx_super_packet", "tx_inner_malformed"):
            check_equal(drops[reason], 0, f"{node.name}: {reason}")


def feature(node, name):
    return next(f for f in node.status()["dataplane"]["features"] if f["name"] == name)


def metric(node, name, offload):
    text = node.run("/usr/bin/python3", "-c", "import urllib.request as u; print(u.urlopen("
                    "'http://127.0.0.1:9477/metrics').read().decode())").stdout
    return float(re.search(rf'^{name}{{feature="{offload}"}} (\S+)$', text, re.M).group(1))


def check_state(node, offload, active, reason):
    """The same in status, for people and for programs, and in the metrics."""
    shown = feature(node, offload)
    check_equal(shown["active"], active, f"{offload} is on ({shown['reason']})")
    check(reason in shown["reason"], f"{offload}: {shown['reason']!r} does not say {reason!r}")
    check_equal(metric(node, "omni_dataplane_feature_active", offload), float(active), offload)
    line = next(text for text in node.omnictl("status").stdout.splitlines() if offload in text)
    check(("on (" if active else "off (") + shown["reason"][:20] in line, f"status: {line}")


class Refusals:
    """What the kernel of a node refuses."""

    def __init__(self, node):
        self.directory = f"{node.directory}/refuse"
        os.mkdir(self.directory, 0o755)
        library = f"{build_directory()}/tests/refuse_offloads.so"
        check(os.path.exists(library), f"{library}: missing; build target refuse_offloads")
        node.dataplane_environment = {"LD_PRELOAD": library, "OMNI_REFUSE": self.directory}

    def begin(self, offload):
        with open(f"{self.directory}/{offload}", "wb"):
            pass

    def end(self, offload):
        os.unlink(f"{self.directory}/{offload}")


def start(lab):
    for node in lab.nodes:
        node.start_dataplane()
        node.start_controller()
    for node in lab.nodes:
        node.wait_ready()


def restart_dataplane(node, *options):
    """The same dataplane with other options, once its controller drives it."""
    before = node.pid("dataplane")
    node.stop("dataplane")
    node.dataplane_options = list(options)
    node.start_dataplane()
    wait_for(lambda: node.status()["dataplane"]["connected"]
             and node.status()["dataplane"]["pid"] not in (0, before), 30,
             f"{node.name}: a new dataplane")


@scenario(topology="pair")
def all_are_on(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    for offload in OFFLOADS:
        check_state(n1, offload, True, "self-test passed")
    carry_all(n1, n2)
    for offload in OFFLOADS:
        check_equal(feature(n1, offload)["refusals"], "0", f"refusals of {offload}")


def off_and_failing(offload):
    @scenario(topology="pair", start=False)
    def story(lab):
        n1, n2 = lab.nodes
        refusals = Refusals(n1)
        flag = offload.replace("_", "-")

        refusals.begin(offload)
        n1.dataplane_options = ["--disable-offload", flag]
        start(lab)
        connect(n1, n2)
        check_state(n1, offload, False, "switched off")
        carry_all(n1, n2)
        check_equal(feature(n1, offload)["refusals"], "0", "what is switched off is not tried")

        restart_dataplane(n1)
        check_state(n1, offload, False, "failed: ")
        connect(n1, n2)
        carry_all(n1, n2)

        refusals.end(offload)
        restart_dataplane(n1)
        check_state(n1, offload, True, "self-test passed")
        connect(n1, n2)
        if offload in REFUSED_LATER:
            refused_later(n1, n2, offload, refusals)
        carry_all(n1, n2)

    story.__name__ = offload
    return story


def refused_later(n1, n2, offload, refusals):
    refusals.begin(offload)
    carry_all(n1, n2)
    check_state(n1, offload, False, REFUSED_LATER[offload])
    count = int(feature(n1, offload)["refusals"])
    check(count >= 3, f"{count} refusals")
    check(metric(n1, "omni_dataplane_feature_refusals_total", offload) >= count, "the metric")
    check(count < 200, f"{count} refusals: it is tried again and again")
    refusals.end(offload)

    def tried_again():
        carry_all(n1, n2)
        return feature(n1, offload)["active"]
    wait_for(tried_again, 60, f"{offload} is used again")


run(all_are_on, *map(off_and_failing, OFFLOADS))
