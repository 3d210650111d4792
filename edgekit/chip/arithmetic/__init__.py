# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the Edge TPU: scales, requantization, splines, and each layer in numpy."""
