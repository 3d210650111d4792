# SPDX-License-Identifier: Apache-2.0
"""The steps that ops become in a plan: gather, compute, requantize, scatter."""
