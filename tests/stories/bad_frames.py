# SPDX-License-Identifier: Apache-2.0
"""Whatever frame is on the wire: cut at each byte, in VLANs, with options, extension headers, fragments, lengths and
checksums that lie, and noise. What was seen before or is forged is counted as such, the rest is the kernel's; sessions
stay, and a ping beside it loses nothing.

    n1 eth0 ---- eth0 n2        frames are put on n1's end of the cable
"""
import random
import socket
import struct

from story import (by_the_kernel, check, check_equal, connect, ping, run, scenario, session_ids, steady_ping,
                   wait_for_drops)
from omnilab.sockets import parse_udp, socket_in

PORT, ETHERNET, IP, UDP = 51900, 14, 20, 8
DATA = 4
ALL_PROTOCOLS = 3


def checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def record(n1, n2):
    """A frame of session data from n1 to n2, as it was on the cable."""
    with by_the_kernel(n1), socket_in(n1.namespace, socket.AF_PACKET, socket.SOCK_RAW,
                                      socket.htons(ALL_PROTOCOLS)) as wire:
        wire.bind(("eth0", ALL_PROTOCOLS))
        wire.settimeout(10)
        ping(n1, n2.vip4, count=3)
        while True:
            frame = wire.recv(65535)
            datagram = parse_udp(frame[ETHERNET:])
            if (datagram is not None and datagram.payload[:1] == bytes([DATA])
                    and datagram.target == n2.underlay["v4"]):
                return frame


def v4(frame, options=b"", offset=0, total=None, udp_length=None, source=None, payload=None, sum_xor=0,
       udp_sum=0):
    """The frame with another IPv4 header, and a UDP header that fits the payload unless it is to lie."""
    ethernet, header, rest = frame[:ETHERNET], bytearray(frame[ETHERNET:ETHERNET + IP]), frame[ETHERNET + IP:]
    payload = rest[UDP:] if payload is None else payload
    udp = struct.pack("!HHHH", PORT, PORT, udp_length if udp_length is not None else UDP + len(payload), udp_sum)
    header[0] = 0x40 | (IP + len(options)) // 4
    struct.pack_into("!HHH", header, 2, total if total is not None else IP + len(options) + UDP + len(payload),
                     0x1234, offset)
    header[10:12] = bytes(2)
    if source:
        header[12:16] = socket.inet_aton(source)
    struct.pack_into("!H", header, 10, checksum(bytes(header) + options) ^ sum_xor)
    return ethernet + bytes(header) + options + udp + payload


def v6(frame, n1, n2, chain):
    """The same payload over IPv6, behind extension headers: (number, bytes) each, in order."""
    payload = frame[ETHERNET + IP + UDP:]
    kinds = [number for number, _ in chain] + [socket.IPPROTO_UDP]
    headers = b"".join(bytes([kinds[i + 1]]) + body for i, (_, body) in enumerate(chain))
    source, target = (socket.inet_pton(socket.AF_INET6, n.underlay["v6"]) for n in (n1, n2))
    length = UDP + len(payload)
    pseudo = source + target + struct.pack("!IHBB", length, 0, 0, socket.IPPROTO_UDP)
    udp = struct.pack("!HHHH", PORT, PORT, length, 0)
    total = checksum(pseudo + udp + payload + bytes(len(payload) % 2))
    udp = struct.pack("!HHHH", PORT, PORT, length, total or 0xffff)
    return (frame[:12] + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(headers) + length, kinds[0], 64)
            + source + target + headers + udp + payload)


# Hop-by-hop with padding, routing of type 4 with none left, destination options: 8 bytes each, without their first.
HOPS, ROUTING, TARGETS = (0, b"\0\1\4" + bytes(4)), (43, b"\0\4" + bytes(5)), (60, b"\0\1\4" + bytes(4))
FRAGMENTS = [(44, b"\0" + struct.pack("!HI", word, 7)) for word in (0x0001, 0x0008, 0x0009, 0xfff8)]


def seen_before(frame, n1, n2):
    """Frames whose datagram arrives whole, and is one that n2 has had."""
    return [frame, v4(frame, options=b"\1" * 4), v4(frame, options=b"\1" * 40),
            v4(frame, source=n1.underlay["v4"]), v4(frame) + bytes(20),
            v6(frame, n1, n2, []), v6(frame, n1, n2, [TARGETS]), v6(frame, n1, n2, [HOPS, TARGETS])]


