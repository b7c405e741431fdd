# SPDX-License-Identifier: Apache-2.0
"""Side-by-side measurements of tunnels in the same two network namespaces.

    systems.py, peers.py   how each system is had, started and stopped
    tests.py               what is measured on each
    report.py, plot.py     rows, table, drawing
    cli.py                 rounds, teardown
"""
