# SPDX-License-Identifier: Apache-2.0
"""What the path carries is found, and everything fits through, whatever it carries.

    n1 omni0  eth0 ---- r ---- eth0  omni0 n2
                        cables of 1,280, 1,500 or 9,000 bytes; the router may become narrow,
                        and silent about it
"""
import hashlib
import json
import re
import select
import socket
import threading

from story import check, check_equal, connect, ping, run, scenario, wait_for
from omnilab import measure, routed
from omnilab.sockets import socket_in

OVERHEAD = {"v4": 60, "v6": 80}
SEARCH_TIMEOUT_S = 60


def path_mtu(node, peer):
    entry = node.peers()[peer.name]
    return entry["path_mtu"], entry["path_mtu_state"]


def wait_for_mtu(node, peer, low, high=None):
    """Until the search has ended, with a size from `low` to `high`; there is traffic meanwhile."""
    found = []

    def ended():
        node.run("ping", "-n", "-c", "1", "-W", "0.2", "-s", "1200", peer.vip4, check=False)
        found[:] = path_mtu(node, peer)
        return found[1] == "PATH_MTU_STATE_COMPLETE" and low <= found[0] <= (high or low)
    try:
        wait_for(ended, SEARCH_TIMEOUT_S, f"{node.name}: path MTU {low}")
    except Exception as error:
        raise AssertionError(f"{error}; it is {found}") from None


def device_mtu(node, device="omni0"):
    return json.loads(node.run("ip", "-j", "link", "show", device).stdout)[0]["mtu"]


