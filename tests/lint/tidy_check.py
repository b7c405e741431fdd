# SPDX-License-Identifier: Apache-2.0
"""clang-tidy has nothing to say about the product's sources. Tests are left out: sanitizers run
them, and they would double the time.

    tidy_check.py BUILD_DIRECTORY [FILE...]

A file that passed is remembered by a hash over all that can change the outcome (its text, that of
every header of ours it includes, the compiler's flags, .clang-tidy, clang-tidy's version), so that a
repeated run costs nothing, in another checkout either: $XDG_CACHE_HOME/omni-tidy, an empty file each.
"""
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys

from tracked import ROOT, files, read, report

CLANG_TIDY = "clang-tidy-14"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def included(path, seen):
    """The file and all of ours that it includes, directly or not."""
    if path in seen:
        return
    seen.add(path)
    for name in INCLUDE.findall(read(path) or ""):
        # Generated from a contract: the contract stands for it.
        name = re.sub(r"^(omni/.*?)(\.grpc)?\.pb\.h$", r"proto/\1.proto", name)
        name = re.sub(r"^generated/bpf/(.*)\.skel\.h$", r"bpf/\1.bpf.c", name)
        if os.path.isfile(os.path.join(ROOT, name)):
            included(name, seen)


def key_of(path, command, common):
    digest = hashlib.sha256(common + " ".join(command).replace(ROOT, ".").encode())
    closure = set()
    included(path, closure)
    for name in sorted(closure):
        digest.update(name.encode() + b"\0" + (read(name) or "").encode() + b"\0")
    return digest.hexdigest()


def check(build, path):
    # The flags are GCC's, some of which clang does not know.
    done = subprocess.run([CLANG_TIDY, "--quiet", "--extra-arg=-Wno-unknown-warning-option", "-p", build, path],
                          cwd=ROOT, check=False, capture_output=True, text=True)
    return done.returncode == 0, done.stdout.strip() or done.stderr.strip()


def main(build, only):
    with open(f"{build}/compile_commands.json", encoding="utf-8") as database:
        entries = json.load(database)
    commands = {os.path.relpath(e["file"], ROOT): shlex.split(e["command"]) for e in entries}
    ours = [path for path in files(".cc") if path in commands and not path.endswith("_test.cc")]
    ours = [path for path in ours if path in only] if only else ours
    version = subprocess.run([CLANG_TIDY, "--version"], capture_output=True, check=True).stdout
    common = version + (read(".clang-tidy") or "").encode()
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "omni-tidy")
    os.makedirs(cache, exist_ok=True)

    keys = {path: key_of(path, commands[path], common) for path in ours}
    stale = [path for path in ours if not os.path.exists(f"{cache}/{keys[path]}")]
    problems = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = zip(stale, pool.map(lambda path: check(build, path), stale))
        for number, (path, (passed, output)) in enumerate(results, 1):
            print(f"[{number}/{len(stale)}] {path}", flush=True)
            if passed:
                with open(f"{cache}/{keys[path]}", "wb"):
                    pass
            else:
                problems.append(output)
    return report(problems, len(ours))


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1]), sys.argv[2:]))
