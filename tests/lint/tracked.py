# SPDX-License-Identifier: Apache-2.0
"""What every check starts from: the project's own files."""
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def files(*suffixes):
    """Paths from the root, of files that are tracked or about to be; all, or those that end so."""
    listed = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached",
                             "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split("\0")
    return sorted(path for path in set(listed)
                  if path and os.path.isfile(os.path.join(ROOT, path))
                  and (not suffixes or path.endswith(suffixes)))


def read(path):
    """The text of a file; None when it is not text."""
    with open(os.path.join(ROOT, path), "rb") as file:
        content = file.read()
    try:
        return None if b"\0" in content else content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def report(problems, checked):
    """Prints the outcome; the exit code of the check. A check that looked at nothing fails."""
    for problem in problems:
        print(problem)
    print(f"{checked} files, {len(problems)} problems")
    return 1 if problems or not checked else 0
