# SPDX-License-Identifier: Apache-2.0
"""The base of all systems, and the two that need nothing from outside: the bare cable and ours.

    prepare()   once, outside the namespaces: gets programs; Absent says why it cannot be had
    start()     both ends, until a packet went through
    stop()      back to two machines with nothing but a cable
"""
import os
import subprocess
from dataclasses import replace

from omnilab import LabError, wait_for
from omnilab.lab import REPOSITORY
from omnilab.process import tail

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                     "omni-bench")
# The inner MTU of every tunnel that lets it be chosen, on a cable of 1,500 bytes.
MTU = 1420
START_TIMEOUT_S = 30


class Absent(Exception):
    """A system that this machine cannot get, and why."""


def command(words, what, **keywords):
    """Runs a step of the preparation; Absent when it cannot be done."""
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, **keywords)
    except FileNotFoundError:
        raise Absent(f"{what}: {words[0]}: no such program") from None
    except subprocess.TimeoutExpired:
        raise Absent(f"{what}: took too long") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Absent(f"{what}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout


def debian_package(name):
    """Installs a Debian package when it is not; gives its version."""
    query = ["dpkg-query", "-W", "-f=${Status}|${Version}", name]
    def version():
        done = subprocess.run(query, capture_output=True, text=True, check=False)
        status, _, number = done.stdout.partition("|")
        return number if status == "install ok installed" else None
    if not version():
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        command(["apt-get", "install", "-y", "-qq", "--no-install-recommends", name],
                f"Debian package {name}", env=env, timeout=300)
    return version()


def revision():
    """Of the sources, when they are a git checkout: " (abcdef0)"."""
    done = subprocess.run(["git", "-c", f"safe.directory={REPOSITORY}", "-C", REPOSITORY,
                           "describe", "--always", "--dirty"], capture_output=True, text=True,
                          check=False)
    return f" ({done.stdout.strip()})" if done.returncode == 0 else ""


class System:
    name = ""
    path = ""       # as the JSON has it
    cipher = ""
    version = ""

    def __init__(self):
        self.children = []  # (node, Popen)

    @classmethod
    def all(cls):
        """What is measured under this name: once, or once each way."""
        return [cls()]

    def prepare(self):
        pass

    def start(self, lab):
        raise NotImplementedError

    def target(self, lab):
        """Address of the second node through this system."""
        raise NotImplementedError

    def pids(self, lab):
        """Node name -> pids of the system's processes there."""
        return {node.name: [child.pid for owner, child in self.children if owner is node]
                for node in lab.nodes}

    def stop(self, lab):
        del lab
        for _, child in self.children:
            child.terminate()
        for _, child in self.children:
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.children = []

    def spawn(self, node, *words):
        """Starts a process in a session of its own, as the lab starts ours: with autogroups, the
        scheduler shares out processor time by session."""
        log = self.log(node)
        with open(log, "ab") as output:
            child = node.popen(*words, stdout=output, stderr=output, start_new_session=True)
        self.children.append((node, child))
        return child

    def log(self, node):
        return f"{node.directory}/{self.name}.log"

    def wait_alive(self, lab, timeout=START_TIMEOUT_S):
        """Until the second node answers a ping through the system."""
        first = lab.nodes[0]

        def answers():
            for node, child in self.children:
                if child.poll() is not None:
                    raise LabError(f"{self.name} on {node.name} ended:{tail(self.log(node))}")
            return first.run("ping", "-nc1", "-W1", self.target(lab), check=False).returncode == 0
        wait_for(answers, timeout, f"{self.name}: an answer from {self.target(lab)}")


class Veth(System):
    """The cable itself: the upper limit."""
    name, path, cipher = "veth", "kernel", "none"

    def __init__(self):
        super().__init__()
        self.version = os.uname().release

    def start(self, lab):
        self.wait_alive(lab)

    def target(self, lab):
        return lab.nodes[1].underlay["v4"]


class Omni(System):
    name = "omni"
    # (path, cipher): the socket path alone with each cipher, and with the in-kernel path for small
    # packets beside it, as it comes; AF_XDP in copy mode, which a veth proves right, not fast.
    WAYS = (("socket", "chacha20-poly1305"), ("socket", "aes-256-gcm"),
            ("in-kernel", "aes-256-gcm"), ("afxdp", "aes-256-gcm"))

    def __init__(self, path, cipher):
        super().__init__()
        self.path, self.cipher = path, cipher

    @classmethod
    def all(cls):
        return [cls(path, cipher) for path, cipher in cls.WAYS]

    def start(self, lab):
        options = replace(lab.options, session={"cipher": self.cipher})
        for node in lab.nodes:
            lab.write_config(node, options)
            node.in_kernel = "on" if self.path == "in-kernel" else "off"
            node.dataplane_options = ["--path", "afxdp"] if self.path == "afxdp" else []
        lab.start(options)
        self.wait_alive(lab)
        first, second = lab.nodes
        first.wait_up(second)
        current = next(s for s in first.sessions() if s["slot"] == "current")
        if current["cipher"] != self.cipher:
            raise LabError(f"omni: the session has {current['cipher']}, not {self.cipher}")
        self.version = first.omnictl_json("version")["omnictl"] + revision()

    def target(self, lab):
        return lab.nodes[1].vip4

    def pids(self, lab):
        return {node.name: [pid for daemon in ("dataplane", "controller")
                            if (pid := node.pid(daemon)) is not None] for node in lab.nodes}

    def stop(self, lab):
        for node in lab.nodes:
            node.stop_all()
