# SPDX-License-Identifier: Apache-2.0
"""Thirty machines on a switch; each talks to each, all at once.

    n1 --+
    n2 --+-- br0        435 pairs
    n30 -+
"""
from story import check, check_equal, run, scenario

NODES = 30
PING_ALL = """
for target in {targets}; do
  ping -n -q -c 2 -i 0.2 -W 15 "$target" >/dev/null || echo "$target" &
done
wait
"""


@scenario(topology="star", arguments=(str(NODES),), workers=1)
def everybody_talks_to_everybody(lab):
    pings = []
    for node in lab.nodes:
        targets = " ".join(other.vip4 for other in lab.nodes if other is not node)
        pings.append((node, node.popen("bash", "-c", PING_ALL.format(targets=targets), stdout=-1,
                                       text=True)))
    silent = {node.name: out.split() for node, p in pings if (out := p.communicate()[0]).strip()}
    check_equal(silent, {}, "who was not reached by whom")
    for node in lab.nodes:
        up = [peer for peer in node.peers().values() if peer["state"] == "PEER_STATE_UP"]
        check_equal(len(up), NODES - 1, f"peers of {node.name} that are up")
    sessions = {s["session_id"] for node in lab.nodes for s in node.sessions()}
    check(len(sessions) >= NODES * (NODES - 1) // 2, f"{len(sessions)} sessions")


run(everybody_talks_to_everybody)
