# SPDX-License-Identifier: Apache-2.0
"""Sessions are replaced under load, and not one packet is lost for it.

    n1 eth0 ---- eth0 n2        rekey after 5 s
"""
from story import check, check_equal, connect, run, scenario, session_ids, where_lost
from omnilab import measure


@scenario(topology="pair", session={"rekey_after_s": 5, "reject_after_s": 15})
def no_packet_is_lost_over_a_rekey(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    before = session_ids(n1)
    lost, sent = measure.udp(n1, n2, n2.vip4, seconds=13, mbit=50)
    check(sent > 50_000, f"{sent} packets were sent")
    check(lost == 0, f"lost {lost} of {sent} packets; {where_lost(lab)}")
    check(int(n1.peers()["n2"]["handshakes"]) >= 3, "two rekeys or more")
    check(not before & session_ids(n1), "the first session is gone")
    for node in lab.nodes:
        drops = {reason: n for reason, n in node.drops().items()
                 if n and reason in ("rx_unknown_channel", "rx_bad_tag", "rx_replayed",
                                     "rx_session_expired", "tx_no_session")}
        check_equal(drops, {}, f"drops on {node.name}")


run(no_packet_is_lost_over_a_rekey)
