# SPDX-License-Identifier: Apache-2.0
"""The steps of a plan that ops become: gather, compute, requantize, scatter."""
