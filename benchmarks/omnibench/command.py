# SPDX-License-Identifier: Apache-2.0
"""What the commands of the benchmarks share: their options, how they end, what they write."""
import argparse
import json
import os
import sys

from omnilab import LabError
from omnilab.process import interrupt_on_termination


def parser(name, description, rounds, quick):
    """`rounds`: how many without --quick; `quick`: what that does."""
    out = argparse.ArgumentParser(prog=f"benchmarks/{name}", description=description,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--rounds", type=int, choices=range(1, 100), metavar="N",
                     help=f"{rounds} by default, 1 with --quick")
    out.add_argument("--quick", action="store_true", help=quick)
    out.add_argument("--json", metavar="FILE", help="write rows and the machine")
    out.add_argument("--build", metavar="DIR",
                     help="measure what stands there; build/release is brought up to date")
    return out


def execute(name, run, options):
    """run(options); the exit code, and words for people where it comes to nothing."""
    if os.geteuid() != 0:
        print(f"{name}: network namespaces need root: sudo benchmarks/{name}", file=sys.stderr)
        return 1
    interrupt_on_termination()
    try:
        return run(options)
    except LabError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted; all taken down", file=sys.stderr)
        return 130


def write_json(path, result):
    """`path`: None: nowhere."""
    if not path:
        return
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
