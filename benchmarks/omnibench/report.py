# SPDX-License-Identifier: Apache-2.0
"""Values of all rounds as rows, and the rows as a Markdown table."""
import os
import platform
import statistics

from .tests import TESTS

REFERENCE = "wireguard-go"


def rows(system, rounds):
    """`rounds`: one {test: value} a round. A row for each test that has a value."""
    made = []
    for test, (unit, _) in TESTS.items():
        values = [values[test] for values in rounds if test in values]
        if values:
            made.append({"system": system.name, "path": system.path, "cipher": system.cipher,
                         "test": test, "unit": unit, "median": round(statistics.median(values), 4),
                         "min": round(min(values), 4), "max": round(max(values), 4)})
    return made


def machine():
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "architecture": platform.machine()}


def number(value):
    """Three significant digits, whole from 100 on."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def spread(row):
    """Median [smallest, largest]."""
    return f"{number(row['median'])} [{number(row['min'])}, {number(row['max'])}]"


def cell(row, reference):
    text = spread(row)
    # A ratio of losses says nothing.
    if reference and reference is not row and reference["median"] and row["unit"] != "%":
        text += f" **{row['median'] / reference['median']:.2f}x**"
    return text


def key(row):
    """What tells one column of results from another."""
    return row["system"], row["path"], row["cipher"]


def labels(keys):
    """key -> what a table or a plot calls it: path and cipher only where a system has several."""
    keys = list(dict.fromkeys(keys))
    names = [name for name, _, _ in keys]
    return {(name, path, cipher): f"{name} {path} {cipher}" if names.count(name) > 1 else name
            for name, path, cipher in keys}


def markdown(all_rows, systems):
    """A line for each test, a column for each system: median [min, max] **ratio**."""
    by_key = {(row["test"], *key(row)): row for row in all_rows}
    columns = [(system.name, system.path, system.cipher) for system in systems]
    names = list(labels(columns).values())
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for test, (unit, better) in TESTS.items():
        found = [by_key.get((test, *column)) for column in columns]
        if not any(found):
            continue
        reference = next((row for row in all_rows
                          if row["test"] == test and row["system"] == REFERENCE), None)
        cells = [cell(row, reference) if row else "-" for row in found]
        lines.append(f"| {test}, {unit}, {better} is better | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(result, systems):
    """All that is printed: the machine, the systems, the table, and who is absent."""
    info = result["machine"]
    lines = [f"{info['cpu']}, {info['cpus']} CPUs, Linux {info['kernel']}; "
             f"{result['rounds']} rounds; load average before each: "
             + ", ".join(f"{load:.2f}" for load in result["load_before_rounds"]), ""]
    for system in result["systems"]:
        lines.append(f"- {system['name']}: {system['version']}, path {system['path']}, "
                     f"cipher {system['cipher']}")
    for system in result["absent"]:
        lines.append(f"- {system['name']}: absent: {system['reason']}")
    for system in result["failed"]:
        lines.append(f"- {system['name']}: failed: {system['reason']}")
    lines += ["", markdown(result["rows"], systems), "",
              f"Median [min, max] of the rounds; bold: ratio to {REFERENCE}."]
    return "\n".join(lines)
