# SPDX-License-Identifier: Apache-2.0
"""A machine has another cluster secret: the one it asks says so to its operator, and to nobody else.

    n1 secret A ---- n2 secret B
"""
from story import check, check_equal, run, scenario, wait_for
from omnilab.sockets import Capture


@scenario(topology="pair", secrets={"n2": "another-secret-of-sixteen-bytes"})
def the_peer_learns_nothing(lab):
    n1, n2 = lab.nodes
    with Capture(n1) as wire:
        n1.run("ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", n2.vip4, check=False)
        wait_for(lambda: "authentication" in n2.peers()["n1"]["last_error"], 15,
                 "n2 says that n1 fails authentication")
        heard = [d.payload[:1] for d in wire.datagrams() if d.source == n2.underlay["v4"]]
    check_equal(heard, [], "what n1 heard of n2")
    check("authentication" in n2.log("controller"), "n2's log says it, too")
    check_equal((n1.sessions(), n2.sessions()), ([], []), "sessions")
    shown = n2.omnictl("peers", "show", "n1").stdout
    check("authentication" in shown, f"omnictl peers show: {shown}")


run(the_peer_learns_nothing)
