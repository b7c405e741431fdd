# SPDX-License-Identifier: Apache-2.0
"""What every story starts from: scenarios, each with a lab of its own, and a few things they share.

    @scenario(topology="pair")
    def two_machines_talk(lab): ...

    run(two_machines_talk)

Import it before anything of omnilab: it knows where that is.
"""
import argparse
import contextlib
import json
import os
import re
import sys
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab"))
from omnilab import Lab, LabError, Options, process, shell, wait_for  # noqa: E402

SKIPPED = 77
_build = "build/release"
_path = None       # of every dataplane that a scenario gives none
_xdp = None        # likewise
_in_kernel = None  # None: as the scenario says


def scenario(**options):
    """The options of the lab that a scenario's function gets."""
    def attach(function):
        function.options = options
        return function
    return attach


def run(*scenarios):
    """Runs scenarios in order and ends the program: 0 when all held, 77 when they cannot run here."""
    global _build, _in_kernel, _path, _xdp
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=_build, help="where the programs were built")
    parser.add_argument("--in-kernel", choices=("auto", "on", "off"),
                        help="the in-kernel path of all dataplanes")
    parser.add_argument("--path", choices=("socket", "afxdp"),
                        help="of every dataplane that a scenario gives none")
    parser.add_argument("--xdp", choices=("off", "native", "generic"),
                        help="of every dataplane that a scenario gives none")
    parser.add_argument("--only", help="one scenario, by name")
    arguments = parser.parse_args()
    _build = arguments.build
    _in_kernel, _path, _xdp = arguments.in_kernel, arguments.path, arguments.xdp
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        sys.exit(SKIPPED)
    process.interrupt_on_termination()
    chosen = [s for s in scenarios if arguments.only in (None, s.__name__)]
    failed = [s.__name__ for s in chosen if not _holds(s)]
    print(f"{len(chosen) - len(failed)} of {len(chosen)} scenarios hold", flush=True)
    sys.exit(1 if failed or not chosen else 0)


def build_directory():
    """Where the programs under test are."""
    return os.path.abspath(_build)


def xdp_is_native():
    """Whether this run is one with native XDP on every interface."""
    return _xdp == "native"


def _lab_name(function):
    """A name of its own for each run, so that stories run side by side."""
    return (re.sub(r"[^a-z0-9]", "", function.__name__.lower())[:10] + f"{os.getpid():x}")[:24]


def _holds(function):
    print(f"--- {function.__name__.replace('_', ' ')}", flush=True)
    try:
        options = {"path": _path, "xdp": _xdp, **function.options}
        if _in_kernel is not None:
            options["in_kernel"] = _in_kernel
        with Lab.up(Options(name=_lab_name(function), build=_build, **options)) as lab:
            try:
                function(lab)
            except Exception:
                _print_logs(lab)
                raise
    except (AssertionError, LabError, KeyError, ValueError, OSError, StopIteration):
        traceback.print_exc(file=sys.stdout)
        return False
    return True


def _print_logs(lab):
    if lab.nucleus:
        print(f"nucleus: {process.tail(f'{lab.nucleus.directory}/nucleus.log', 25)}", flush=True)
    for node in lab.nodes[:4]:
        for daemon in ("dataplane", "controller"):
            print(f"{node.name} {daemon}:"
                  f"{process.tail(f'{node.directory}/{daemon}.log', 25)}", flush=True)


def check_equal(got, expected, what):
    if got != expected:
        raise AssertionError(f"{what}: {got!r}, expected {expected!r}")


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def ping(node, address, *options, count=1, attempts=1):
    """All of `count` echoes are answered, in one of the attempts; a first one may wait for a
    handshake."""
    for _ in range(attempts):
        done = node.run("ping", "-n", "-c", str(count), "-i", "0.02", "-W", "10", *options, address,
                        check=False, timeout=60)
        if f" {count} received" in done.stdout:
            return
    check(f" {count} received" in done.stdout,
          f"{node.name} pings {address}: {done.stdout}{done.stderr}")


def connect(first, second):
    """A confirmed session between two nodes."""
    ping(first, second.vip4)
    first.wait_up(second)
    second.wait_up(first)


def nucleus_status(node):
    """What the node says of its Nucleus."""
    return node.omnictl_json("nucleus", "status")


def stop_nucleus(lab, nodes):
    """It ends, and the nodes know."""
    lab.nucleus.stop("nucleus")
    for node in nodes:
        wait_for(lambda n=node: nucleus_status(n)["state"] != "NUCLEUS_STATE_REGISTERED", 60,
                 f"{node.name} notices")


def wait_knows(node, *names, timeout=30):
    """Until a node has these peers."""
    wait_for(lambda: set(names) <= set(node.peers()), timeout, f"{node.name} knows {names}")


