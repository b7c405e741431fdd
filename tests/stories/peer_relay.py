# SPDX-License-Identifier: Apache-2.0
"""Machines that do not reach each other talk through a third one that is willing, when no Nucleus relays.

    n1 198.51.100.11 -------------------+        n1: omni-nucleus, which goes, or does not relay
    n2 --- r2 (symmetric NAT) ----------+-- internet
    n3 --- r3 (symmetric NAT) ----------+
    n4 198.51.100.14 -------------------+        n4: willing
    n5 198.51.100.15 -------------------+        n5: a stranger
                                                 or a switch on which n2 and n3 drop each other's packets
"""
import os
import time

from story import (check, check_equal, let_xdp_send, metric, nucleus_status, ping, run, scenario,
                   steady_ping, stop_nucleus, wait_for, wait_for_drops, wait_knows, xdp_is_native)
from omnilab import wall
from omnilab.sockets import Capture, Forger

HARD = {"topology": "nat", "arguments": ("none", "symmetric", "symmetric", "none"),
        "nucleus": True, "start": False}
RELAYED = "omni_dataplane_relayed_packets_total"


def willing(node, text=""):
    with open(node.config_file, "a", encoding="utf-8") as file:
        file.write(f'\n[relay]\nfor_peers = "on"\n{text}')


def reload(node, former, latter):
    """Reads the configuration again, with other words in it."""
    with open(node.config_file, encoding="utf-8") as file:
        text = file.read()
    check(former in text, f"{former} in {node.config_file}")
    with open(node.config_file, "w", encoding="utf-8") as file:
        file.write(text.replace(former, latter))
    node.omnictl("reload")


def up(node, peer):
    return node.peers().get(peer, {}).get("state") == "PEER_STATE_UP"


def path(node, peer):
    return node.peers()[peer]["path"]


def outer(lab, node):
    """Where the internet sees a machine of the topology `nat`."""
    return f"198.51.100.{10 + node.number}"


def members(lab):
    return lab.nodes[:3]


def start(lab):
    if xdp_is_native():
        let_xdp_send(lab)  # what comes to the willing one is then relayed by XDP
    lab.start_all()
    for node in members(lab):
        wait_knows(node, *(other.name for other in members(lab) if other is not node))


def lose_nucleus(lab):
    """It ends, and those behind NATs keep a session with who is willing."""
    stop_nucleus(lab, members(lab))
    n2, n3, n4 = members(lab)
    wait_for(lambda: up(n2, "n4") and up(n3, "n4"), 30, "n2 and n3 have sessions with n4")


def relay_drops(node):
    return {reason: n for reason, n in node.drops().items() if "relay" in reason and n}


def received(node, other, *options, count=1):
    done = node.run("ping", "-n", "-c", str(count), "-i", "0.2", *options, other.vip4, check=False)
    return int(done.stdout.split(" received")[0].split()[-1])


@scenario(**HARD)
def behind_hard_nats_there_is_the_willing_peer(lab):
    n2, n3, n4 = lab.nodes
    willing(n4)
    start(lab)
    check_equal(up(n2, "n4"), False, "a session before there is need for one")
    lose_nucleus(lab)
    begun = time.monotonic()
    check_equal(received(n2, n3, "-W", "1"), 1, "answers to the first echo, within a second")
    print(f"first answer after {(time.monotonic() - begun) * 1000:.0f} ms")
    for node, peer in ((n2, "n3"), (n3, "n2")):
        check_equal(path(node, peer), "PEER_PATH_RELAY", f"path of {node.name}")
        check_equal(node.peers()[peer]["relay"], "n4", "who relays")
        check_equal(node.peers()[peer]["path_kind"], "relay", "kind of the way")
    check_equal(path(n2, "n4"), "PEER_PATH_DIRECT", "path to the relay")
    ping(n3, n2.vip6, "-s", "1200", count=100)
    shown = n2.omnictl("peers", "list").stdout
    check(f"relay via n4 ({outer(lab, n4)}:51900)" in shown and
          "n3: relayed: no direct answer from" in shown, shown)
    check(f"relay via n4 ({outer(lab, n4)}:51900)" in n2.omnictl("peers", "show", "n3").stdout,
          "for people")
    check(metric(n4, RELAYED) > 200, "n4 counts what it relays")
    check(metric(n4, "omni_relay_handshakes_total") >= 2, "and handshakes")
    check_equal(relay_drops(n4), {}, "drops of n4")
    status = n4.omnictl("status").stdout
    check("for peers, 2 pairs now" in status, status)
    check("n2" in n4.peers() and int(n4.status()["relay"]["bytes"]) > 200 * 1200, "in bytes, too")
    # Nothing of it was for n4, and n4 has opened nothing of it.
    check_equal(n4.drops()["rx_bad_tag"], 0, "opened by n4")


