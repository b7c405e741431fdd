# SPDX-License-Identifier: Apache-2.0
"""What a kernel lacks is named, and the tunnel runs without it. On this kernel, and by
tests/bpf/on_kernel on others.

    n1 eth0 ---- eth0 n2        XDP natively on both, so that every program is loaded
"""
import os
import re

from story import check, check_equal, connect, ping, run, scenario, wait_for

KERNEL = tuple(int(part) for part in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())


def features(node):
    return {f["name"]: f for f in node.status()["dataplane"]["features"]}


@scenario(topology="pair", in_kernel="on", xdp="native")
def a_tunnel_with_what_there_is(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    for node in lab.nodes:
        found = features(node)
        for name, feature in sorted(found.items()):
            print(f"    {node.name} {name}: {'on' if feature.get('active') else 'off'}, "
                  f"{feature['reason']}", flush=True)
            check(feature["reason"], f"{name} has a reason")
        links = "TCX links" if KERNEL >= (6, 6) else "clsact filters"
        check(links in found["in_kernel"]["reason"], f"programs hang on {links}")
        wait_for(lambda n=node: "at XDP on eth0" in features(n)["in_kernel"]["reason"], 30,
                 "packets are opened at XDP")
        if KERNEL < (6, 2):
            check("Linux 6.2" in found["tun_uso"]["reason"], "USO came with Linux 6.2")
    before = n2.workers_counters()
    for vip in (n2.vip4, n2.vip6):
        ping(n1, vip, count=5)
        ping(n1, vip, "-s", "1300", count=5)
    moved = n2.workers_counters()
    for name in ("kernel_rx", "kernel_rx_xdp", "kernel_tx"):
        check(moved[name] >= before[name] + 10, f"{name}: {before[name]} to {moved[name]}")
    check_equal(n1.drops()["rx_bad_tag"], 0, "packets that did not authenticate")


run(a_tunnel_with_what_there_is)
