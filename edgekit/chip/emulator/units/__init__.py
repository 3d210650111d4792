# SPDX-License-Identifier: Apache-2.0
"""The units of the chip, one file each: what instructions wait for, and their steps."""
