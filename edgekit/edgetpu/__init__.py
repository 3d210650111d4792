# SPDX-License-Identifier: Apache-2.0
"""What the Edge TPU and its compiler can do, told without either."""
