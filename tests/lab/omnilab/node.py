# SPDX-License-Identifier: Apache-2.0
"""Node: one machine of a lab: its namespace, its files, its daemons."""
import json
import os
import re
import signal
import subprocess
import sys

from . import config, process
from .errors import LabError
from .shell import inside, run
from .waiting import wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
# LIMIT: a daemon under sanitizers on a busy machine of two cores derives a key and starts in seconds.
START_TIMEOUT_S = 60
METRICS = ("import urllib.request as u; "
           "print(u.urlopen('http://127.0.0.1:9477/metrics', timeout=5).read().decode())")
WORKER_METRIC = re.compile(r"^omni_dataplane_(\w+)_total(?:{})? ([\d.e+]+)$", re.M)


class Node:
    def __init__(self, plan, directory, build):
        self.name = plan.name
        self.namespace = plan.namespace
        self.number = plan.number
        self.underlay = plan.underlay
        self.reachable = plan.reachable  # family -> address that others can speak to first
        self.vip4 = plan.vips["v4"]
        self.vip6 = plan.vips["v6"]
        self.directory = directory
        self.build = build
        self.control_socket = f"{directory}/run/controller.sock"
        self.dataplane_socket = f"{directory}/run/dataplane.sock"
        self.config_file = f"{directory}/controller.toml"
        self.accepted_secret_file = None  # of one more cluster secret
        self.workers = 0
        self.mtu = None
        self.log_level = "info"
        self.in_kernel = "auto"
        self.dataplane_options = []      # further ones, before it starts
        self.dataplane_environment = {}  # likewise
        self._children = []

    # ---- commands in the namespace

    def environment(self):
        """Finds the build's programs and this node's controller."""
        env = dict(os.environ)
        env["PATH"] = f"{self.build}/bin:{env.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
        env["OMNI_SOCKET"] = self.control_socket
        # The daemons are undumpable by design, and the leak checker needs ptrace.
        env.setdefault("ASAN_OPTIONS", "detect_leaks=0")
        return env

    def run(self, *command, timeout=60, check=True):
        """Runs a command in the node's namespace, to its end."""
        return run(*inside(self.namespace, command), timeout=timeout, check=check,
                   env=self.environment())

    def popen(self, *command, **keywords):
        """Starts a command in the node's namespace; it ends with the lab at the latest."""
        keywords.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(inside(self.namespace, command), env=self.environment(), **keywords)

    def omnictl(self, *arguments, timeout=60, check=True):
        return self.run("omnictl", *arguments, timeout=timeout, check=check)

    def omnictl_json(self, *arguments):
        return json.loads(self.omnictl(*arguments, "--output", "json").stdout)

    # ---- what the node says about itself

    def status(self):
        return self.omnictl_json("status")

    def peers(self):
        return {peer["name"]: peer for peer in self.omnictl_json("peers", "list")["peers"]}

    def sessions(self):
        return self.omnictl_json("sessions", "list")["sessions"]

    def drops(self):
        """Reason -> packets."""
        return {drop["reason"]: int(drop["packets"])
                for drop in self.omnictl_json("drops")["drops"]}

    def workers_counters(self):
        """Name -> value of what the dataplane's workers and its in-kernel path counted."""
        text = self.run("/usr/bin/python3", "-c", METRICS).stdout
        return {match[1]: int(float(match[2])) for match in WORKER_METRIC.finditer(text)}

    def log(self, daemon):
        """What "dataplane" or "controller" wrote."""
        with open(self._path(daemon, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    # ---- daemons

    def _path(self, daemon, kind):
        return f"{self.directory}/{daemon}.{kind}"

    def pid(self, daemon):
        """Of "dataplane" or "controller"; None when it does not run."""
        return process.live_pid(self._path(daemon, "pid"))

    def dataplane_command(self):
        command = [f"{self.build}/bin/omni-dataplane", "--socket", self.dataplane_socket,
                   "--user", config.DATAPLANE_USER, "--controller-user", config.CONTROLLER_USER,
                   "--tun", "omni0", "--listen-port", str(config.PORT),
                   "--in-kernel", self.in_kernel, "--log-level", self.log_level]
        command += ["--workers", str(self.workers)] if self.workers else []
        variables = [f"{key}={value}" for key, value in self.dataplane_environment.items()]
        return (["env", *variables] if variables else []) + command + self.dataplane_options

    def start_dataplane(self, supervised=True):
        command = inside(self.namespace, self.dataplane_command())
        if not supervised:
            return self._start("dataplane", command, "dataplane")
        supervisor = [sys.executable, f"{HERE}/supervisor.py", self._path("dataplane", "pid")]
        return self._start("supervisor", supervisor + command, "dataplane")

    def start_controller(self):
        self._start("controller", inside(self.namespace, [
            f"{self.build}/bin/omni-controller", "--config", self.config_file,
            "--user", config.CONTROLLER_USER, "--log-level", self.log_level]), "controller")

    def _start(self, role, command, log):
        self._children.append(process.start(command, self._path(log, "log"),
                                            self._path(role, "pid"), self.environment()))

    def stop(self, daemon, number=signal.SIGTERM):
        """Ends a daemon and waits until it is gone. The dataplane's supervisor ends first."""
        roles = ("supervisor", "dataplane") if daemon == "dataplane" else (daemon,)
        for role in roles:
            pid = process.live_pid(self._path(role, "pid"))
            if pid is not None:
                process.end(pid, number if role == daemon else signal.SIGTERM)
        self._reap()

    def crash(self, daemon):
        """Kills a daemon without a warning. A supervised dataplane comes back by itself."""
        pid = self.pid(daemon)
        if pid is None:
            raise LabError(f"{self.name}: {daemon} does not run")
        process.end(pid, signal.SIGKILL)
        self._reap()

    def signal(self, daemon, number):
        pid = self.pid(daemon)
        if pid is None:
            raise LabError(f"{self.name}: {daemon} does not run")
        os.kill(pid, number)

    def stop_all(self):
        for daemon in ("controller", "dataplane"):
            self.stop(daemon)

    def _reap(self):
        self._children = [child for child in self._children if child.poll() is None]

    def wait_ready(self, timeout=START_TIMEOUT_S):
        """Until the controller answers and drives its dataplane."""
        last = []

        def ready():
            for daemon in ("dataplane", "controller"):
                role = "supervisor" if daemon == "dataplane" and os.path.exists(
                    self._path("supervisor", "pid")) else daemon
                if process.live_pid(self._path(role, "pid")) is None:
                    raise LabError(f"{self.name}: omni-{daemon} ended:"
                                   f"{process.tail(self._path(daemon, 'log'))}")
            if not os.path.exists(self.control_socket):
                last[:] = ["the controller made no socket yet"]
                return False
            answer = self.omnictl("status", "--output", "json", check=False)
            last[:] = [answer.stderr.strip()]
            if answer.returncode != 0:
                return False
            dataplane = json.loads(answer.stdout)["dataplane"]
            last[:] = [f"dataplane not connected: {dataplane['error']}"]
            return dataplane["connected"] and dataplane["generation"] not in ("0", 0)

        try:
            wait_for(ready, timeout, f"{self.name}: start of the daemons")
        except LabError as error:
            if "not within" not in str(error):
                raise
            logs = "".join(f"\n  {d}:{process.tail(self._path(d, 'log'))}"
                           for d in ("dataplane", "controller"))
            raise LabError(f"{error}; {'; '.join(last)}{logs}") from None

    def wait_up(self, *peers, timeout=30):
        """Until there is a confirmed session with each peer (Node); traffic has to ask for it."""
        for peer in peers:
            wait_for(lambda p=peer: self.peers()[p.name]["state"] == "PEER_STATE_UP", timeout,
                     f"{self.name}: session with {peer.name}")

    def to_json(self):
        return {"node": self.name, "namespace": self.namespace, "vips": [self.vip4, self.vip6],
                "control_socket": self.control_socket,
                "underlay": [self.underlay["v4"], self.underlay["v6"]],
                "pids": {daemon: self.pid(daemon) for daemon in ("controller", "dataplane")}}
