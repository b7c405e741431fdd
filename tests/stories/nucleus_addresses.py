# SPDX-License-Identifier: Apache-2.0
"""Machines that do not even know their own virtual address: the Nucleus gives them one.

    n1 eth0 --+        n1: omni-nucleus, with the pools 10.77.0.0/24 and fd77::/64
    n2 eth0 --+-- br0
    n3 eth0 --+        n2: addresses = ["auto"];  n3: 10.77.0.3 and fd77::3
"""
from story import check, check_equal, nucleus_status, ping, run, scenario, wait_for


def addresses(node):
    return node.status()["addresses"]


def host(address):
    return address.split("/")[0]


def make_automatic(node):
    with open(node.config_file, encoding="utf-8") as file:
        text = file.read()
    with open(node.config_file, "w", encoding="utf-8") as file:
        file.write(text.replace(f'["{node.vip4}/24", "{node.vip6}/64"]', '["auto"]'))


def start(lab):
    make_automatic(lab.nodes[0])
    lab.start_all()


def wait_addresses(node):
    wait_for(lambda: len(addresses(node)) == 2, 30, f"{node.name} has addresses")
    return addresses(node)


def wait_allowed(node, peer, prefixes):
    wait_for(lambda: sorted(node.peers().get(peer, {}).get("allowed", [])) == sorted(prefixes), 30,
             f"{node.name} knows {prefixes} of {peer}")


@scenario(topology="star", arguments=("3",), nucleus=True, start=False)
def a_node_without_an_address_is_given_one_and_keeps_it(lab):
    n2, n3 = lab.nodes
    start(lab)
    v4, v6 = wait_addresses(n2)
    check(v4.startswith("10.77.0.") and v4.endswith("/24"), v4)
    check(v6.startswith("fd77::") or v6.startswith("fd77:0:0:0:"), v6)
    check(host(v4) in n2.run("ip", "-4", "address", "show", "omni0").stdout, "it is on omni0")
    wait_allowed(n3, "n2", [f"{host(v4)}/32", f"{host(v6)}/128"])
    ping(n3, host(v4))
    ping(n2, n3.vip6)
    check_equal(nucleus_status(n2)["address_source"], "ADDRESS_SOURCE_NUCLEUS", "source")
    check("from the Nucleus" in n2.omnictl("nucleus", "status").stdout, "and for people")
    check_equal(lab.nucleus.metric("omni_nucleus_leases"), 2.0, "leases")
    # Without its Nucleus it is who it was.
    lab.nucleus.stop("nucleus")
    n2.stop("controller")
    n2.start_controller()
    n2.wait_ready()
    check_equal(addresses(n2), [v4, v6], "addresses after a restart without the Nucleus")
    ping(n2, n3.vip4)
    lab.nucleus.start()
    wait_for(lambda: nucleus_status(n2)["state"] == "NUCLEUS_STATE_REGISTERED", 100, "back")
    check_equal(addresses(n2), [v4, v6], "addresses after a restart of the Nucleus")
    check_equal(lab.nucleus.metric("omni_nucleus_leases"), 2.0, "leases")


@scenario(topology="star", arguments=("3",), nucleus=True, start=False)
def what_is_released_goes_and_a_reload_asks_again(lab):
    n2, n3 = lab.nodes
    start(lab)
    v4, v6 = wait_addresses(n2)
    wait_allowed(n3, "n2", [f"{host(v4)}/32", f"{host(v6)}/128"])
    n2.omnictl("nucleus", "release")
    check_equal(addresses(n2), [], "addresses after the release")
    check("10.77.0." not in n2.run("ip", "-4", "address", "show", "omni0").stdout, "gone from omni0")
    wait_for(lambda: lab.nucleus.metric("omni_nucleus_leases") == 0.0, 30, "the lease ends")
    wait_for(lambda: "n2" not in n3.peers(), 30, "n3 lets go of the peer")
    refused = n3.omnictl("nucleus", "release", check=False)
    check_equal(refused.returncode, 5, f"exit code on a configured node: {refused.stderr}")
    n2.omnictl("reload")
    v4, v6 = wait_addresses(n2)
    wait_allowed(n3, "n2", [f"{host(v4)}/32", f"{host(v6)}/128"])
    ping(n3, host(v4))


run(a_node_without_an_address_is_given_one_and_keeps_it,
    what_is_released_goes_and_a_reload_asks_again)
