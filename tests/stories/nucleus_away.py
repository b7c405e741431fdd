# SPDX-License-Identifier: Apache-2.0
"""A Nucleus whose address is wrong, dead, or one of several: each ends in a state that says so.

    n1 eth0 --+        n1: omni-nucleus at 192.0.2.1 and 2001:db8::1
    n2 eth0 --+-- br0
    n3 eth0 --+        192.0.2.99 and 2001:db8::99 are nobody's
"""
import contextlib
import os
import shutil

from story import check, check_equal, nucleus_status, ping, run, scenario, wait_for
from omnilab import Options

DEAD_V4, DEAD_V6 = "192.0.2.99:51900", "[2001:db8::99]:51900"
OPTIONS = {"topology": "star", "arguments": ("3",), "nucleus": True, "start": False}


def start(lab, addresses):
    """All daemons; n2 looks for the Nucleus at these addresses."""
    n2, _ = lab.nodes
    lab.write_config(n2, Options(), nucleus={"addresses": addresses})
    lab.start_all()
    return n2


def wait_registered(node, timeout=30):
    wait_for(lambda: nucleus_status(node)["state"] == "NUCLEUS_STATE_REGISTERED", timeout,
             f"{node.name}: registration")


@contextlib.contextmanager
def hosts(node, text):
    """The node's own /etc/hosts, as `ip netns exec` puts it in place."""
    directory = f"/etc/netns/{node.namespace}"
    os.makedirs(directory)
    try:
        with open(f"{directory}/hosts", "w", encoding="utf-8") as file:
            file.write(text)
        with open(f"{directory}/resolv.conf", "w", encoding="utf-8"):
            pass  # nobody is asked
        yield
    finally:
        shutil.rmtree(directory)


@scenario(**OPTIONS)
def among_dead_addresses_of_both_families_the_live_one_is_found(lab):
    n2 = start(lab, [DEAD_V4, DEAD_V6, "192.0.2.1:51900"])
    wait_registered(n2, timeout=5)
    check_equal(nucleus_status(n2)["endpoint"], "192.0.2.1:51900", "where it was found")
    wait_for(lambda: "n3" in n2.peers(), 30, "n2 knows n3")
    ping(n2, lab.nodes[1].vip4)


@scenario(**OPTIONS)
def a_name_with_several_addresses_is_tried_at_all_of_them(lab):
    n2, _ = lab.nodes
    with hosts(n2, "127.0.0.1 localhost\n192.0.2.99 nucleus.test\n2001:db8::99 nucleus.test\n"
                   "2001:db8::1 nucleus.test\n"):
        start(lab, ["nucleus.test:51900"])
        wait_registered(n2, timeout=5)
        check_equal(nucleus_status(n2)["endpoint"], "[2001:db8::1]:51900", "where it was found")


@scenario(**OPTIONS)
def when_none_answers_each_is_named(lab):
    n2 = start(lab, [DEAD_V4, DEAD_V6])
    wait_for(lambda: nucleus_status(n2)["state"] == "NUCLEUS_STATE_WAITING" and
             nucleus_status(n2)["last_error"], 40, "n2 gives up for now")
    status = nucleus_status(n2)
    for address in (DEAD_V4, DEAD_V6):
        check(f"{address}: no answer" in status["last_error"], status["last_error"])
    check("next_try_in" in status, "and says when it tries again")
    late = n2.omnictl("wait", "online", "--timeout", "0.5", check=False)
    check_equal(late.returncode, 7, "exit code of wait online")
    check("not registered with the Nucleus" in late.stderr, late.stderr)


@scenario(**OPTIONS)
def a_name_that_does_not_resolve_is_said_so_and_asked_again(lab):
    n2, _ = lab.nodes
    with hosts(n2, "127.0.0.1 localhost\n"):
        start(lab, ["nucleus.test:51900"])
        wait_for(lambda: "resolve nucleus.test: " in nucleus_status(n2)["last_error"], 30,
                 "n2 says that the name is unknown")
        check("not registered" in n2.omnictl("nucleus", "status").stdout, "state for people")
        # Within the file, which the namespace has in place already.
        with open(f"/etc/netns/{n2.namespace}/hosts", "a", encoding="utf-8") as file:
            file.write("192.0.2.1 nucleus.test\n")
        wait_registered(n2, timeout=40)


@scenario(**OPTIONS)
def what_answers_and_is_no_nucleus_is_said_so(lab):
    n2, n3 = lab.nodes
    start(lab, [f"{n3.underlay['v4']}:51900"])  # another node: it answers no stranger
    wait_for(lambda: "192.0.2.3:51900: no answer" in nucleus_status(n2)["last_error"], 40,
             "n2 says that nobody answers there")


run(among_dead_addresses_of_both_families_the_live_one_is_found,
    a_name_with_several_addresses_is_tried_at_all_of_them, when_none_answers_each_is_named,
    a_name_that_does_not_resolve_is_said_so_and_asked_again,
    what_answers_and_is_no_nucleus_is_said_so)
