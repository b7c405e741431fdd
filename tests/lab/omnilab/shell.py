# SPDX-License-Identifier: Apache-2.0
"""Running commands, in this namespace or in another one."""
import os
import subprocess

from .errors import LabError


def run(*command, timeout=60, check=True, stdin="", env=None):
    """Runs to the end, gives the CompletedProcess; LabError carries what it printed to stderr."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True,
                              timeout=timeout, check=False, env=env)
    except FileNotFoundError:
        raise LabError(f"{command[0]}: no such command; run scripts/setup") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(command)}: still running after {timeout:g} s") from None
    if check and done.returncode != 0:
        cause = (done.stderr.strip() or done.stdout.strip()).replace("\n", "; ")
        raise LabError(f"{' '.join(command)}: exit code {done.returncode}: {cause}")
    return done


def ip_batch(lines, namespace=None):
    """Many `ip` commands in one process. Without -force, the first failure ends it and is named."""
    where = ["-n", namespace] if namespace else []
    run("ip", *where, "-batch", "-", stdin="\n".join(lines) + "\n")


def inside(namespace, command):
    """`command` as a list that runs in the namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def namespaces():
    """Names of all named network namespaces."""
    directory = "/run/netns"
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []
