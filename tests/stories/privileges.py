# SPDX-License-Identifier: Apache-2.0
"""What the daemons may do once they run, and what the same credentials may not.

    n1 eth0 ---- eth0 n2
"""
import os
import pwd

from story import check, check_equal, connect, run, scenario

CAP_NET_ADMIN = 1 << 12

# Each line prints "NAME ok" or "NAME errno"; run with the credentials of a daemon.
ATTEMPTS = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def attempt(name, action):
    try:
        action()
        print(name, "ok")
    except OSError as error:
        print(name, "EPERM" if error.errno == 1 else "EACCES" if error.errno == 13 else error)

def call(function, *arguments):
    if getattr(libc, function)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), function)

def low_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 80))

def mark():
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1)

attempt("become-root", lambda: os.setuid(0))
attempt("chroot", lambda: os.chroot("/tmp"))
attempt("mount", lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, None))
attempt("raw-socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close())
attempt("packet-socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close())
attempt("low-port", low_port)
attempt("kill-init", lambda: os.kill(1, 0))
attempt("hostname", lambda: socket.sethostname("x"))
attempt("network-admin", mark)
for path in sys.argv[1:]:
    attempt(path, lambda: os.close(os.open(path, os.O_RDONLY)))
"""


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file)


def check_credentials(pid, user, capabilities):
    entry = pwd.getpwnam(user)
    status = status_of(pid)
    check_equal(status["Uid"].split(), [str(entry.pw_uid)] * 4, f"{user}: uids")
    check_equal(status["Gid"].split(), [str(entry.pw_gid)] * 4, f"{user}: gids")
    check(set(status["Groups"].split()) <= {str(entry.pw_gid)}, f"{user}: {status['Groups']}")
    for name in ("CapPrm", "CapEff"):
        check_equal(int(status[name], 16), capabilities, f"{user}: {name}")
    for name in ("CapInh", "CapAmb", "CapBnd"):
        check_equal(int(status[name], 16), 0, f"{user}: {name}")
    check_equal(status["NoNewPrivs"], "1", f"{user}: no_new_privs")
    # Every thread: capabilities are per thread.
    for task in os.listdir(f"/proc/{pid}/task"):
        check_equal(int(status_of(f"{pid}/task/{task}")["CapEff"], 16), capabilities,
                    f"{user}: CapEff of thread {task}")


def attempts_as(node, user, capability, *files):
    """Outcome of each attempt with the credentials of a daemon."""
    caps = ["--inh-caps", f"-all,+{capability}", "--ambient-caps", f"-all,+{capability}",
            "--bounding-set", f"-all,+{capability}"] if capability else [
                "--inh-caps", "-all", "--ambient-caps", "-all", "--bounding-set", "-all"]
    done = node.run("setpriv", "--reuid", user, "--regid", user, "--clear-groups", *caps,
                    "--no-new-privs", "/usr/bin/python3", "-c", ATTEMPTS, *files)
    return dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())


FORBIDDEN = {"become-root": "EPERM", "chroot": "EPERM", "mount": "EPERM", "raw-socket": "EPERM",
             "packet-socket": "EPERM", "low-port": "EACCES", "kill-init": "EPERM",
             "hostname": "EPERM"}


@scenario(topology="pair")
def the_daemons_hold_what_they_need(lab):
    n1, n2 = lab.nodes
    connect(n1, n2)
    check_credentials(n1.pid("dataplane"), "omni-dataplane", CAP_NET_ADMIN)
    check_credentials(n1.pid("controller"), "omni", 0)


@scenario(topology="pair", path="afxdp")
def afxdp_needs_no_more(lab):
    """What loading the program and opening the sockets took is given back."""
    n1, n2 = lab.nodes
    connect(n1, n2)
    check_equal(n1.status()["dataplane"]["path"], "afxdp", "the path")
    check_credentials(n1.pid("dataplane"), "omni-dataplane", CAP_NET_ADMIN)


@scenario(topology="pair", start=False)
def what_is_forbidden_fails(lab):
    n1 = lab.nodes[0]
    keys = (f"{n1.directory}/identity/identity.key", f"{n1.directory}/identity/static.key",
            f"{n1.directory}/secret")
    got = attempts_as(n1, "omni-dataplane", "net_admin", *keys)
    check_equal(got, FORBIDDEN | {"network-admin": "ok"} | dict.fromkeys(keys, "EACCES"),
                "as the dataplane")
    got = attempts_as(n1, "omni", None, "/etc/shadow")
    check_equal(got, FORBIDDEN | {"network-admin": "EPERM", "/etc/shadow": "EACCES"},
                "as the controller")


@scenario(topology="pair")
def the_sockets_are_for_those_who_need_them(lab):
    n1 = lab.nodes[0]
    for user, group, code in (("nobody", "nogroup", 3), ("omni-dataplane", "omni-dataplane", 3),
                              ("nobody", "omni", 0), ("omni", "omni", 0)):
        done = n1.run("setpriv", "--reuid", user, "--regid", group, "--clear-groups", "omnictl",
                      "--timeout", "2", "status", check=False)
        check_equal(done.returncode, code, f"omnictl as {user}, group {group}: {done.stderr}")
    check("permission denied" in n1.run("setpriv", "--reuid", "nobody", "--regid", "nogroup",
                                        "--clear-groups", "omnictl", "status", check=False).stderr,
          "omnictl says why")


run(the_daemons_hold_what_they_need, afxdp_needs_no_more, what_is_forbidden_fails,
    the_sockets_are_for_those_who_need_them)
