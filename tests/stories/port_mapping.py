# SPDX-License-Identifier: Apache-2.0
"""A node asks its router for a port, and so is met where it otherwise is not: a hard NAT by a peer
that filters ports. The router is miniupnpd, which is not ours.

    n2 eth0 --- r2 (symmetric NAT, miniupnpd) ---+
                                                 +--- internet --- n1: omni-nucleus
    n3 eth0 --- r3 (port-restricted) ------------+

miniupnpd grants no port of an address that is reserved, as all of the lab's are: r2 has another one,
11.0.0.12, which r3 knows the way to.
"""
from story import check, check_equal, ping, run, scenario, wait_for
from omnilab import process
from omnilab.config import PORT
from omnilab.shell import inside, ip_batch, run as shell

OUTER = "11.0.0.12"
CHAINS = """
table inet upnp {
  chain forward { type filter hook forward priority filter; policy accept; jump miniupnpd; }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump pre; }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept; jump post; }
  chain pre { }
  chain post { }
}
add rule ip nat forward ct status dnat accept
"""
CONFIGURATION = """
ext_ifname=wan
ext_ip={outer}
listening_ip=br0
enable_natpmp={natpmp}
enable_upnp={upnp}
secure_mode=yes
http_port=5000
uuid=00000000-0000-0000-0000-000000000001
upnp_table_name=upnp
upnp_nat_table_name=upnp
upnp_forward_chain=miniupnpd
upnp_nat_chain=pre
upnp_nat_postrouting_chain=post
allow 1024-65535 0.0.0.0/0 1024-65535
"""


def start_router(lab, natpmp, upnp):
    r2, r3 = (f"omni-{lab.name}-r{site}" for site in (2, 3))
    ip_batch([f"address add {OUTER}/32 dev wan"], r2)
    ip_batch([f"route add {OUTER}/32 via 198.51.100.12"], r3)
    shell(*inside(r2, ["nft", "-f", "-"]), stdin=CHAINS)
    configuration = f"{lab.directory}/miniupnpd.conf"
    with open(configuration, "w", encoding="utf-8") as file:
        file.write(CONFIGURATION.format(outer=OUTER, natpmp=natpmp, upnp=upnp))
    log = f"{lab.directory}/miniupnpd.log"
    process.start(inside(r2, ["miniupnpd", "-d", "-f", configuration, "-P",
                              f"{lab.directory}/miniupnpd.own.pid"]),
                  log, f"{lab.directory}/miniupnpd.pid")
    ready = "Listening for NAT-PMP" if natpmp == "yes" else "HTTP listening"
    wait_for(lambda: ready in process.tail(log), 10, "miniupnpd")
    return r2


def granted(router):
    """Rules that lead to our port."""
    rules = shell(*inside(router, ["nft", "list", "chain", "inet", "upnp", "pre"])).stdout
    return rules.count(f":{PORT}")


def meets(lab, protocol, natpmp="no", upnp="no", deaf=None):
    router = start_router(lab, natpmp, upnp)
    if deaf:
        shell(*inside(router, ["nft", "-f", "-"]), stdin="table inet deaf { chain input { "
              f"type filter hook input priority filter; {deaf}; }}; }}\n")
    n2, n3 = lab.nodes
    lab.nucleus.start()
    for node in lab.nodes:
        node.start_dataplane()
        node.start_controller()
    for node in lab.nodes:
        node.wait_ready()
    expected = {"protocol": protocol, "outer": f"{OUTER}:{PORT}", "error": ""}
    wait_for(lambda: n2.omnictl_json("netcheck").get("port_mapping") == expected, 20,
             f"n2 has a port by {protocol}")
    check_equal(granted(router), 1, "ports at the router")
    check(f"{OUTER}:{PORT} by {protocol}" in n2.omnictl("netcheck").stdout, "for people")
    wait_for(lambda: "n2" in n3.peers() and "n3" in n2.peers(), 30, "they know each other")
    ping(n2, n3.vip4, attempts=2)  # its record with the port may be a moment behind
    check_equal(n3.peers()["n2"]["endpoint"], f"{OUTER}:{PORT}", "where n3 meets n2")
    ping(n3, n2.vip6)
    n2.stop("controller")
    check_equal(granted(router), 0, "ports at the router after the end")


ACCESS = {"topology": "nat", "arguments": ("none", "symmetric", "port-restricted"),
          "nucleus": True, "start": False}


@scenario(**ACCESS)
def a_port_by_pcp(lab):
    meets(lab, "PCP", natpmp="yes")


@scenario(**ACCESS)
def a_port_by_nat_pmp(lab):
    """From a router that does not hear PCP, as older ones: miniupnpd always does."""
    meets(lab, "NAT-PMP", natpmp="yes", deaf="udp dport 5351 @th,64,8 2 drop")


@scenario(**ACCESS)
def a_port_by_upnp(lab):
    meets(lab, "UPnP", upnp="yes")


run(a_port_by_pcp, a_port_by_nat_pmp, a_port_by_upnp)
