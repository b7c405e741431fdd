# SPDX-License-Identifier: Apache-2.0
"""A member of the cluster sends from an inner address that is not its own: counted, not delivered.

    n1 10.77.0.1 and, stolen, 10.77.0.99, fd77::99 ---- n2 10.77.0.2
"""
from story import check, check_equal, connect, ping, run, scenario, wait_for_drops
from omnilab.sockets import Capture

STOLEN = ("10.77.0.99", "fd77::99")


@scenario(topology="pair")
def a_stolen_inner_source_is_refused(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    n1.run("ip", "address", "add", f"{STOLEN[0]}/32", "dev", "omni0")
    n1.run("ip", "address", "add", f"{STOLEN[1]}/128", "dev", "omni0", "nodad")
    with Capture(n2, "omni0") as inner:
        for stolen, target in zip(STOLEN, (n2.vip4, n2.vip6)):
            n1.run("ping", "-n", "-c", "5", "-i", "0.01", "-W", "0.1", "-I", stolen, target,
                   check=False)
        wait_for_drops(n2, "rx_inner_source", 10)
        seen = [p for p in inner.packets() if p[0] >> 4 == 4 and p[12:16] == b"\x0a\x4d\x00\x63"]
        check_equal(len(seen), 0, "packets from the stolen address that reached the host")
    ping(n1, n2.vip4, count=5)
    check(n2.peers()["n1"]["state"] == "PEER_STATE_UP", "the session lives")


run(a_stolen_inner_source_is_refused)
