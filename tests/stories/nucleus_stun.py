# SPDX-License-Identifier: Apache-2.0
"""STUN clients that are not ours agree with the Nucleus about where they are.

    n1 198.51.100.11, ports 51900 and 51901 --+        n1: omni-nucleus
    n2 --- r2 (full-cone NAT) ----------------+-- internet
    n3 --- r3 (symmetric NAT) ----------------+
"""
import re

from story import check, check_equal, run, scenario

FIRST, SECOND = "51900", "51901"
SERVER = "198.51.100.11"


def reflexive(node, port=FIRST, source=None):
    """(address, port) that coturn's client finds."""
    shown = node.run("turnutils_stunclient", "-p", port, *(["-L", source] if source else []),
                     SERVER, timeout=30).stdout
    found = re.search(r"UDP reflexive addr: ([\d.]+):(\d+)", shown)
    check(found is not None, f"turnutils_stunclient on {node.name}: {shown}")
    return found.groups()


@scenario(topology="nat", arguments=("none", "full-cone", "symmetric"), nucleus=True, start=False)
def coturns_client_is_told_where_it_is(lab):
    n2, n3 = lab.nodes
    lab.nucleus.start()
    for node, outer in ((n2, "198.51.100.12"), (n3, "198.51.100.13")):
        for port in (FIRST, SECOND):
            check_equal(reflexive(node, port)[0], outer, f"{node.name} at port {port}")
    # From the public machine itself there is no NAT to see.
    check_equal(reflexive(lab.nucleus, source=SERVER)[0], SERVER, "the Nucleus' own machine")
    check(lab.nucleus.metric("omni_nucleus_stun_answered_total") >= 5.0, "answers are counted")
    check_equal(lab.nucleus.metric("omni_nucleus_stun_refused_total"), 0.0, "refused")


run(coturns_client_is_told_where_it_is)
