# SPDX-License-Identifier: Apache-2.0
"""Strict synchronization: whether a program waits for what it reads."""
