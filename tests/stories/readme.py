# SPDX-License-Identifier: Apache-2.0
"""The commands of README.md, "First tunnel between two real hosts", run as they stand there.

    alpha eth0 192.0.2.1 ---- 192.0.2.2 eth0 beta

Each machine has a namespace of mounts of its own: a private /etc, /var/lib and /run. Two commands
are played: `sudo` (everything is root here) and `systemctl enable --now`, which starts what the
units' ExecStart lines say.
"""
import os
import re
import select
import shutil

from story import check, check_equal, run, scenario, wait_for
from omnilab import process
from omnilab.lab import REPOSITORY
from omnilab.shell import run as run_command

NAMES = ("alpha", "beta")
PRIVATE = """
set -e
mount -t tmpfs none /mnt && cp -a /etc /mnt/etc && mount --bind /mnt/etc /etc
mount -t tmpfs none /var/lib
mount -t tmpfs none /run && mkdir -m 0755 /run/omni-dataplane /run/omni && chown omni:omni /run/omni
exec sleep infinity
"""
SUDO = '#!/bin/sh\nexec "$@"\n'
SYSTEMCTL = """#!/bin/bash
# enable --now UNIT...
shift 2
for unit in "$@"; do
  command=$(sed -n 's/^ExecStart=//p' {units}/$unit.service)
  setsid ${{command#/usr/bin/}} >>/var/lib/$unit.log 2>&1 &
  echo $! >/var/lib/$unit.pid
done
"""


def readme():
    with open(f"{REPOSITORY}/README.md", encoding="utf-8") as file:
        return file.read()


def units():
    """The units' texts. Two that shared a directory would take each other's sockets away."""
    for name in ("controller", "dataplane"):
        with open(f"{REPOSITORY}/deploy/systemd/omni-{name}.service", encoding="utf-8") as file:
            yield file.read()


def documented_commands():
    """(machines, commands) of each block that is marked, in order."""
    blocks = re.findall(r"<!-- run: ([\w ]+) -->\n```sh\n(.*?)```", readme(), re.S)
    return [(names.split(), text) for names, text in blocks]


def documented_config(name, peer, key):
    """The documented configuration, for either machine, as the text says to change it."""
    text = re.search(r"```toml\n(.*?)```", readme(), re.S).group(1)
    check("omni1..." in text, "README.md: the configuration names the key omni1...")
    text = text.replace("omni1...", key)
    if name == "beta":
        for a, b in (("alpha", "beta"), ("10.77.0.1/", "10.77.0.2/"), ("fd77::1/", "fd77::2/"),
                     ("192.0.2.1:", "192.0.2.2:")):
            text = text.replace(a, "\0").replace(b, a).replace("\0", b)
    return text


class Machine:
    def __init__(self, node, name):
        self.node, self.name = node, name
        shims = f"{node.directory}/shims"
        os.makedirs(shims)
        units = f"{REPOSITORY}/deploy/systemd"
        for program, text in (("sudo", SUDO), ("systemctl",
                                               SYSTEMCTL.format(units=units))):
            with open(f"{shims}/{program}", "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(f"{shims}/{program}", 0o755)
        # /run is private: what the shell needs of it is copied to a place that is not.
        self.shims = f"/dev/shm/omni-{os.getpid()}-{name}"
        shutil.copytree(shims, self.shims)
        self.holder = node.popen("unshare", "--mount", "--propagation", "private", "sh", "-c",
                                 PRIVATE)
        wait_for(lambda: self._is_private(), 10, f"{name}: private mounts")

    def _is_private(self):
        try:
            with open(f"/proc/{self.holder.pid}/mounts", encoding="utf-8") as mounts:
                return " /run tmpfs" in mounts.read() and process.start_time(self.holder.pid) \
                    and os.path.exists(f"/proc/{self.holder.pid}/root/run/omni") \
                    and os.stat(f"/proc/{self.holder.pid}/root/run/omni").st_gid != 0
        except OSError:
            return False

    def sh(self, text, check_exit=True):
        env = self.node.environment()
        env["PATH"] = f"{self.shims}:{env['PATH']}"
        del env["OMNI_SOCKET"]
        return run_command("nsenter", "--target", str(self.holder.pid), "--net", "--mount", "bash",
                           "-euo", "pipefail", "-c", text, env=env, check=check_exit, timeout=90)

    def write(self, path, text):
        self.sh(f"install -D -m 0600 -o omni -g omni /dev/stdin {path} <<'END'\n{text}\nEND")

    def end(self):
        self.sh("for f in /var/lib/*.pid; do kill $(cat $f) || true; done", check_exit=False)
        self.holder.terminate()
        self.holder.wait()
        shutil.rmtree(self.shims, ignore_errors=True)


@scenario(topology="pair", start=False)
def the_first_tunnel(lab):
    machines = dict(zip(NAMES, (Machine(n, name) for n, name in zip(lab.nodes, NAMES))))
    try:
        follow(machines)
    finally:
        for machine in machines.values():
            machine.end()


def follow(machines):
    alpha, beta = (machines[name] for name in NAMES)
    directories = [re.search(r"^RuntimeDirectory=(.*)$", unit, re.M).group(1) for unit in units()]
    check_equal(sorted(directories), ["omni", "omni-dataplane"], "runtime directories of the units")
    blocks = documented_commands()
    check_equal(len(blocks), 4, "marked blocks in README.md")
    identity, secret, start, use = blocks

    def play(block):
        for name in block[0]:
            output = machines[name].sh(block[1]).stdout
            print(f"    {name}: {len(output.splitlines())} lines", flush=True)

    play(identity)
    play(secret)
    beta.write("/etc/omni/cluster.secret", alpha.sh("cat /etc/omni/cluster.secret").stdout.strip())
    keys = {name: m.sh("omnictl identity export").stdout.strip() for name, m in machines.items()}
    alpha.write("/etc/omni/controller.toml", documented_config("alpha", "beta", keys["beta"]))
    beta.write("/etc/omni/controller.toml", documented_config("beta", "alpha", keys["alpha"]))
    play(start)
    for machine in machines.values():
        wait_for(lambda m=machine: '"connected": true' in m.sh(
            "omnictl status --output json", check_exit=False).stdout, 30, f"{machine.name} is ready")
    play(use)
    check("current" in alpha.sh("omnictl sessions list").stdout, "a session")


run(the_first_tunnel)
