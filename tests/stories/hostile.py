# SPDX-License-Identifier: Apache-2.0
"""Someone on the wire records datagrams and sends them again: as they were, changed, cut, and to
where they came from. Each is counted under its reason, nobody answers, and the tunnel does not care.

    n1 eth0 ---- eth0 n2
         \\ the attacker sits on the cable: sees everything, sends with any source
"""
import os
import socket

from story import (by_the_kernel, check, check_equal, connect, ping, run, scenario, session_ids, wait_for,
                   wait_for_drops)
from omnilab.sockets import Capture, Forger, parse_udp, socket_in

PORT = 51900
DATA, INITIATION, RESPONSE = 4, 5, 6


def record(n1, n2, kind, how, towards=None):
    """A datagram of a kind on the cable, while `how()` makes it happen. Seen at n1: what XDP opens at
    n2 is no datagram any more where a capture could see it."""
    def wanted(packet):
        datagram = parse_udp(packet)
        return (datagram is not None and datagram.payload[:1] == bytes([kind])
                and (towards is None or datagram.target == towards))
    with by_the_kernel(n1), Capture(n1) as wire:
        how()
        return parse_udp(wire.until(wanted, what=f"a datagram of type {kind}"))


def replay(lab, datagram, payload, reason, times=5):
    """Sends a payload as `datagram` came, and waits until its target counted it."""
    target = next(n for n in lab.nodes if n.underlay["v4"] == datagram.target)
    sender = next(n for n in lab.nodes if n is not target)
    before = target.drops()[reason]
    with Forger(sender) as forger:
        for _ in range(times):
            forger.send(datagram.source, datagram.source_port, datagram.target,
                        datagram.target_port, payload)
    wait_for_drops(target, reason, before + times)


@scenario(topology="pair")
def recorded_data_is_worth_nothing(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    sessions = session_ids(n2)
    data = record(n1, n2, DATA, lambda: ping(n1, n2.vip4, count=3), towards=n2.underlay["v4"])
    replay(lab, data, data.payload, "rx_replayed")
    for position in (16, 31, 32, len(data.payload) - 1):  # tag and ciphertext
        flipped = bytearray(data.payload)
        flipped[position] ^= 1
        replay(lab, data, bytes(flipped), "rx_bad_tag", times=1)
    fresh = bytearray(data.payload)
    fresh[12] ^= 1  # a counter that was never seen: the tag must speak, not the window
    replay(lab, data, bytes(fresh), "rx_bad_tag", times=1)
    other = bytearray(data.payload)
    other[5] ^= 0x40
    replay(lab, data, bytes(other), "rx_unknown_channel", times=1)
    replay(lab, data, data.payload[:31], "rx_truncated", times=1)
    replay(lab, data, data.payload[:-1], "rx_bad_tag", times=1)
    replay(lab, data, data.payload + b"x", "rx_bad_tag", times=1)
    back = type(data)(data.target, data.target_port, data.source, data.source_port, 0, b"")
    replay(lab, back, data.payload, "rx_unknown_channel")
    ping(n1, n2.vip4, count=20)
    check_equal(session_ids(n2), sessions, "the sessions")
    check_equal(n2.peers()["n1"]["endpoint"], "192.0.2.1:51900", "the endpoint did not move")


@scenario(topology="pair")
def recorded_handshakes_are_worth_nothing(lab):
    n1, n2 = lab.nodes
    initiation = record(n1, n2, INITIATION, lambda: connect(n1, n2))
    check_equal(initiation.target, n2.underlay["v4"], "the initiation's target")
    sessions = session_ids(n2)
    failures = int(n2.peers()["n1"]["handshake_failures"])
    with Capture(n2) as wire, Forger(n1) as forger:
        for _ in range(5):
            forger.send(initiation.source, PORT, initiation.target, PORT, initiation.payload)
        wait_for(lambda: handshake_refusals(n2) + int(n2.peers()["n1"]["handshake_failures"])
                 > failures, 10, "n2 refuses the replayed initiation")
        answers = [d for d in wire.datagrams()
                   if d.source == n2.underlay["v4"] and d.payload[:1] in (b"\x06", b"\x07")]
        check_equal(len(answers), 0, "answers to a replayed initiation")
    check_equal(session_ids(n2), sessions, "the sessions")
    ping(n1, n2.vip4, count=5)


def handshake_refusals(node):
    """Refusals that the controller counted without a peer."""
    text = node.run("/usr/bin/python3", "-c", "import urllib.request as u; print(u.urlopen("
                    "'http://127.0.0.1:9477/metrics').read().decode())").stdout
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith("omni_controller_handshake_failures_total{"))


@scenario(topology="pair")
def a_stranger_gets_no_answer(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    with socket_in(n1.namespace, socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)

        def send(payload, reason, times=1):
            before = n2.drops()[reason]
            for _ in range(times):
                stranger.sendto(payload, (n2.underlay["v4"], PORT))
            wait_for_drops(n2, reason, before + times)

        send(b"", "rx_truncated")
        send(b"\x04", "rx_truncated")
        send(b"\x04" + os.urandom(31), "rx_unknown_channel")
        send(b"\x04" + os.urandom(1399), "rx_unknown_channel", times=20)
        send(b"\x05" + bytes(3) + os.urandom(228), "rx_control_mac1", times=5)
        send(b"\x06" + bytes(3) + os.urandom(184), "rx_control_mac1", times=5)
        send(b"\xff" * 100, "rx_unknown_type", times=5)
        try:
            answer = stranger.recv(2000)
        except BlockingIOError:
            answer = None
        check(answer is None, f"the stranger got an answer: {answer!r}")
    ping(n1, n2.vip4, count=5)
    check_equal(n2.peers()["n1"]["endpoint"], "192.0.2.1:51900", "the endpoint did not move")


run(recorded_data_is_worth_nothing, recorded_handshakes_are_worth_nothing,
    a_stranger_gets_no_answer)