@scenario(**HARD)
def beside_a_nucleus_that_does_not_relay_as_well(lab):
    n2, n3, n4 = lab.nodes
    willing(n4)
    with open(lab.nucleus.config_file, "a", encoding="utf-8") as file:
        file.write("\n[relay]\npair_mbit = 0\n")
    start(lab)
    wait_for(lambda: up(n2, "n4") and up(n3, "n4"), 30, "n2 and n3 have sessions with n4")
    check_equal(received(n3, n2, "-W", "1"), 1, "answers to the first echo, within a second")
    check_equal(n3.peers()["n2"]["relay"], "n4", "who relays")
    # The relay's programs end, one after the other.
    n4.crash("controller")
    check_equal(received(n2, n3, "-W", "1", count=5), 5, "answers while its controller is away")
    n4.start_controller()
    n4.wait_ready()
    ping(n2, n3.vip4, count=5)
    with steady_ping(n2, n3.vip4) as pings:
        pings.wait_for_more(5)
        n4.crash("dataplane")
        pings.wait_for_more(50, timeout=60)
        print(f"its dataplane crashed: longest interruption {pings.longest_gap() * 1000:.0f} ms")
    check_equal(n2.peers()["n3"]["relay"], "n4", "who relays after the crash")
    with steady_ping(n2, n3.vip4) as pings:
        pings.wait_for_more(5)
        n4.stop_all()
        n4.start_dataplane()
        n4.start_controller()
        n4.wait_ready()
        pings.wait_for_more(50, timeout=90)
        print(f"it has restarted: longest interruption {pings.longest_gap() * 1000:.0f} ms")


@scenario(**HARD)
def who_is_not_willing_relays_nothing(lab):
    n2, n3, n4 = lab.nodes
    start(lab)
    ping(n2, n4.vip4)
    ping(n3, n4.vip4)
    lab.nucleus.stop("nucleus")
    wait_for(lambda: nucleus_status(n2)["state"] != "NUCLEUS_STATE_REGISTERED", 60, "n2 notices")
    check_equal(received(n2, n3, "-W", "1", count=10), 0, "answers")
    peer = n2.peers()["n3"]
    check("nothing relays" in peer["last_error"], f"n2 says why: {peer['last_error']}")
    check(peer["state"] != "PEER_STATE_UP", "and that it is not there")
    check_equal(metric(n4, RELAYED), 0.0, "relayed by n4")


@scenario(topology="star", arguments=("4",), nucleus=True, start=False)
def a_pair_goes_direct_as_soon_as_it_can(lab):
    n2, n3, n4 = lab.nodes
    wall.build(n2, n3)
    willing(n4)
    start(lab)
    lose_nucleus(lab)
    ping(n2, n3.vip4)
    check_equal(path(n2, "n3"), "PEER_PATH_RELAY", "path behind the wall")
    with steady_ping(n2, n3.vip4) as pings:
        pings.wait_for_more(10)
        wall.tear_down(n2, n3)
        n3.run("ip", "address", "add", "192.0.2.77/24", "dev", "eth0")  # and the two try again
        for node, peer in ((n2, "n3"), (n3, "n2")):
            wait_for(lambda n=node, p=peer: path(n, p) == "PEER_PATH_DIRECT", 60,
                     f"{node.name} reaches {peer} directly")
        pings.wait_for_more(20)
        check_equal(pings.lost(), [], "echoes lost on the way to the direct path")
    check_equal(n2.peers()["n3"]["relay"], "", "nobody relays")
    relayed = metric(n4, RELAYED)
    ping(n3, n2.vip4, count=20)
    check_equal(metric(n4, RELAYED), relayed, "nothing goes through n4 any more")


@scenario(topology="star", arguments=("4",), nucleus=True, start=False)
def a_relay_may_change_its_mind_and_its_place(lab):
    n2, n3, n4 = lab.nodes
    wall.build(n2, n3)
    willing(n4)
    start(lab)
    lose_nucleus(lab)
    ping(n2, n3.vip4)
    with steady_ping(n2, n3.vip4) as pings:
        pings.wait_for_more(10)
        n4.run("ip", "address", "flush", "dev", "eth0", "scope", "global")
        n4.run("ip", "address", "add", "192.0.2.77/24", "dev", "eth0")
        n4.run("ip", "address", "add", "2001:db8::77/64", "dev", "eth0", "nodad")
        pings.wait_for_more(50, timeout=60)
        print(f"the relay moved: longest interruption {pings.longest_gap() * 1000:.0f} ms")
        check_equal(n2.peers()["n3"]["relay"], "n4", "who relays from where it is now")
    # Unwilling from now on: what was open is closed at once.
    reload(n4, 'for_peers = "on"', 'for_peers = "off"')
    wait_for(lambda: not int(n4.status().get("relay", {}).get("pairs", 0)), 10, "no pairs")
    check_equal(received(n2, n3, "-W", "1", count=5), 0, "answers through who is not willing any more")
    # And willing again, within a quota.
    reload(n4, 'for_peers = "off"', 'for_peers = "on"\npair_mbit = 1')
    wait_for(lambda: received(n2, n3, "-W", "1") == 1, 60, "a way through n4 again")
    n2.run("ping", "-f", "-q", "-l", "200", "-c", "2000", "-s", "1100", "-w", "10", n3.vip4, check=False)
    wait_for_drops(n4, "rx_relay_quota", 1)
    # Another one holds at once, for what is open as well.
    reload(n4, "pair_mbit = 1", "pair_mbit = 500")
    time.sleep(0.5)  # until what was spent is forgotten
    beyond = n4.drops()["rx_relay_quota"]
    n2.run("ping", "-f", "-q", "-l", "20", "-c", "500", "-s", "1100", "-w", "10", n3.vip4, check=False)
    check_equal(n4.drops()["rx_relay_quota"], beyond, "drops within the larger quota")


