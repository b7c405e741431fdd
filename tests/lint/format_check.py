# SPDX-License-Identifier: Apache-2.0
"""clang-format has nothing to say about any C or C++ file."""
import subprocess
import sys

from tracked import ROOT, files, report

sources = files(".h", ".cc", ".c")
done = subprocess.run(["clang-format-14", "--dry-run", "-Werror", *sources], cwd=ROOT, check=False,
                      capture_output=True, text=True)
wrong = sorted({line.split(":")[0] for line in done.stderr.splitlines() if ": error:" in line})
if done.returncode != 0 and not wrong:
    wrong = [done.stderr.strip()]
sys.exit(report([f"{path}: run clang-format-14 -i {path}" for path in wrong], len(sources)))
