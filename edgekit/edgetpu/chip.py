# SPDX-License-Identifier: Apache-2.0
"""The Edge TPU's numbers, each with its unit and source."""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20

# libedgetpu driver/config/beagle: a grid of 4 by 4 tiles, 64 multiply-accumulate cells in each.
NUM_TILES = 16
CELLS_PER_TILE = 64

# Activations are stored in the tiles' narrow memory (driver constant; the measured compiled
# models use up to 196,096 bytes of it).
NARROW_MEMORY_BYTES_PER_TILE = 192 * KIB
ACTIVATION_BYTES = NUM_TILES * NARROW_MEMORY_BYTES_PER_TILE

# Parameters are stored in the tiles' wide memory. Activations, instructions and queues use a share
# of it that only the compiler computes. Used plus remaining memory in the compiler's output was
# between 6.1 and 8.05 MiB. The largest model that was cached whole has 7.73 MiB (four dense
# layers, compiler 16); one of 7.98 MiB was not.
PARAMETER_CACHE_BYTES = 7 * MIB + 3 * MIB // 4
PARAMETER_CACHE_LOW_BYTES = 6 * MIB
# Parameters are transferred in units of this size; a layer's bytes in the package are rounded up.
PARAMETER_UNIT_BYTES = 64

# libedgetpu api/runtime_version.h; compilers 1.0, 2.0 to 15.0 (12 and 13) and 16.0 write these.
RUNTIME_VERSIONS = (10, 12, 13, 14)
LATEST_RUNTIME = 14
