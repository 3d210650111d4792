# SPDX-License-Identifier: Apache-2.0
"""Strict synchronization: check that a program waits for the data that it reads."""
