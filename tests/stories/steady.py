# SPDX-License-Identifier: Apache-2.0
"""100 Mbit/s of UDP through the tunnel, and not one packet is lost.

    n1 eth0 ==== eth0 n2        15 s; OMNI_STEADY_SECONDS=60 for the long run
"""
import os

from story import check, connect, run, scenario, where_lost
from omnilab import measure


@scenario(topology="pair")
def no_packet_is_lost(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    seconds = int(os.environ.get("OMNI_STEADY_SECONDS", "15"))
    lost, sent = measure.udp(n1, n2, n2.vip4, seconds)
    print(f"    {sent} packets in {seconds} s", flush=True)
    check(sent * 1200 * 8 >= 90e6 * seconds, f"the sender kept its rate: {sent} packets")
    check(lost == 0, f"lost {lost} of {sent} packets over IPv4; {where_lost(lab)}")
    lost, sent = measure.udp(n1, n2, n2.vip6, seconds=2)
    check(lost == 0, f"lost {lost} of {sent} packets over IPv6; {where_lost(lab)}")
    check(measure.move_file(n2, n1, n2.vip6, megabytes=16), "a file arrives whole")


run(no_packet_is_lost)
