# SPDX-License-Identifier: Apache-2.0
"""Session data by AF_XDP, and what happens when the interface under it changes or goes: the UDP
sockets carry on, the sessions stay, and AF_XDP comes back when it can.

    n1 eth0 ---- eth0 n2        with AF_XDP sockets on eth0 of both, copied, because a veth cannot else
"""
import contextlib
import json

from story import (check, check_equal, connect, metric, ping, run, scenario, session_ids,
                   steady_ping, wait_for)
from omnilab.shell import ip_batch


def frames(node):
    """Frames that went through AF_XDP, received and sent."""
    return (metric(node, "omni_dataplane_afxdp_rx_frames_total"),
            metric(node, "omni_dataplane_afxdp_tx_frames_total"))


def feature(node, name):
    return next((f for f in node.status()["dataplane"]["features"] if f["name"] == name), None)


def path(node):
    return node.status()["dataplane"]["path"]


def wait_for_path(node, wanted, timeout=30):
    wait_for(lambda: path(node) == wanted, timeout, f"{node.name}: path {wanted}")


def goes_by_afxdp(n1, n2):
    """Packets both ways, and they went through AF_XDP."""
    for node in (n1, n2):
        wait_for_path(node, "afxdp")

    def more():
        before = frames(n1)
        ping(n1, n2.vip4, count=10)
        return all(b >= a + 10 for a, b in zip(before, frames(n1)))
    wait_for(more, 20, "packets by AF_XDP")


@contextlib.contextmanager
def nothing_is_lost_but_time(n1, n2):
    """A ping goes on, on the same sessions."""
    sessions = session_ids(n1)
    with steady_ping(n1, n2.vip4) as pinger:
        pinger.wait_for_more(20)
        yield pinger
        pinger.wait_for_more(50)
    check_equal(session_ids(n1), sessions, "the sessions")
    print(f"    traffic stood still for {pinger.longest_gap():.2f} s", flush=True)


@scenario(topology="pair", path="afxdp", in_kernel="off", workers=1)
def both_families_both_ways(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    goes_by_afxdp(n1, n2)
    check_equal(feature(n1, "afxdp:eth0")["reason"], "copied, 1 of 1 queues", "the reason")
    for address in (n2.vip4, n2.vip6):
        ping(n1, address, "-M", "do", "-s", str(1420 - 48), count=20)
    for node in lab.nodes:
        check_equal({r: n for r, n in node.drops().items() if n and r.startswith("rx_")}, {},
                    f"drops of {node.name}")


@scenario(topology="pair", underlay="v6", path="afxdp", in_kernel="off", workers=1)
def over_ipv6(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    goes_by_afxdp(n1, n2)
    ping(n1, n2.vip4, "-M", "do", "-s", str(1420 - 28), count=20)


@scenario(topology="pair", path="afxdp", in_kernel="off", workers=1)
def xdp_is_taken_off(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    goes_by_afxdp(n1, n2)
    program = json.loads(n1.run("ip", "-j", "link", "show", "eth0").stdout)[0]["xdp"]["prog"]["id"]
    links = json.loads(n1.run("bpftool", "-j", "link", "list").stdout)
    link = next(entry["id"] for entry in links if entry["prog_id"] == program)
    with nothing_is_lost_but_time(n1, n2):
        n1.run("bpftool", "link", "detach", "id", str(link))
        wait_for_path(n1, "socket")
    goes_by_afxdp(n1, n2)


@scenario(topology="pair", path="afxdp", in_kernel="off", workers=1)
def the_interface_goes_down_and_up(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    goes_by_afxdp(n1, n2)
    with nothing_is_lost_but_time(n1, n2):
        n1.run("ip", "link", "set", "eth0", "down")
        wait_for_path(n1, "socket")
        ip_batch(["link set eth0 up", f"address replace {n1.underlay['v6']}/64 dev eth0 nodad"],
                 n1.namespace)
    goes_by_afxdp(n1, n2)


@scenario(topology="pair", path="afxdp", in_kernel="off", workers=1)
def the_interface_is_another(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    goes_by_afxdp(n1, n2)
    with nothing_is_lost_but_time(n1, n2):
        n1.run("ip", "link", "delete", "eth0")
        wait_for_path(n1, "socket")
        ip_batch([f"link add eth0 netns {n1.namespace} type veth peer name eth0 "
                  f"netns {n2.namespace}"])
        for node in lab.nodes:
            ip_batch(["link set eth0 up", f"address add {node.underlay['v4']}/24 dev eth0"],
                     node.namespace)
    goes_by_afxdp(n1, n2)


@scenario(topology="pair", path="afxdp", in_kernel="off", workers=1)
def its_mtu_changes(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    goes_by_afxdp(n1, n2)
    with nothing_is_lost_but_time(n1, n2) as pinger:
        for mtu in (9000, 1400, 3000, 1500):
            for node in lab.nodes:
                node.run("ip", "link", "set", "eth0", "mtu", str(mtu))
            pinger.wait_for_more(20)
    goes_by_afxdp(n1, n2)


@scenario(topology="pair", path="afxdp", in_kernel="off", workers=2)
def its_queues_change(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    with nothing_is_lost_but_time(n1, n2):
        for way in ("rx", "tx"):
            for node in lab.nodes:
                node.run("ethtool", "-L", "eth0", way, "2")
        for node in lab.nodes:
            wait_for(lambda n=node: "2 of 2 queues" in feature(n, "afxdp:eth0")["reason"], 30,
                     f"{node.name}: a socket a queue")
    ping(n1, n2.vip4, count=20)
    ping(n1, n2.vip6, count=20)


run(both_families_both_ways, over_ipv6, xdp_is_taken_off,
    the_interface_goes_down_and_up, the_interface_is_another, its_mtu_changes, its_queues_change)
