# SPDX-License-Identifier: Apache-2.0
"""Includes follow the direction of dependencies.

    cli ────────────┐
    controller ─────┼──► proto          controller, nucleus ──► signal ──► proto, common
    dataplane ──────┘     dataplane: main ─► setup ─► io ─► core ─► common, bpf/abi.h

The build enforces most of it: a header of a library that is not linked is not found. This check
covers the rest, and the purity of dataplane/core: no system call, thread, lock or log. Tests may
include anything.
"""
import re
import sys

from tracked import files, read, report

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)

# folder -> beginnings of includes that are forbidden there
FORBIDDEN = {
    "common/": ("dataplane/", "controller/", "cli/", "signal/", "nucleus/", "bpf/", "omni/"),
    "signal/": ("dataplane/", "controller/", "cli/", "nucleus/", "bpf/", "omni/control/", "omni/dataplane/", "tests/"),
    "nucleus/": ("dataplane/", "controller/", "cli/", "bpf/", "omni/control/", "omni/dataplane/", "tests/"),
    "controller/": ("dataplane/", "bpf/", "cli/", "nucleus/", "tests/"),
    "cli/": ("dataplane/", "controller/", "signal/", "nucleus/", "bpf/", "tests/"),
    "dataplane/": ("controller/", "cli/", "signal/", "nucleus/", "omni/control/", "omni/signal/", "tests/"),
    "dataplane/core/": (
        "dataplane/io/", "dataplane/setup/", "dataplane/worker/", "dataplane/hub/", "dataplane/api/", "omni/",
        "common/log.h", "common/file.h", "common/privileges.h", "common/rpc/", "grpc", "spdlog",
        "sys/", "unistd.h", "fcntl.h", "poll.h", "pthread.h", "signal.h", "time.h", "ctime",
        "thread", "mutex", "condition_variable", "shared_mutex", "future", "iostream", "fstream",
        "linux/if_tun.h", "linux/bpf.h", "netlink/"),
    "dataplane/io/": ("dataplane/setup/",),
}


def problems_of(path):
    text = read(path) or ""
    for match in INCLUDE.finditer(text):
        quote, name = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        if quote == '"' and name.startswith(("./", "../")):
            yield f'{path}:{line}: "{name}": includes are written from the repository root'
        for folder, forbidden in FORBIDDEN.items():
            if path.startswith(folder) and name.startswith(forbidden):
                yield f"{path}:{line}: {folder} must not include {name}"


sources = [path for path in files(".h", ".cc", ".c")
           if not path.endswith(("_test.cc", "_fuzz.cc", "_test_util.h"))]
sys.exit(report([problem for path in sources for problem in problems_of(path)], len(sources)))
