# SPDX-License-Identifier: Apache-2.0
"""Rows, table and drawing of made-up rounds; public keys against RFC 7748."""
import os
import sys
import xml.etree.ElementTree as ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), f"{HERE}/../../tests/lab"]
from omnibench import plot, report  # noqa: E402
from omnibench.tests import percentile  # noqa: E402
from omnibench.x25519 import public_key  # noqa: E402

# Private and public keys of RFC 7748 section 6.1.
KEYS = (
    ("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
     "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"),
    ("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
     "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"),
)


class Named:
    path = "socket"

    def __init__(self, name, cipher="chacha20-poly1305"):
        self.name, self.cipher = name, cipher


def check(condition, text):
    if not condition:
        sys.exit(f"failed: {text}")


def main():
    for private, public in KEYS:
        check(public_key(bytes.fromhex(private)).hex() == public, f"public key of {private}")
    ours, theirs = Named("omni"), Named("wireguard-go")
    rows = report.rows(ours, [{"tcp1": 5000, "udp64_loss": 1.5}, {"tcp1": 6000}, {"tcp1": 4000}])
    rows += report.rows(theirs, [{"tcp1": 2000}])
    check(rows[0] == {"system": "omni", "path": "socket", "cipher": "chacha20-poly1305",
                      "test": "tcp1", "unit": "Mbit/s", "median": 5000, "min": 4000, "max": 6000},
          f"first row: {rows[0]}")
    table = report.markdown(rows, [ours, theirs])
    check("5,000 [4,000, 6,000] **2.50x** | 2,000 [2,000, 2,000] |" in table, table)
    check("| udp64_loss, %, less is better | 1.5 [1.5, 1.5] | - |" in table, table)
    fast = Named("omni", "aes-256-gcm")
    rows += report.rows(fast, [{"tcp1": 7000}])
    table = report.markdown(rows, [ours, fast, theirs])
    check(table.startswith("| | omni socket chacha20-poly1305 | omni socket aes-256-gcm | wireguard-go |"), table)
    check("**2.50x** | 7,000 [7,000, 7,000] **3.50x** | 2,000" in table, table)
    drawing = plot.svg(rows, "a < b")
    check("omni socket aes-256-gcm" in drawing and ">wireguard-go<" in drawing, drawing)
    check(len(list(ElementTree.fromstring(drawing).iter())) > 10, drawing)
    check(percentile([1, 2, 3, 4], 50) == 3 and percentile([1], 99.9) == 1, "percentile")
    print("rows, table, drawing and keys are right")


main()