def udp_message(sender, receiver, address, size):
    """One UDP message, cut by the sender's IP if need be, arrives as it was sent. Over IPv6, where
    only the sender may cut, the first one may be what tells it the size."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    content = hashlib.shake_128(str(size).encode()).digest(size)
    with socket_in(receiver.namespace, family, socket.SOCK_DGRAM) as inbox, \
            socket_in(sender.namespace, family, socket.SOCK_DGRAM) as outbox:
        inbox.bind((address, 7000))
        inbox.settimeout(5)
        # IP_MTU_DISCOVER, IP_PMTUDISC_DONT: without DF.
        if family == socket.AF_INET:
            outbox.setsockopt(socket.IPPROTO_IP, 10, 0)
        for last in (False, True) if family == socket.AF_INET6 else (True,):
            outbox.sendto(content, (address, 7000))
            if last or select.select([inbox], [], [], 0.5)[0]:
                break
        check_equal(inbox.recv(65536), content, f"UDP message of {size} bytes to {address}")


def refused_ping(node, address, payload):
    """The size that a ping with DF names which is too large; the first one may only cause the
    message."""
    for _ in range(2):
        done = node.run("ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", str(payload), address,
                        check=False)
    said = re.search(r"mtu ?[:=] ?(\d+)", done.stdout + done.stderr, re.I)
    return said and int(said[1])


def everything_fits(lab, family, underlay_mtu):
    n1, n2 = lab.nodes
    inner = underlay_mtu - OVERHEAD[family]
    # Before anything is known of the path, and while it is searched.
    ping(n1, n2.vip4, "-s", "1200", attempts=2)
    ping(n1, n2.vip6, "-s", str(1280 - 48))
    udp_message(n1, n2, n2.vip4, 8000)
    measure.move_file(n1, n2, n1.vip4, megabytes=1)
    for a, b in ((n1, n2), (n2, n1)):
        wait_for_mtu(a, b, underlay_mtu)
        check_equal(a.peers()[b.name]["inner_mtu"], inner, "inner MTU")
    # And after.
    for a, b in ((n1, n2), (n2, n1)):
        measure.move_file(a, b, a.vip4, megabytes=1)
        measure.move_file(a, b, a.vip6, megabytes=1)
        ping(a, b.vip4, "-M", "do", "-s", str(inner - 28))
        ping(a, b.vip6, "-M", "do", "-s", str(max(inner, 1280) - 48))
        for size in (inner - 27, 20_000, 65_507):
            udp_message(a, b, b.vip4, size)
            udp_message(a, b, b.vip6, min(size, 65_000))
    check(refused_ping(n1, n2.vip4, inner - 27), "a ping that is too large is told")


@scenario(topology="routed", arguments=("1280",))
def over_1280_bytes_of_ipv4(lab):
    everything_fits(lab, "v4", 1280)


@scenario(topology="routed", arguments=("1280",), underlay="v6")
def over_1280_bytes_of_ipv6(lab):
    everything_fits(lab, "v6", 1280)


@scenario(topology="routed")
def over_ethernet_and_ipv4(lab):
    everything_fits(lab, "v4", 1500)
    check_equal(device_mtu(lab.nodes[0]), 1440, "MTU of omni0")


@scenario(topology="routed", underlay="v6")
def over_ethernet_and_ipv6(lab):
    everything_fits(lab, "v6", 1500)


@scenario(topology="routed", arguments=("9000",))
def over_jumbo_frames_and_ipv4(lab):
    everything_fits(lab, "v4", 9000)
    check_equal(device_mtu(lab.nodes[0]), 8940, "MTU of omni0")


@scenario(topology="routed", arguments=("9000",), underlay="v6")
def over_jumbo_frames_and_ipv6(lab):
    everything_fits(lab, "v6", 9000)


@scenario(topology="routed")
def a_narrow_link_on_the_way_is_told_to_senders(lab):
    routed.narrow(lab, 1400)
    n1, n2 = lab.nodes
    connect(n1, n2)
    wait_for_mtu(n1, n2, 1400)
    inner = 1400 - OVERHEAD["v4"]
    # The strictest hosts believe it, too.
    n1.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.omni0.rp_filter=1")
    for address, headers in ((n2.vip4, 28), (n2.vip6, 48)):
        check_equal(refused_ping(n1, address, inner - headers + 1), inner,
                    f"the size that the message of {address} names")
    check(n1.drops()["tx_too_big"] >= 2, "counted")
    # A socket that wants to know: the message's source is one that the host believes.
    with socket_in(n1.namespace, socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        asking.connect((n2.vip4, 7000))
        check_equal(asking.getsockopt(socket.IPPROTO_IP, 14), inner, "IP_MTU of a socket")
    measure.move_file(n1, n2, n1.vip4, megabytes=4)


class Transfer:
    """A TCP stream from n1 to n2 that never ends by itself."""

    def __init__(self, n1, n2):
        self.received = 0
        self.running = True
        server = socket_in(n2.namespace, socket.AF_INET, socket.SOCK_STREAM)
        server.bind((n2.vip4, 7001))
        server.listen()
        self.client = socket_in(n1.namespace, socket.AF_INET, socket.SOCK_STREAM)
        self.client.connect((n2.vip4, 7001))
        self.peer = server.accept()[0]
        server.close()
        self.threads = [threading.Thread(target=t) for t in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()

    def _send(self):
        content = bytes(64 << 10)
        # A slow stream is enough to notice: a full link would only keep the machine busy.
        pause = threading.Event()
        while self.running:
            try:
                self.client.sendall(content)
            except OSError:
                return
            pause.wait(0.01)

    def _receive(self):
        while data := self.peer.recv(1 << 20):
            self.received += len(data)

    def wait_for_more(self, size, timeout):
        goal = self.received + size
        wait_for(lambda: self.received >= goal, timeout, f"{size} more bytes of a TCP stream")

    def end(self):
        self.running = False
        self.peer.shutdown(socket.SHUT_RDWR)
        self.client.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.client.close()
        self.peer.close()


@scenario(topology="routed")
def a_black_hole_is_found_under_traffic_and_left_again(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    wait_for_mtu(n1, n2, 1500)
    transfer = Transfer(n1, n2)
    try:
        transfer.wait_for_more(1 << 20, 20)
        routed.silence(lab)
        routed.narrow(lab, 1300)
        # What is in flight may still arrive: the stream must go on beyond that.
        transfer.wait_for_more(8 << 20, 40)
        wait_for_mtu(n1, n2, 1293, 1300)
        transfer.wait_for_more(1 << 20, 20)
        routed.narrow(lab, 1500)
        wait_for_mtu(n1, n2, 1500)
        transfer.wait_for_more(1 << 20, 20)
    finally:
        transfer.end()


@scenario(topology="routed")
def the_local_interface_changes(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    wait_for_mtu(n1, n2, 1500)
    n1.run("ip", "link", "set", "eth0", "mtu", "1400")
    wait_for(lambda: device_mtu(n1) == 1340, 10, "the TUN's MTU follows")
    wait_for_mtu(n1, n2, 1400)
    n1.run("ip", "link", "set", "eth0", "mtu", "1500")
    wait_for(lambda: device_mtu(n1) == 1440, 10, "the TUN's MTU follows")
    wait_for_mtu(n1, n2, 1500)


run(over_1280_bytes_of_ipv4, over_1280_bytes_of_ipv6, over_ethernet_and_ipv4, over_ethernet_and_ipv6,
    over_jumbo_frames_and_ipv4, over_jumbo_frames_and_ipv6,
    a_narrow_link_on_the_way_is_told_to_senders, a_black_hole_is_found_under_traffic_and_left_again,
    the_local_interface_changes)
