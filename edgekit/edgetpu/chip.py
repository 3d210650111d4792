# SPDX-License-Identifier: Apache-2.0
"""The Edge TPU's numbers, each with its unit and where it is known from."""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20

# libedgetpu driver/config/beagle: a grid of 4 by 4 tiles, 64 multiply-accumulate cells in each.
NUM_TILES = 16
CELLS_PER_TILE = 64

# Activations lie in the tiles' narrow memory (driver constant; the compiled models that were
# measured use up to 196,096 of it, never more).
NARROW_MEMORY_BYTES_PER_TILE = 192 * KIB
ACTIVATION_BYTES = NUM_TILES * NARROW_MEMORY_BYTES_PER_TILE

# Parameters lie in the tiles' wide memory, of which activations, instructions and queues take a
# share that only the compiler knows. Used plus remaining in the compiler's own words was between
# 6.1 and 8.05 MiB; the largest model seen to be cached whole has 7.73 MiB (four dense layers,
# compiler 16), and one of 7.98 MiB was not.
PARAMETER_CACHE_BYTES = 7 * MIB + 3 * MIB // 4
PARAMETER_CACHE_LOW_BYTES = 6 * MIB
# Parameters move in units of this size; a layer's share of the package is rounded up to it.
PARAMETER_UNIT_BYTES = 64

# libedgetpu api/runtime_version.h; compilers 1.0, 2.0 to 15.0 (12 and 13) and 16.0 write these.
RUNTIME_VERSIONS = (10, 12, 13, 14)
LATEST_RUNTIME = 14
