# SPDX-License-Identifier: Apache-2.0
"""Host: a machine that ssh reaches, and a folder of ours on it that holds all we put there."""
import io
import json
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile

PROGRAMS = ("omni-dataplane", "omni-controller", "omni-nucleus", "omnictl")
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=5",
       "-o", "ServerAliveCountMax=6")


class Failed(Exception):
    """What could not be done, where and why."""


class Host:
    """`target` is ssh's: [USER@]NAME, of a user who is root or may use sudo without a password."""

    def __init__(self, target, options=()):
        self.target = target
        self.ssh = [*SSH, *(word for option in options for word in ("-o", option)), target]
        self.prefix = ""
        self.directory = None
        self.started = []  # (name, pid)

    # ---- commands

    def run(self, *command, check=True, timeout=60, stdin=b""):
        """Runs a command as root there, to its end; what it printed."""
        return self.shell(shlex.join(command), check, timeout, stdin)

    def shell(self, text, check=True, timeout=60, stdin=b""):
        words = [*self.ssh, f"{self.prefix}sh -c {shlex.quote(text)}"]
        try:
            done = subprocess.run(words, input=stdin, capture_output=True, timeout=timeout,
                                  check=False)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.target}: {text}: still running after {timeout:g} s") from None
        done.stdout = done.stdout.decode(errors="replace")
        done.stderr = done.stderr.decode(errors="replace")
        if check and done.returncode != 0:
            cause = (done.stderr.strip() or done.stdout.strip()).replace("\n", "; ")
            raise Failed(f"{self.target}: {text}: exit code {done.returncode}: {cause}")
        return done

    def omnictl(self, *arguments, check=True, timeout=60):
        return self.run("env", f"OMNI_SOCKET={self.directory}/run/controller.sock",
                        f"{self.directory}/bin/omnictl", *arguments, check=check, timeout=timeout)

    def omnictl_json(self, *arguments):
        return json.loads(self.omnictl(*arguments, "--output", "json").stdout)

    # ---- before and after

    def prepare(self, programs, tools):
        """Finds out whether it can be used, and puts the programs, a pack(), there."""
        user = self.shell("id -u").stdout.strip()
        if user != "0":
            self.prefix = "sudo -n "
            if self.shell("id -u", check=False).stdout.strip() != "0":
                raise Failed(f"{self.target}: neither root nor sudo without a password")
        missing = [tool for tool in tools
                   if self.shell(f"command -v {tool}", check=False).returncode != 0]
        if missing:
            raise Failed(f"{self.target}: {', '.join(missing)} missing; run scripts/setup there")
        self.directory = self.run("mktemp", "-d", "/tmp/omni-cloud-test.XXXXXX").stdout.strip()
        self.run("chmod", "0755", self.directory)
        self.run("tar", "-xzf", "-", "-C", self.directory, stdin=programs, timeout=600)
        for program in PROGRAMS:
            shown = self.run(f"{self.directory}/bin/{program}", "--version", check=False)
            if shown.returncode != 0:
                why = shown.stderr.strip() or f"exit code {shown.returncode}"
                raise Failed(f"{self.target}: {program}: {why}; run scripts/setup there")

    def write(self, name, text, owner="root", mode="0600"):
        """A file in our folder."""
        path = f"{self.directory}/{name}"
        self.run("install", "-D", "-m", mode, "-o", owner, "-g", owner, "/dev/stdin", path,
                 stdin=text.encode())
        return path

    def folder(self, name, owner, group=None, mode="0755"):
        self.run("install", "-d", "-m", mode, "-o", owner, "-g", group or owner,
                 f"{self.directory}/{name}")

    def start(self, name, *command):
        """Starts a daemon that outlives the connection; it writes to NAME.log."""
        log = f"{self.directory}/{name}.log"
        text = f"setsid {shlex.join(command)} >{log} 2>&1 </dev/null & echo $!"
        self.started.append((name, int(self.shell(text).stdout)))

    def pid(self, name):
        return dict(self.started)[name]

    def is_alive(self, name):
        return self.run("test", "-d", f"/proc/{self.pid(name)}", check=False).returncode == 0

    def logs(self, lines=15):
        """The ends of what the daemons wrote, for a person who looks for the fault."""
        if self.directory is None:
            return ""
        return self.shell(f"cd {self.directory} && tail -n {lines} *.log 2>/dev/null",
                          check=False).stdout

    def clean(self):
        """Ends what was started, removes what was put there. Never fails: it runs after failures."""
        if self.directory is None or not self.directory.startswith("/tmp/omni-cloud-test."):
            return
        pids = " ".join(str(pid) for _, pid in reversed(self.started))
        text = f"rm -rf {shlex.quote(self.directory)}"
        if pids:
            text = (f"kill {pids}; for i in $(seq 50); do left=; for pid in {pids}; do "
                    "kill -0 $pid && left=1; done; [ $left ] || break; sleep 0.1; done; "
                    f"kill -9 {pids}; {text}")
        try:
            self.shell(f"({text}) 2>/dev/null", check=False)
        except Failed:
            pass
        self.directory, self.started = None, []


def resolve(target):
    """The name or address behind an ssh target, as ssh's own configuration has it."""
    done = subprocess.run(["ssh", "-G", target], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        word, _, value = line.partition(" ")
        if word == "hostname":
            return value
    return target.rpartition("@")[2]


def pack(build):
    """The programs of a build as an archive for Host.prepare(), without what only debuggers read."""
    archive = io.BytesIO()
    with (tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar,
          tempfile.TemporaryDirectory() as folder):
        for program in PROGRAMS:
            source, stripped = f"{build}/bin/{program}", f"{folder}/{program}"
            if not os.access(source, os.X_OK):
                raise Failed(f"{source}: missing; build it: cmake --preset release && "
                             "cmake --build --preset release")
            if shutil.which("strip"):
                subprocess.run(["strip", "-o", stripped, source], check=True)
            else:
                shutil.copy(source, stripped)
            entry = tar.gettarinfo(stripped, f"bin/{program}")
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o755
            with open(stripped, "rb") as file:
                tar.addfile(entry, file)
    return archive.getvalue()