def forged(frame):
    payload = frame[ETHERNET + IP + UDP:]
    flipped = [bytearray(payload) for _ in range(3)]
    flipped[0][12] ^= 1  # a counter that was never seen
    flipped[1][20] ^= 1  # the tag
    flipped[2][-1] ^= 1  # the ciphertext
    return [v4(frame, payload=bytes(p)) for p in flipped] + [v4(frame, payload=payload + bytes(1000))]


def lies(frame, n1, n2):
    """Frames that are no datagram for us, or only partly here, or that lie about themselves."""
    whole = len(frame) - ETHERNET
    out = [frame[:cut] for cut in range(ETHERNET, len(frame))]
    out += [frame[:12] + tags + frame[12:] for tags in (
        b"\x81\0\0\5", b"\x81\0\0\5\x81\0\0\6", b"\x88\xa8\0\5\x81\0\0\6", b"\x81\0\0\5" * 4)]
    out += [v4(frame, sum_xor=0x0101), v4(frame, udp_sum=0xdead), v4(frame, source="127.0.0.1"),
            v4(frame, source="255.255.255.255"), v4(frame, source=n2.underlay["v4"])]
    out += [v4(frame, offset=offset) for offset in (0x2000, 0x2001, 0x0001, 0x1fff, 0x3fff)]
    out += [v4(frame, total=total) for total in (0, IP, IP + UDP, whole - 1, whole + 1, 65535)]
    out += [v4(frame, udp_length=length) for length in (0, 7, UDP, UDP + 1, whole - IP + 1, 65535)]
    out += [frame[:ETHERNET] + bytes([0x40 | words]) + frame[ETHERNET + 1:] for words in (0, 1, 4, 15)]
    out += [v6(frame, n1, n2, [one]) for one in FRAGMENTS]
    out += [v6(frame, n1, n2, [TARGETS] * count) for count in (4, 9, 40)]
    out += [v6(frame, n1, n2, [ROUTING]), v6(frame, n1, n2, [(0, b"\xff" + bytes(6))]),
            v6(frame, n1, n2, [TARGETS, HOPS]), v6(frame, n1, n2, [(59, bytes(7))])]
    return out


def noise(frame, count):
    """Of any length and content; half of it behind headers that lead to our port."""
    chance = random.Random(count)
    out = []
    for number in range(count):
        body = chance.randbytes(chance.randrange(1, 1400))
        if number % 2:
            out.append(frame[:12] + chance.choice([b"\x08\0", b"\x86\xdd", b"\x81\0"]) + body)
        else:
            out.append(v4(frame, payload=bytes([chance.randrange(16)]) + body))
    return out


@scenario(topology="pair")
def nothing_on_the_wire_harms_a_session(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    frame = record(n1, n2)
    sessions, pid = session_ids(n2), n2.pid("dataplane")
    before = n2.drops()
    with steady_ping(n1, n2.vip4) as pings, socket_in(n1.namespace, socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth0", 0))
        pings.wait_for_more(10)
        old, false = seen_before(frame, n1, n2), forged(frame)
        for one in (*old, *false, *lies(frame, n1, n2), *noise(frame, 4000)):
            wire.send(one)
        pings.wait_for_more(30)
        check_equal(pings.lost(), [], "echoes lost")
    wait_for_drops(n2, "rx_replayed", before["rx_replayed"] + len(old))
    wait_for_drops(n2, "rx_bad_tag", before["rx_bad_tag"] + len(false))
    for reason in ("rx_truncated", "rx_unknown_type", "rx_unknown_channel"):
        wait_for_drops(n2, reason, before[reason] + 1)
    check_equal(session_ids(n2), sessions, "the sessions")
    check_equal(n2.pid("dataplane"), pid, "the dataplane's process")
    check_equal(n2.peers()["n1"]["endpoint"], f"{n1.underlay['v4']}:{PORT}", "the endpoint")
    check("n1" in n2.omnictl("peers", "list").stdout, "the controller is there")


run(nothing_on_the_wire_harms_a_session)
