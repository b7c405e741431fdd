# SPDX-License-Identifier: Apache-2.0
"""The configuration changes while the daemons run: what changed is applied, the rest is left alone.

    n1 --+
    n2 --+-- br0
    n3 --+
"""
import signal

from story import check, check_equal, connect, ping, run, scenario, session_ids, wait_for
from omnilab import Options
from omnilab.config import write_private


@scenario(topology="star", arguments=("3",))
def only_the_difference_is_applied(lab):
    n1, n2, n3 = lab.nodes
    connect(n1, n2)
    connect(n1, n3)
    kept = session_ids(n1, n2)

    lab.write_config(n1, Options(), peers=[n2])
    n1.signal("controller", signal.SIGHUP)
    wait_for(lambda: list(n1.peers()) == ["n2"], 10, "n3 is gone")
    check_equal(session_ids(n1, n2), kept, "sessions with n2")
    check_equal(session_ids(n1, n3), set(), "sessions with n3")
    failed = n1.run("ping", "-n", "-c", "1", "-W", "1", n3.vip4, check=False)
    check(failed.returncode != 0, "n3 is not reached any more")

    lab.write_config(n1, Options())
    answer = n1.omnictl_json("reload")
    check_equal(answer, {"peers_added": 1, "peers_removed": 0, "peers_changed": 0}, "the answer")
    # n3 may answer the first one on the session that n1 has forgotten.
    ping(n1, n3.vip4, attempts=2)
    check_equal(session_ids(n1, n2), kept, "sessions with n2")


@scenario(topology="pair")
def a_wrong_file_changes_nothing(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    kept = session_ids(n1)
    with open(n1.config_file, encoding="utf-8") as file:
        good = file.read()
    write_private(n1.config_file, good.replace("allowed =", "alowed ="))
    done = n1.omnictl("reload", check=False)
    check_equal(done.returncode, 2, f"exit code; {done.stderr}")
    check(n1.config_file in done.stderr and "alowed" in done.stderr, done.stderr)
    check("alowed" in n1.status()["controller"]["last_reload_error"], "status says it")
    ping(n1, n2.vip4, count=5)
    check_equal(session_ids(n1), kept, "sessions")
    write_private(n1.config_file, good)
    n1.omnictl("reload")
    check_equal(n1.status()["controller"]["last_reload_error"], "", "the error is gone")


@scenario(topology="pair", secrets={"n2": "a-secret-that-is-wrong-for-now"})
def peers_change_at_run_time_and_survive_a_restart(lab):
    n1, n2 = lab.nodes
    n1.omnictl("peers", "add", "late", "--key", lab.keys["n1"], "--allowed", "10.77.0.50/32",
               check=False)
    check("late" not in n1.peers(), "our own key is no peer's")
    with open(f"{n1.directory}/secret", encoding="utf-8") as secret:
        write_private(f"{n2.directory}/secret", secret.read())
    lab.write_config(n2, Options(), peers=[])
    n2.stop("controller")
    n2.start_controller()
    n2.wait_ready()
    check_equal(n2.peers(), {}, "n2 knows nobody")
    n2.omnictl("peers", "add", "n1", "--key", lab.keys["n1"], "--endpoint", "192.0.2.1:51900",
               "--allowed", "10.77.0.1/32,fd77::1/128")
    connect(n2, n1)
    n2.stop("controller")
    n2.start_controller()
    n2.wait_ready()
    check_equal(n2.peers()["n1"]["origin"], "PEER_ORIGIN_API", "origin after a restart")
    n2.omnictl("peers", "remove", "n1")
    check_equal(n2.peers(), {}, "n2 knows nobody again")
    check_equal(n2.sessions(), [], "sessions")


run(only_the_difference_is_applied, a_wrong_file_changes_nothing,
    peers_change_at_run_time_and_survive_a_restart)
