# SPDX-License-Identifier: Apache-2.0
"""The codes of the errors of `edgekit debug`."""

from __future__ import annotations

DIFFERENT = "debug.different"  # the files are of different networks
NOT_INTEGER = "debug.not_integer"  # the second file is not an integer model
NOT_FLOAT = "debug.not_float"  # the first one is
IS_COMPILED = "debug.compiled"
NOT_FINITE = "debug.not_finite"
