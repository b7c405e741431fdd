# SPDX-License-Identifier: Apache-2.0
"""A Nucleus and two edges on real hosts, over ssh: brought up, measured, taken down."""
