# SPDX-License-Identifier: Apache-2.0
"""Waiting for conditions, never for time."""
import time

from .errors import LabError

POLL_S = 0.01


def wait_for(condition, timeout, what):
    """Returns the first true value of condition(); LabError names `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise LabError(f"{what}: not within {timeout:g} s")
        time.sleep(POLL_S)
