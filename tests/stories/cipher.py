# SPDX-License-Identifier: Apache-2.0
"""Two ends agree on the cipher of their sessions, and both show it.

    n1 eth0 ---- eth0 n2
"""
from story import check, check_equal, connect, ping, run, scenario, steady_ping, wait_for
from omnilab import Options, measure

AES, CHACHA = "aes-256-gcm", "chacha20-poly1305"
SHORT = {"rekey_after_s": 5, "reject_after_s": 15}


def shown(node, peer):
    """The cipher of a peer's session, when all that shows it agrees."""
    current = [s["cipher"] for s in node.sessions()
               if s["peer"] == peer.name and s["slot"] == "current"]
    return current[0] if current == [node.peers()[peer.name]["cipher"]] else None


def wait_for_cipher(lab, cipher):
    n1, n2 = lab.nodes
    wait_for(lambda: shown(n1, n2) == cipher and shown(n2, n1) == cipher, 30,
             f"both ends show {cipher}")


def check_traffic(lab):
    """Packets of all sizes, both ways and over both families, and a file; none was damaged."""
    n1, n2 = lab.nodes
    for size in (0, 1, 15, 16, 17, 1000, 1392, 20000):
        ping(n1, n2.vip4, "-s", str(size), count=2)
        ping(n2, n1.vip6, "-s", str(size), count=2)
    measure.move_file(n1, n2, n1.vip4, megabytes=16)
    for node in lab.nodes:
        check_equal(node.drops()["rx_bad_tag"], 0, f"{node.name}: packets that do not authenticate")


def check_cipher(lab, cipher):
    n1, n2 = lab.nodes
    connect(n1, n2)
    wait_for_cipher(lab, cipher)
    check("Cipher:" in (text := n1.omnictl("peers", "show", "n2").stdout) and cipher in text, text)
    check_traffic(lab)


def offers(node, cipher):
    return any(c["name"] == cipher and c["offered"] for c in node.status()["dataplane"]["ciphers"])


@scenario(topology="pair", session={"cipher": AES})
def both_want_aes(lab):
    check_cipher(lab, AES)


@scenario(topology="pair", session={"cipher": CHACHA})
def both_want_chacha(lab):
    check(not offers(lab.nodes[0], AES), "AES is not offered")
    check_cipher(lab, CHACHA)


@scenario(topology="pair")
def what_both_measured_faster_is_taken(lab):
    for node in lab.nodes:
        for cipher in node.status()["dataplane"]["ciphers"]:
            check(cipher["ns_64"] > 0 and cipher["ns_1420"] > 0, f"{node.name}: measured: {cipher}")
    check_cipher(lab, AES if all(offers(node, AES) for node in lab.nodes) else CHACHA)


@scenario(topology="pair", session={"cipher": AES, **SHORT})
def a_reload_changes_the_next_session_and_loses_nothing(lab):
    n1, n2 = lab.nodes
    check_cipher(lab, AES)
    with steady_ping(n1, n2.vip4) as pings:
        for cipher in (CHACHA, AES):
            lab.write_config(n2, Options(session={"cipher": cipher, **SHORT}))
            n2.omnictl("reload")
            wait_for_cipher(lab, cipher)
            check_traffic(lab)
        pings.wait_for_more(20)
        check_equal(pings.lost(), [], "pings lost over two changes of the cipher")


run(both_want_aes, both_want_chacha, what_both_measured_faster_is_taken,
    a_reload_changes_the_next_session_and_loses_nothing)
