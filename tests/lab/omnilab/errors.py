# SPDX-License-Identifier: Apache-2.0
"""The one way in which the lab fails: a message for people, one cause."""


class LabError(Exception):
    """`str()` is one line that names object and cause, then perhaps the tail of a log."""
