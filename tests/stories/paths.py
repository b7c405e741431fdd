# SPDX-License-Identifier: Apache-2.0
"""The ways that packets take change while traffic runs: no session ends, and hardly a packet is lost.

    n1 eth0 ---- eth0 n2        omnictl path set ... on both, under TCP and UDP
"""
import subprocess
import threading

from story import (check, check_equal, connect, lost_by_devices, metric, ping, run, scenario,
                   session_ids, steady_ping, wait_for, where_lost)
from omnilab import measure

# What may be lost when XDP comes to a veth or leaves it: what its ring holds, 256 frames, once a
# change and direction. Between the sockets and AF_XDP while XDP stays, nothing is.
VETH_RING = 256


def path(node):
    return node.status()["dataplane"]["path"]


def set_paths(node, *options):
    return node.omnictl_json("path", "set", *options)


def feature(node, name):
    found = (f for f in node.omnictl_json("path", "show")["features"] if f["name"] == name)
    return next(found, {"active": False, "reason": ""})


def on_both(lab, *options):
    for node in lab.nodes:
        set_paths(node, *options)


def wait_for_path(lab, wanted):
    for node in lab.nodes:
        wait_for(lambda n=node: path(n) == wanted, 20, f"{node.name}: path {wanted}")


def moves(nodes, name, **labels):
    """Whether a counter of traffic grows while a stream runs."""
    before = [metric(node, name) for node in nodes]

    def grown():
        return all(metric(n, name) > b for n, b in zip(nodes, before))
    wait_for(grown, 20, f"{name} {labels} grows")


class Stream(threading.Thread):
    """UDP at a steady rate from one node to another while the story goes on."""

    def __init__(self, sender, receiver, seconds, mbit):
        super().__init__()
        self.arguments = (sender, receiver, receiver.vip4, seconds, mbit)
        self.result = None

    def run(self):
        self.result = measure.udp(*self.arguments)

    def lost(self):
        self.join()
        check(self.result is not None, "the stream ended well")
        lost, sent = self.result
        print(f"    {lost} of {sent} packets lost", flush=True)
        check(sent > 1000, f"{sent} packets were sent")
        return lost


def sessions_and_handshakes(lab):
    return [(session_ids(node), [p["handshakes"] for p in node.peers().values()])
            for node in lab.nodes]


@scenario(topology="pair", xdp="native", workers=1)
def between_socket_and_afxdp_nothing_is_lost(lab):
    n1, n2 = lab.nodes
    on_both(lab, "--in-kernel", "off")
    connect(n1, n2)
    before = sessions_and_handshakes(lab)
    stream = Stream(n1, n2, seconds=14, mbit=5)
    stream.start()
    with measure.IperfServer(n1):
        tcp = n2.popen("iperf3", "-c", n1.vip4, "-t", "12", "-b", "5M", stdout=subprocess.DEVNULL)
        for _ in range(3):
            on_both(lab, "--path", "afxdp")
            wait_for_path(lab, "afxdp")
            moves(lab.nodes, "omni_dataplane_afxdp_tx_frames_total")
            on_both(lab, "--path", "socket")
            wait_for_path(lab, "socket")
        lost = stream.lost()
        check_equal(tcp.wait(), 0, "TCP went through")
    # XDP stays, so what full queues of devices lose is none of the change's.
    check(lost <= lost_by_devices(lab), f"lost {lost}; {where_lost(lab)}")
    check_equal(sessions_and_handshakes(lab), before, "sessions and handshakes")


@scenario(topology="pair", workers=1)
def xdp_comes_and_goes(lab):
    n1, n2 = lab.nodes
    on_both(lab, "--in-kernel", "off")
    connect(n1, n2)
    before = sessions_and_handshakes(lab)
    stream = Stream(n1, n2, seconds=14, mbit=5)
    stream.start()
    changes = 0
    for options, wanted in (
            (("--path", "afxdp"), "afxdp"),  # and XDP with it
            (("--path", "auto", "--xdp", "off"), "socket"),
            (("--path", "auto,eth0=afxdp", "--xdp", "auto"), "afxdp"),
            (("--path", "auto", "--xdp", "generic"), "socket")):
        on_both(lab, *options)
        wait_for_path(lab, wanted)
        changes += 1
    for node in lab.nodes:
        wait_for(lambda n=node: feature(n, "xdp:eth0")["reason"].startswith("generic"), 20,
                 "generic XDP")
    lost = stream.lost()
    check(lost <= changes * VETH_RING + lost_by_devices(lab), f"lost {lost}; {where_lost(lab)}")
    check_equal(sessions_and_handshakes(lab), before, "sessions and handshakes")


