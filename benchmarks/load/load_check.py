# SPDX-License-Identifier: Apache-2.0
"""The load generator moves what it says: a slow stream over loopback loses nothing.

    load_check.py PROGRAM
"""
import json
import os
import socket
import subprocess
import sys

PROGRAM = sys.argv[1]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
    free.bind(("127.0.0.1", 0))
    ENDPOINT = f"127.0.0.1:{free.getsockname()[1]}"


def check(condition, text):
    if not condition:
        sys.exit(f"failed: {text}")


with subprocess.Popen([PROGRAM, "receive", ENDPOINT], stdout=subprocess.PIPE,
                      text=True) as receiver:
    check(receiver.stdout.readline() == "ready\n", "the receiver is not ready")
    sent = json.loads(subprocess.run([PROGRAM, "send", ENDPOINT, "64", "1000", "0.2"], check=True,
                                     capture_output=True, text=True).stdout)
    received = json.loads(receiver.communicate(timeout=20)[0])
check(0 < sent["sent"] <= 201, f"sent {sent}")
check(received["packets"] == sent["sent"], f"received {received} of {sent}")
check(received["bytes"] == 64 * sent["sent"], f"received {received}")

if os.geteuid() == 0:
    answer = json.loads(subprocess.run([PROGRAM, "ping", "127.0.0.1", "1000", "0.1"], check=True,
                                       capture_output=True, text=True).stdout)
    check(answer["lost"] == 0 and len(answer["rtt_us"]) > 5, f"ping {answer}")

for wrong in ([], ["send", ENDPOINT, "2", "1000", "1"], ["send", "nowhere", "64", "1", "1"],
              ["ping", "127.0.0.1", "0", "1"]):
    done = subprocess.run([PROGRAM, *wrong], capture_output=True, text=True, check=False)
    check(done.returncode == 1 and done.stderr.count("\n") == 1, f"{wrong}: {done}")
print("the load generator moves what it says")
