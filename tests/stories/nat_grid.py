# SPDX-License-Identifier: Apache-2.0
"""Each kind of access to the internet against each: the path that is found, and how soon.

    n2..n21 eth0 --- r, c (NAT) ---+
                                   +--- internet --- n1: omni-nucleus, and nothing else
    two nodes of each kind --------+

No node knows any other: they find each other through the Nucleus. All pairs of two nodes call each
other at once, with one echo each way. `--write` puts the table into docs/NAT.md.
"""
import itertools
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from story import check, run, scenario, wait_all_know
from omnilab.lab import REPOSITORY

KINDS = ("none", "full-cone", "address-restricted", "port-restricted", "symmetric",
         "cgnat+port-restricted", "cgnat+symmetric", "udp-blocked", "ipv6-only", "same")
# The second node of a kind has a site of its own; but "same" are two behind one port-restricted NAT.
ACCESS = ("none",) + tuple(kind for kind in KINDS if kind != "same" for _ in (1, 2)) + \
    ("port-restricted", "same")
FILTERS_PORTS = {"port-restricted", "symmetric", "cgnat+port-restricted", "cgnat+symmetric", "same"}
HARD = {"symmetric", "cgnat+symmetric"}
DOCUMENT = f"{REPOSITORY}/docs/NAT.md"
# LIMIT: generous for a busy machine; times are printed, and stand in the document.
DIRECT_WITHIN_S = 20.0
PATIENCE_S = 8
AGAIN_S = 0.5


def can_be_direct(a, b):
    """A hard NAT meets each peer with a port that nobody could tell it: only who does not filter by
    port hears it."""
    if "udp-blocked" in (a, b):
        return False
    if "ipv6-only" in (a, b):  # what is behind a NAT here has no IPv6
        return {a, b} <= {"none", "ipv6-only"}
    return not ((a in HARD and b in FILTERS_PORTS) or (b in HARD and a in FILTERS_PORTS))


def has_way(way, a, b):
    """Whether packets between nodes of these kinds go where they should."""
    if (a, b) == ("same", "same"):  # no hairpin: the outer address leads nowhere
        return way == "lan"
    return way.startswith("direct") == can_be_direct(a, b)


def kind_of(lab, node):
    access = lab.topology.nodes[node.number - 1].access
    if sum(other.access["site"] == access["site"] for other in lab.topology.nodes) > 1:
        return "same"
    return ("cgnat+" if access["cgnat"] else "") + access["kind"]


def first_byte(a, b):
    """Seconds from the first packet to the first answer, of a program that asks again; None without one."""
    # With a deadline, the count is of answers.
    done = a.run("ping", "-n", "-c", "1", "-i", str(AGAIN_S), "-w", str(PATIENCE_S), b.vip4,
                 check=False, timeout=PATIENCE_S + 30)
    answer = re.search(r" icmp_seq=(\d+) .* time=([\d.]+) ms", done.stdout)
    if answer is None:
        return None
    return (int(answer.group(1)) - 1) * AGAIN_S + float(answer.group(2)) / 1000


def until_direct(lab, a, b):
    """Seconds from the first packet until it went the way that it should, and its first_byte()."""
    began = time.monotonic()
    first = first_byte(a, b)
    kinds = kind_of(lab, a), kind_of(lab, b)
    if not can_be_direct(*kinds):
        return None, first
    while not has_way(a.peers()[b.name]["path_kind"], *kinds):
        if time.monotonic() > began + DIRECT_WITHIN_S:
            return None, first
        time.sleep(0.1)
    return time.monotonic() - began, first


def measure(lab):
    """(kind, kind) -> seconds of the pairs of nodes with these kinds, None where there was none; seconds until
    those were direct that can be; and the pairs, in words, that are not on their way in the end."""
    # Of two kinds now the one calls, now the other.
    pairs = [(a, b) if (a.number + b.number) % 2 else (b, a)
             for a, b in itertools.combinations(lab.nodes, 2)]
    by_kinds = {}
    with ThreadPoolExecutor(12) as pool:
        times = list(pool.map(lambda pair: until_direct(lab, *pair), pairs))
    for (a, b), (_, seconds) in zip(pairs, times):
        kinds = tuple(sorted((kind_of(lab, a), kind_of(lab, b)), key=KINDS.index))
        by_kinds.setdefault(kinds, []).append(seconds)

    def elsewhere():
        """Pairs that are not where they should be."""
        peers = {node.name: node.peers() for node in lab.nodes}
        found = {(a, b): peers[a.name][b.name]["path_kind"] for a, b in pairs}
        return [f"{kind_of(lab, a)} to {kind_of(lab, b)} ({a.name}, {b.name}): {way}"
                for (a, b), way in found.items()
                if not has_way(way, kind_of(lab, a), kind_of(lab, b))]
    end = time.monotonic() + DIRECT_WITHIN_S
    while (wrong := elsewhere()) and time.monotonic() < end:
        time.sleep(0.2)
    return by_kinds, sorted(direct for direct, _ in times if direct is not None), wrong


def table(found):
    def cell(a, b):
        times = found[tuple(sorted((a, b), key=KINDS.index))]
        slowest = "no way" if None in times else f"{max(times) * 1000:.0f} ms"
        if (a, b) == ("same", "same"):
            return f"lan, {slowest}"
        return slowest if can_be_direct(a, b) else f"relay, {slowest}"
    lines = ["| | " + " | ".join(KINDS) + " |", "| --- |" + " --- |" * len(KINDS)]
    for row, a in enumerate(KINDS):
        cells = [cell(a, b) if column >= row else "" for column, b in enumerate(KINDS)]
        lines.append(f"| {a} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(text):
    with open(DOCUMENT, encoding="utf-8") as file:
        document = file.read()
    document, count = re.subn(r"(<!-- nat-grid -->\n).*?(\n<!-- /nat-grid -->)",
                              lambda m: m.group(1) + text + m.group(2), document, flags=re.S)
    check(count == 1, f"{DOCUMENT}: has no place for the table")
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(document)


@scenario(topology="nat", arguments=ACCESS, nucleus=True, in_kernel="off")
def every_pair_that_can_be_direct_is(lab):
    began = time.monotonic()
    wait_all_know(lab, timeout=60)
    print(f"{len(lab.nodes)} nodes know each other after {time.monotonic() - began:.1f} s")
    found, direct, wrong = measure(lab)
    print(table(found))
    print(f"measured after {time.monotonic() - began:.1f} s")
    check(not wrong, "; ".join(wrong))
    for relayed in (False, True):
        times = [t for kinds, all_of in found.items() for t in all_of
                 if can_be_direct(*kinds) != relayed]
        check(None not in times, f"{times.count(None)} pairs had no answer")
        times.sort()
        print(f"{len(times)} {'relayed' if relayed else 'direct'} pairs, first byte after "
              f"{times[len(times) // 2] * 1000:.0f} ms (median), "
              f"{times[int(len(times) * 0.95)] * 1000:.0f} ms (p95)")
    print(f"{len(direct)} pairs were direct after {direct[len(direct) // 2] * 1000:.0f} ms (median), "
          f"{direct[int(len(direct) * 0.95)] * 1000:.0f} ms (p95), {direct[-1] * 1000:.0f} ms (the last)")
    if WRITE:
        write(table(found))


WRITE = "--write" in sys.argv
if WRITE:
    sys.argv.remove("--write")
assert os.path.isdir(REPOSITORY)
run(every_pair_that_can_be_direct_is)
