# SPDX-License-Identifier: Apache-2.0
"""Machines in network namespaces, with the real daemons in them.

    from omnilab import Lab, Options
    with Lab.up(Options(topology="pair")) as lab:
        n1, n2 = lab.nodes
        n1.run("ping", "-c1", n2.vip4)

Used by the demo, the stories, the benchmarks and, through `tests/lab/lab`, by people.
"""
from .errors import LabError
from .lab import Lab, Options, list_labs
from .node import Node
from .waiting import wait_for

__all__ = ["Lab", "LabError", "Node", "Options", "list_labs", "wait_for"]