def wait_all_know(lab, timeout=30):
    """Until every node has all others as peers."""
    for node in lab.nodes:
        wait_knows(node, *(other.name for other in lab.nodes if other is not node), timeout=timeout)


def session_ids(node, peer=None):
    return {s["session_id"] for s in node.sessions() if peer is None or s["peer"] == peer.name}


def current_session(node, peer):
    """Id of the session that sends to `peer`, None without one."""
    return next((s["session_id"] for s in node.sessions()
                 if s["peer"] == peer.name and s["slot"] == "current"), None)


@contextlib.contextmanager
def steady_ping(node, address, interval=0.02):
    """A ping that runs while the context lasts. Yields an object whose replies() are the sequence
    numbers and times, in seconds, of all answers so far."""
    path = f"{node.directory}/ping.log"
    with open(path, "wb") as log:
        pinger = node.popen("ping", "-n", "-D", "-O", "-i", str(interval), address, stdout=log,
                            stderr=log)
    try:
        yield SteadyPing(path)
    finally:
        pinger.terminate()
        pinger.wait()


@contextlib.contextmanager
def by_the_kernel(node):
    """A node whose session data goes by AF_XDP takes the kernel's sockets for so long: captures and
    firewall rules see nothing of the other."""
    def go(path, *options):
        node.omnictl("path", *options)
        wait_for(lambda: node.status()["dataplane"]["path"] == path, 20, f"{node.name}: path {path}")
    if node.status()["dataplane"]["path"] != "afxdp":
        yield
        return
    go("socket", "set", "--path", "socket")
    try:
        yield
    finally:
        go("afxdp", "reset")


class SteadyPing:
    REPLY = re.compile(r"\[([\d.]+)\] \d+ bytes from .*icmp_seq=(\d+) ")

    def __init__(self, path):
        self.path = path

    def replies(self):
        with open(self.path, encoding="utf-8", errors="replace") as file:
            return [(int(m.group(2)), float(m.group(1))) for m in map(self.REPLY.match, file) if m]

    def wait_for_more(self, count, timeout=20):
        """Until `count` more answers came."""
        before = len(self.replies())
        wait_for(lambda: len(self.replies()) >= before + count, timeout,
                 f"{count} more answers of a running ping")

    def longest_gap(self, begin=0):
        """Since that time: the longest time between two answers."""
        times = [when for _, when in self.replies()]
        times = [when for i, when in enumerate(times) if i + 1 == len(times) or times[i + 1] > begin]
        return max(b - a for a, b in zip(times, times[1:]))

    def lost(self):
        """Sequence numbers without an answer, before the last one that has."""
        seen = {sequence for sequence, _ in self.replies()}
        return [n for n in range(1, max(seen) + 1) if n not in seen]


def wait_for_drops(node, reason, at_least, timeout=15):
    """Until the counter of a drop reason has reached a value; the value."""
    try:
        wait_for(lambda: node.drops()[reason] >= at_least, timeout,
                 f"{node.name}: {at_least} packets dropped as {reason}")
    except LabError as error:
        counted = {name: packets for name, packets in node.drops().items() if packets}
        raise LabError(f"{error}; dropped were {counted}") from error
    return node.drops()[reason]


def metric(node, name):
    """Sum of all samples of a metric."""
    text = node.run("/usr/bin/python3", "-c", "import urllib.request as u; print(u.urlopen("
                    "'http://127.0.0.1:9477/metrics', timeout=5).read().decode())").stdout
    return sum(float(v) for v in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))


def let_xdp_send(lab, gro="on"):
    """Has the switch take frames that XDP sends: the other end of a veth does with GRO alone."""
    topology = lab.topology
    port = "n" if topology.kind == "nat" else "p"
    for node in topology.nodes:
        if not node.access or node.access["kind"] == "none":
            shell.run(*shell.inside(topology.switch,
                                    ["ethtool", "-K", f"{port}{node.number}", "gro", gro]))


def lost_by_devices(lab):
    """Packets that the kernel dropped at full queues of devices, as on a machine that is too busy."""
    return sum(device["stats64"][way]["dropped"] for node in lab.nodes for way in ("rx", "tx")
               for device in json.loads(node.run("ip", "-s", "-j", "link", "show").stdout))


def where_lost(lab):
    """For the message of a failed test: what was dropped, by the dataplanes and by the kernel."""
    found = []
    for node in lab.nodes:
        drops = {reason: n for reason, n in node.drops().items() if n}
        devices = {}
        for device in json.loads(node.run("ip", "-s", "-j", "link", "show").stdout):
            for way in ("rx", "tx"):
                if device["stats64"][way]["dropped"]:
                    devices[f"{device['ifname']} {way}"] = device["stats64"][way]["dropped"]
        found.append(f"{node.name}: dataplane {drops}, devices {devices}")
    return "; ".join(found)
