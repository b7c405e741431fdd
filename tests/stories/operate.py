# SPDX-License-Identifier: Apache-2.0
"""What an administrator and a script do with a running node: take it down and up, wait, watch.

    pair: n1 eth0 ---- eth0 n2          star: n1 (Nucleus), n2, n3 on one switch
"""
import contextlib
import json
import subprocess

from story import (check, check_equal, connect, ping, run, scenario, session_ids, wait_for,
                   wait_knows)

WATCH_S = 30


def link(node):
    (shown,) = json.loads(node.run("ip", "-j", "address", "show", "omni0").stdout)
    return "UP" in shown["flags"], [a["local"] for a in shown["addr_info"]
                                    if a["scope"] == "global"]


def unanswered(node, address):
    return " 0 received" in node.run("ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", address,
                                     check=False).stdout


@contextlib.contextmanager
def watching(node, *arguments):
    """`peers watch` as it runs; yields a function that gives its changes so far."""
    path = f"{node.directory}/watch.json"
    with open(path, "wb") as out:
        child = node.popen("omnictl", "peers", "watch", *arguments, "--output", "json", stdout=out,
                           stderr=subprocess.STDOUT)

    def changes():
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file.read().split("\n")[:-1]]
    try:
        yield changes
    finally:
        child.terminate()
        child.wait()


def has(changes, kind, **peer):
    return any(c["kind"] == f"KIND_{kind}" and
               all(c["peer"].get(key) == value for key, value in peer.items()) for c in changes)


@scenario(topology="pair")
def down_is_silence_and_up_is_as_before(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    check_equal(n1.omnictl("down").stdout, "down\n", "what down says")
    check_equal(link(n1), (False, []), "omni0 is down and has no address")
    check_equal(session_ids(n1), set(), "no session")
    check_equal(n1.status()["state"], "NODE_STATE_DOWN", "status")
    check("down; omnictl up" in n1.omnictl("status").stdout, "status for people")
    check(unanswered(n2, n1.vip4), "nobody answers n2")
    check_equal(n1.omnictl("ping", "n2", "--count", "1", check=False).returncode, 5,
                "exit code of a ping from a node that is down")
    late = n1.omnictl("wait", "online", "--timeout", "0.5", check=False)
    check_equal(late.returncode, 7, "exit code of wait")
    check("the node is down: omnictl up" in late.stderr, late.stderr)
    # Neither daemon forgets it.
    n1.stop("controller")
    n1.start_controller()
    n1.wait_ready()
    n1.crash("dataplane")
    wait_for(lambda: n1.status()["dataplane"]["connected"], 30, "the dataplane is back")
    check_equal(link(n1), (False, []), "omni0 after restarts of both daemons")
    check(unanswered(n2, n1.vip6), "still nobody answers n2")
    check_equal(n1.omnictl("up").stdout, "up\n", "what up says")
    check_equal(link(n1), (True, [n1.vip4, n1.vip6]), "omni0 is as it was")
    ping(n1, n2.vip4, attempts=3)
    ping(n2, n1.vip6, attempts=3)
    n1.omnictl("up")  # no error


@scenario(topology="pair")
def what_changes_while_the_node_is_down_holds_when_it_is_up(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    n1.omnictl("down")
    n1.omnictl("identity", "new", "--dir", f"{n1.directory}/spare")
    key = n1.omnictl("identity", "export", "--dir", f"{n1.directory}/spare").stdout.strip()
    n1.omnictl("peers", "add", "other", "--key", key, "--allowed", "198.51.100.0/24")
    n1.omnictl("reload")
    check_equal(link(n1), (False, []), "omni0 stays down")
    n1.omnictl("up")
    check("omni0" in n1.run("ip", "route", "get", "198.51.100.1").stdout, "the route of the new peer")
    ping(n1, n2.vip4, attempts=3)


@scenario(topology="star", arguments=("3",), nucleus=True)
def scripts_wait_and_watch(lab):
    n2, n3 = lab.nodes
    check_equal(n2.omnictl("wait", "online", "--timeout", "30").stdout, "online\n", "wait online")
    n3.omnictl("wait", "online", "--timeout", "30")
    wait_knows(n2, "n3")
    with watching(n2) as changes:
        wait_for(lambda: has(changes(), "PRESENT", name="n3"), WATCH_S, "the watcher has begun")
        answer = n2.omnictl("wait", "peer", "n3", "--direct", "--timeout", "30").stdout
        check(answer.startswith("n3: ") and "192.0.2.3" in answer or "2001:db8::3" in answer, answer)
        wait_for(lambda: has(changes(), "CHANGED", name="n3", state="PEER_STATE_UP"), WATCH_S,
                 "the watcher sees n3 up")
        pinged = n2.omnictl("ping", "n3", "--until-direct", "--interval", "0.1")
        check("direct" in pinged.stdout, pinged.stdout)
        # It leaves: the Nucleus knows at once, and nobody is sent there.
        n3.omnictl("down")
        wait_for(lambda: lab.nucleus.metric("omni_nucleus_connected_nodes") == 1, 10,
                 "the Nucleus knows that n3 has left")
        check_equal(n3.omnictl_json("nucleus", "status")["state"], "NUCLEUS_STATE_DOWN",
                    "nucleus status of n3")
        late = n2.omnictl("wait", "peer", "n3", "--timeout", "2", check=False)
        check_equal(late.returncode, 7, "exit code of waiting for one that is down")
        check("wait: peer n3: not within 2 s: " in late.stderr, late.stderr)
        failed = n2.omnictl("ping", "n3", "--until-direct", "--count", "2", "--wait", "0.3",
                            "--interval", "0.3", check=False)
        check_equal(failed.returncode, 1, "exit code of ping --until-direct")
        n3.omnictl("up")
        n3.omnictl("wait", "online", "--timeout", "30")
        n2.omnictl("wait", "peer", "n3", "--timeout", "60")
        nobody = n2.omnictl("wait", "peer", "nobody", "--timeout", "0.5", check=False)
        check("no peer \"nobody\"" in nobody.stderr or "nobody" in nobody.stderr, nobody.stderr)
    n2.stop("controller")
    gone = n2.omnictl("wait", "online", "--timeout", "0.5", check=False)
    check_equal(gone.returncode, 3, "exit code without a controller")


@scenario(topology="pair")
def a_watch_ends_with_its_controller(lab):
    n1, _ = lab.nodes
    with watching(n1) as changes:
        wait_for(lambda: has(changes(), "PRESENT", name="n2"), WATCH_S, "n2 is there")
    watcher = n1.popen("omnictl", "peers", "watch", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True)
    check("n2: idle" in watcher.stdout.readline(), "a line for people")
    n1.stop("controller")
    _, error = watcher.communicate(timeout=30)
    check_equal(watcher.returncode, 3, f"exit code of a watch whose controller ended: {error}")


run(down_is_silence_and_up_is_as_before, what_changes_while_the_node_is_down_holds_when_it_is_up,
    scripts_wait_and_watch, a_watch_ends_with_its_controller)
