# SPDX-License-Identifier: Apache-2.0
"""What holds for every text file: its licence line, its length, no unfinished marks; shell scripts
and Python parse; links of the documents lead somewhere."""
import os
import re
import subprocess
import sys

from tracked import ROOT, files, read, report

MAX_LINES = 500
NO_LICENCE = ("LICENSE", "go.sum", ".md", ".json", ".clang-format", ".clang-tidy", ".gitignore", ".txt",
              ".gitattributes")
DATA = ("/testdata/", "/corpus/")
# Spelt in two parts, so that this file passes its own check.
MARKS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+\s+(.*)$", re.M)


def is_named(path, name):
    return path.endswith(name) or os.path.basename(path) == name


def check_common(path, text):
    lines = text.split("\n")
    head = "\n".join(lines[:5])
    exempt = any(is_named(path, name) for name in NO_LICENCE) or any(d in path for d in DATA)
    if os.path.basename(path) == "CMakeLists.txt":
        exempt = False
    if not exempt and "SPDX-License-Identifier:" not in head:
        yield f"{path}: no SPDX-License-Identifier line at its beginning"
    if len(lines) - 1 > MAX_LINES and not path.endswith(".svg") and not any(d in path for d in DATA) and path != "LICENSE":
        yield f"{path}: {len(lines) - 1} lines, more than {MAX_LINES}"
    for number, line in enumerate(lines, 1):
        if MARKS.search(line) and not any(d in path for d in DATA):
            yield f"{path}:{number}: an unfinished mark: {line.strip()}"


def check_script(path, text):
    first = text.split("\n", 1)[0]
    if path.endswith(".sh") or re.match(r"#!.*\b(ba)?sh\b", first):
        done = subprocess.run(["bash", "-n", path], cwd=ROOT, capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            yield f"{path}: {done.stderr.strip()}"
    elif path.endswith(".py") or re.match(r"#!.*\bpython3\b", first):
        try:
            compile(text, path, "exec")
        except SyntaxError as error:
            yield f"{path}:{error.lineno}: {error.msg}"


def anchors(text):
    for heading in HEADING.findall(text):
        plain = re.sub(r"[`*]", "", heading).strip().lower()
        yield re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def check_links(path, text):
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.S)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        where = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        if not os.path.exists(os.path.join(ROOT, where)):
            yield f"{path}: link to {target}: no such file"
        elif anchor and anchor not in anchors(read(where) or ""):
            yield f"{path}: link to {target}: no such heading"


def problems_of(path):
    text = read(path)
    if text is None:
        return
    yield from check_common(path, text)
    yield from check_script(path, text)
    if path.endswith(".md"):
        yield from check_links(path, text)


everything = files()
sys.exit(report([problem for path in everything for problem in problems_of(path)],
                len(everything)))