# What passes at XDP no capture sees: the story "xdp_relay" has replays and forgers there.
@scenario(topology="nat", arguments=("none", "symmetric", "symmetric", "none", "none"), xdp="off",
          nucleus=True, start=False, secrets={"n5": "a secret of another cluster"})
def strangers_forgers_and_the_greedy_get_nothing(lab):
    n2, n3, n4, n5 = lab.nodes
    willing(n4, "pair_mbit = 1\n")
    start(lab)
    lose_nucleus(lab)
    ping(n2, n3.vip4)
    with Capture(n4) as capture:
        # More than are looked for: two that leave at once are one on this socket.
        ping(n2, n3.vip4, count=40)
        seen = [d for d in capture.datagrams() if d.payload and d.payload[0] == 4]
    at_n4, at_n2, at_n3 = (outer(lab, node) for node in (n4, n2, n3))
    out = {d.payload for d in seen if d.source == at_n4 and d.target == at_n3}
    relayed = [d for d in seen if d.source == at_n2 and d.payload in out]
    check(len(relayed) >= 20, f"n4 passes datagrams of n2 on as they are: {len(relayed)}")
    sent, before = metric(n4, RELAYED), n3.drops()
    with Forger(n5) as forger, Capture(n5) as capture:
        # Replays, from where they came: counted, and not sent on.
        for d in relayed:
            forger.send(d.source, d.source_port, at_n4, 51900, d.payload)
        wait_for_drops(n4, "rx_relay_replayed", len(relayed))
        # Newer ones, but from elsewhere.
        fresh = [d.payload[:8] + (1 << 40).to_bytes(8, "little") + d.payload[16:] for d in relayed]
        for payload in fresh:
            forger.send("198.51.100.15", 40000, at_n4, 51900, payload)
            forger.send(at_n2, relayed[0].source_port ^ 1, at_n4, 51900, payload)
        wait_for_drops(n4, "rx_relay_source", 2 * len(fresh))
        # Channels that nobody opened, from where n2 is.
        unknown = n4.drops()["rx_unknown_channel"]
        for _ in range(50):
            forger.send(at_n2, relayed[0].source_port, at_n4, 51900,
                        b"\4\0" + os.urandom(6) + bytes(8) + os.urandom(48))
        wait_for_drops(n4, "rx_unknown_channel", unknown + 50)
        check_equal([d for d in capture.datagrams() if d.target == "198.51.100.15"], [],
                    "what the stranger hears")
    check(metric(n4, RELAYED) - sent < 20, "none of that was sent on")
    check_equal(n3.drops()["rx_replayed"], before["rx_replayed"], "replays that reached n3")
    ping(n2, n3.vip4, count=5)
    # Beyond the quota of the pair: counted, and the other direction does not suffer.
    n2.run("ping", "-f", "-q", "-l", "200", "-c", "2000", "-s", "1100", "-w", "10", n3.vip4, check=False)
    dropped = wait_for_drops(n4, "rx_relay_quota", 1)
    print(f"{dropped} datagrams beyond the quota")
    time.sleep(0.5)  # until the quota has room
    ping(n3, n2.vip4, count=5)
    # Who is revoked is not relayed any more, whatever the others know.
    n4.omnictl("cluster", "revoke", "n2", "--yes", "--reason", "stolen")
    check_equal(received(n2, n3, "-W", "1", count=3), 0, "answers once n2 is revoked")
    check_equal(int(n4.status()["relay"].get("pairs", 0)), 0, "pairs")


run(behind_hard_nats_there_is_the_willing_peer, beside_a_nucleus_that_does_not_relay_as_well,
    who_is_not_willing_relays_nothing, a_pair_goes_direct_as_soon_as_it_can,
    a_relay_may_change_its_mind_and_its_place,
    strangers_forgers_and_the_greedy_get_nothing)
