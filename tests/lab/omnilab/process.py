# SPDX-License-Identifier: Apache-2.0
"""Background processes known by a pid file that cannot be mistaken for another process.

A pid file holds the pid and the start time of the process in clock ticks since boot: a pid that was
given to another process since does not match, and is never signalled.
"""
import json
import os
import select
import signal
import subprocess

from .errors import LabError


def start_time(pid):
    """Start time of a live process, None when there is none (a zombie is none)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def write_pid_file(path, pid):
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump({"pid": pid, "start": start_time(pid)}, file)
    os.rename(temporary, path)


def live_pid(path):
    """The pid in a pid file when that very process lives, else None."""
    try:
        with open(path, encoding="utf-8") as file:
            entry = json.load(file)
    except (FileNotFoundError, ValueError):
        return None
    start = start_time(entry["pid"])
    return entry["pid"] if start is not None and start == entry["start"] else None


def start(command, log, pid_file, env=None):
    """Starts in a session of its own, output appended to `log`."""
    with open(log, "ab") as output:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=output, start_new_session=True, env=env)
        except FileNotFoundError:
            raise LabError(f"{command[0]}: no such command") from None
    write_pid_file(pid_file, process.pid)
    return process


def end(pid, number=signal.SIGTERM, patience=5.0):
    """Signals a process and waits until it is gone; what ignores SIGTERM is killed."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        for attempt in (number, signal.SIGKILL):
            signal.pidfd_send_signal(handle, attempt)
            if poll.poll(patience * 1000):
                return
        raise LabError(f"process {pid}: survives SIGKILL")
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def interrupt_on_termination():
    """SIGTERM and SIGHUP end this program as Ctrl-C does: with everything taken down."""
    def interrupt(number, frame):
        raise KeyboardInterrupt
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def tail(path, lines=15):
    """The last lines of a log, indented; empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(f"\n    {line.rstrip()}" for line in file.readlines()[-lines:])
    except FileNotFoundError:
        return ""
