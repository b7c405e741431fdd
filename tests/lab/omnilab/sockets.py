# SPDX-License-Identifier: Apache-2.0
"""Sockets of this process inside a node's namespace: to see what is on the wire, and to put there
what no honest node would send."""
import contextlib
import ctypes
import os
import select
import socket
import struct
import time
from dataclasses import dataclass

from .errors import LabError

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def _set_namespace(handle):
    if LIBC.setns(handle, CLONE_NEWNET) != 0:
        raise LabError(f"setns: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def inside_namespace(name):
    """This thread is in the namespace for as long as the context lasts. Sockets stay where they were
    made."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        _set_namespace(there)
        yield
    finally:
        _set_namespace(home)
        os.close(there)
        os.close(home)


def socket_in(namespace, *arguments):
    with inside_namespace(namespace):
        return socket.socket(*arguments)


@dataclass
class Datagram:
    """One UDP datagram as it was on the wire."""
    source: str
    source_port: int
    target: str
    target_port: int
    tos: int
    payload: bytes


def parse_udp(packet):
    """A Datagram, None for anything else. IPv4 without fragments, IPv6 without extension headers."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 28 and packet[9] == socket.IPPROTO_UDP:
        start = (packet[0] & 15) * 4
        family, source, target, tos = socket.AF_INET, packet[12:16], packet[16:20], packet[1]
    elif version == 6 and len(packet) >= 48 and packet[6] == socket.IPPROTO_UDP:
        start = 40
        family, source, target = socket.AF_INET6, packet[8:24], packet[24:40]
        tos = (struct.unpack("!I", packet[:4])[0] >> 20) & 0xff
    else:
        return None
    source_port, target_port, length = struct.unpack_from("!HHH", packet, start)
    return Datagram(socket.inet_ntop(family, source), source_port,
                    socket.inet_ntop(family, target), target_port, tos,
                    packet[start + 8:start + length])


class Capture:
    """Reads the IP packets on one interface of a node, from the moment it is made."""

    def __init__(self, node, interface="eth0"):
        self.socket = socket_in(node.namespace, socket.AF_PACKET, socket.SOCK_DGRAM,
                                socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((interface, 3))
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def packets(self):
        """All that arrived until now."""
        while True:
            try:
                yield self.socket.recv(65535)
            except BlockingIOError:
                return

    def datagrams(self):
        return [datagram for datagram in map(parse_udp, self.packets()) if datagram]

    def until(self, wanted, timeout=10, what="a packet on the wire"):
        """The first packet (bytes) for which wanted(packet) is true."""
        deadline = time.monotonic() + timeout
        while True:
            for packet in self.packets():
                if wanted(packet):
                    return packet
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                raise LabError(f"{what}: not within {timeout:g} s")


class Forger:
    """Sends IPv4 UDP datagrams with any source from a node's namespace."""

    def __init__(self, node):
        self.socket = socket_in(node.namespace, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, source, source_port, target, target_port, payload):
        # The kernel fills in length, id and checksum of the IP header; UDP's may be zero on IPv4.
        udp = struct.pack("!HHHH", source_port, target_port, 8 + len(payload), 0)
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0,
                             socket.inet_aton(source), socket.inet_aton(target))
        self.socket.sendto(header + udp + payload, (target, 0))
