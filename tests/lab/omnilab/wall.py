# SPDX-License-Identifier: Apache-2.0
"""A wall between two machines on one switch: neither hears the other, everybody else hears both."""

FAMILIES = (("ip", "v4"), ("ip6", "v6"))


def build(first, second):
    for node, other in ((first, second), (second, first)):
        for family, key in FAMILIES:
            node.run("nft", "add", "table", family, "wall")
            node.run("nft", "add", "chain", family, "wall", "in",
                     "{ type filter hook prerouting priority -300; }")
            node.run("nft", "add", "rule", family, "wall", "in", family, "saddr",
                     other.underlay[key], "drop")


def tear_down(*nodes):
    for node in nodes:
        for family, _ in FAMILIES:
            node.run("nft", "delete", "table", family, "wall")
