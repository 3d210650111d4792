# SPDX-License-Identifier: Apache-2.0
"""One file for each unit of the chip: what its instructions wait for and what they become."""