@scenario(topology="pair", in_kernel="auto")
def the_in_kernel_path_goes_and_comes(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    before = sessions_and_handshakes(lab)
    with steady_ping(n1, n2.vip4, interval=0.01) as pinger:
        pinger.wait_for_more(20)
        moves(lab.nodes, "omni_dataplane_kernel_tx_total")
        for _ in range(3):
            on_both(lab, "--in-kernel", "off")
            for node in lab.nodes:
                check_equal(feature(node, "in_kernel"),
                            {"name": "in_kernel", "active": False, "reason": "switched off",
                             "refusals": "0"}, "its state")
            sealed = [metric(node, "omni_dataplane_kernel_tx_total") for node in lab.nodes]
            pinger.wait_for_more(100)
            check_equal([metric(node, "omni_dataplane_kernel_tx_total") for node in lab.nodes],
                        sealed, "packets that the kernel sealed")
            on_both(lab, "--in-kernel", "on")
            moves(lab.nodes, "omni_dataplane_kernel_tx_total")
        # Pings of 84 bytes, above the threshold and below it.
        on_both(lab, "--in-kernel-threshold", "83")
        pinger.wait_for_more(20)
        sealed = metric(n1, "omni_dataplane_kernel_tx_total")
        pinger.wait_for_more(50)
        check_equal(metric(n1, "omni_dataplane_kernel_tx_total"), sealed, "above the threshold")
        on_both(lab, "--in-kernel-threshold", "84")
        moves(lab.nodes, "omni_dataplane_kernel_tx_total")
        pinger.wait_for_more(50)
        check_equal(pinger.lost(), [], "lost answers")
    check_equal(sessions_and_handshakes(lab), before, "sessions and handshakes")


@scenario(topology="pair", workers=1)
def it_holds_over_restarts_until_it_is_reset(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    set_paths(n1, "--path", "afxdp", "--polling", "busy")
    wait_for(lambda: path(n1) == "afxdp", 20, "path afxdp")
    n1.crash("dataplane")
    n1.wait_ready()
    wait_for(lambda: path(n1) == "afxdp", 30, "path afxdp after a crash of the dataplane")
    n1.stop("controller")
    n1.start_controller()
    n1.wait_ready()
    shown = n1.omnictl_json("path", "show")
    check_equal((shown["api"]["path"], shown["in_force"]["polling"]), ("afxdp", "busy"), "kept")
    n1.omnictl("path", "reset")
    wait_for(lambda: path(n1) == "socket", 20, "path socket after the reset")
    refused = n1.omnictl("path", "set", "--xdp", "eth0=fast", check=False)
    check_equal(refused.returncode, 2, "exit code")
    check("\"fast\" is none of" in refused.stderr, refused.stderr)


@scenario(topology="pair")
def packets_are_explained(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    ping(n1, n2.vip4, count=20)

    def explained(*options):
        return n1.omnictl_json("trace", "--to", n2.vip4, *options)
    check_equal((explained()["peer"], explained()["path"]), ("n2", "kernel"), "a small packet")
    check_equal(explained("--size", "1000")["path"], "socket", "a large one")
    check_equal(n1.omnictl_json("trace", "--to", "10.99.0.1")["path"], "", "a stranger's")
    on_both(lab, "--in-kernel", "off")
    with steady_ping(n1, n2.vip4):
        told = n2.omnictl_json("trace", "--next", "6", "--peer", "n1")
    packets = told["packets"]
    check_equal(len(packets), 6, "packets told")
    check_equal({p["direction"] for p in packets}, {"in", "out"}, "directions")
    check({p["protocol"] for p in packets} <= {"icmp"}, f"protocols of {packets}")
    check_equal({p["verdict"] for p in packets}, {"sent", "delivered"}, "verdicts")
    with steady_ping(n1, "10.77.0.200"):
        told = n1.omnictl_json("trace", "--next", "2", "--drops")
    check_equal([p["verdict"] for p in told["packets"]], ["tx_no_route"] * 2, "drops")
    stats = {p["path"]: p for p in n1.omnictl_json("stats")["paths"]}
    check(int(stats["socket"]["tx_packets"]) > 0 and int(stats["kernel"]["tx_packets"]) > 0,
          f"both paths were used: {stats}")


run(between_socket_and_afxdp_nothing_is_lost, xdp_comes_and_goes,
    the_in_kernel_path_goes_and_comes, it_holds_over_restarts_until_it_is_reset,
    packets_are_explained)
