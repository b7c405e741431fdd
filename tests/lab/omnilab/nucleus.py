# SPDX-License-Identifier: Apache-2.0
"""NucleusMachine: the machine of a lab on which omni-nucleus runs, and nothing else."""
import json
import os
import shutil

from . import config, process
from .node import Node
from .shell import inside, run
from .waiting import wait_for


class NucleusMachine(Node):
    def __init__(self, plan, directory, build):
        super().__init__(plan, directory, build)
        self.config_file = f"{directory}/nucleus.toml"

    def configure(self, secret):
        os.makedirs(f"{self.directory}/state", exist_ok=True)
        os.chmod(f"{self.directory}/state", 0o700)
        shutil.chown(f"{self.directory}/state", config.NUCLEUS_USER, config.NUCLEUS_USER)
        self.set_secrets(secret)

    def set_secrets(self, secret, accepted=None):
        """What it recognises members by, from its next start on. It is given the public halves and
        no more."""
        keys = [self._key_of(one) for one in (secret, accepted) if one]
        config.write_private(self.config_file, config.nucleus_toml(self.directory, *keys),
                             config.NUCLEUS_USER)

    def _key_of(self, secret):
        config.write_private(f"{self.directory}/secret", secret + "\n")
        shown = run(f"{self.build}/bin/omnictl", "cluster", "show", "--secret-file",
                    f"{self.directory}/secret", "--output", "json").stdout
        os.unlink(f"{self.directory}/secret")
        return json.loads(shown)["cluster_key"]

    def start(self):
        log = self._path("nucleus", "log")
        written = os.path.getsize(log) if os.path.exists(log) else 0
        self._start("nucleus", inside(self.namespace, [
            f"{self.build}/bin/omni-nucleus", "--config", self.config_file,
            "--user", config.NUCLEUS_USER, "--log-level", self.log_level]), "nucleus")

        def ready():
            if process.live_pid(self._path("nucleus", "pid")) is None:
                raise RuntimeError(f"omni-nucleus ended:{process.tail(log)}")
            with open(log, encoding="utf-8", errors="replace") as file:
                file.seek(written)
                return ": id " in file.read()
        wait_for(ready, 60, "start of omni-nucleus")

    def samples(self, name):
        """Values of a metric that are not zero, by their labels as they are written."""
        text = self.run("/usr/bin/python3", "-c", "import urllib.request as u; print(u.urlopen("
                        "'http://127.0.0.1:9478/metrics').read().decode())").stdout
        found = {}
        for line in text.splitlines():
            if line.startswith(name) and line[len(name)] in " {":
                labels, value = line.rsplit(" ", 1)
                if float(value):
                    found[labels[len(name):]] = float(value)
        return found

    def metric(self, name):
        """Sum over the labels."""
        return sum(self.samples(name).values())

    def stop_all(self):
        self.stop("nucleus")
