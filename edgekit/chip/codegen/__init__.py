# SPDX-License-Identifier: Apache-2.0
"""edgekit's own compiler for the Edge TPU: from an int8 model to a package of instructions.

    partition.py   which operators run on the Edge TPU, by `legalize.py` and the data flow
    layout.py      nodes on blocks of narrow memory
    narrow.py      places in narrow memory
    parameters.py  the bytes of the weights, and the tiles that keep them
    stages/        the instructions of each kind of step
    wide.py        buffers and parameters in wide memory, also of programs that share a chip
    program.py     all of it in order
    caching.py     the program that brings parameters to the chip
    package.py     instructions, parameters and layers as libedgetpu reads them
    vocabulary/    which forms of instructions Google's programs have, and the audit

It never imports the emulator, which judges what it makes. Sources of the facts: Google's compiled
programs, and tinycoral (github.com/FrederikRogalski/tinycoral, docs/isa, MIT).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.lazy import lazy_names

if TYPE_CHECKING:
    from edgekit.chip.codegen.errors import TooLarge, Unsupported
    from edgekit.chip.codegen.partition import BEHIND_CPU, Partition, partition
    from edgekit.chip.codegen.program import Program, make_program, make_programs

__all__ = [
    "BEHIND_CPU",
    "Partition",
    "Program",
    "TooLarge",
    "Unsupported",
    "make_program",
    "make_programs",
    "partition",
]

# Loaded when used: check needs the partition alone, not the stages.
__getattr__ = lazy_names(
    __name__,
    {
        "BEHIND_CPU": "edgekit.chip.codegen.partition",
        "Partition": "edgekit.chip.codegen.partition",
        "Program": "edgekit.chip.codegen.program",
        "TooLarge": "edgekit.chip.codegen.errors",
        "Unsupported": "edgekit.chip.codegen.errors",
        "make_program": "edgekit.chip.codegen.program",
        "make_programs": "edgekit.chip.codegen.program",
        "partition": "edgekit.chip.codegen.partition",
    },
)
