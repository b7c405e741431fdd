# SPDX-License-Identifier: Apache-2.0
"""A paced UDP stream whose losses are the network's: the receiver's buffer is large enough for the
time in which a busy machine does not run it. (iperf3's is 208 KiB, 20 ms at 100 Mbit/s, and what
overflows there was delivered.)

    udp_stream.py receive ADDRESS PORT               prints "ready", then {"received", "reordered"}
    udp_stream.py send ADDRESS PORT MBIT SECONDS     prints {"sent"}
"""
import json
import socket
import sys
import time

PACKET_BYTES = 1200  # fits every tunnel here
TICK_S = 0.001
# LIMIT: a sender that was not scheduled for a while catches up in bursts that a TUN of 500 packets takes.
MAX_BURST = 64
BUFFER_BYTES = 32 << 20
SO_RCVBUFFORCE = 33
IDLE_S = 5
END = b"end"


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def receive(address, port):
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as stream:
        stream.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        stream.bind((address, port))
        print("ready", flush=True)
        stream.settimeout(60)
        seen, reordered, newest = set(), 0, -1
        buffer = bytearray(2048)
        try:
            while True:
                size = stream.recv_into(buffer)
                stream.settimeout(IDLE_S)
                if size == len(END):
                    break
                sequence = int.from_bytes(buffer[:8], "big")
                reordered += sequence < newest
                newest = max(newest, sequence)
                seen.add(sequence)
        except TimeoutError:
            pass
        print(json.dumps({"received": len(seen), "reordered": reordered}))


def send(address, port, mbit, seconds):
    rate = mbit * 1e6 / 8 / PACKET_BYTES
    padding = bytes(PACKET_BYTES - 8)
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as stream:
        stream.connect((address, port))
        begin = now = time.monotonic()
        sent, credit = 0, 0.0
        while now - begin < seconds:
            for _ in range(min(int(credit), MAX_BURST)):
                stream.send(sent.to_bytes(8, "big") + padding)
                sent += 1
                credit -= 1
            credit = min(credit, MAX_BURST)
            time.sleep(TICK_S)
            before, now = now, time.monotonic()
            credit += (now - before) * rate
        for _ in range(10):
            time.sleep(0.02)
            try:
                stream.send(END)
            except ConnectionRefusedError:  # it has heard one, and ended
                break
    print(json.dumps({"sent": sent}))


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(sys.argv[2], int(sys.argv[3]))
    else:
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
