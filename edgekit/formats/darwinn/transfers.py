# SPDX-License-Identifier: Apache-2.0
"""Check the transfer schedule: every transfer stays inside its buffer."""

from __future__ import annotations

from edgekit.formats.darwinn.package import Description, DmaDescriptorHint, Executable, Layer
from edgekit.formats.darwinn.table import Source


def check_transfers(executable: Executable, source: Source) -> None:
    """Check that each transfer stays inside the parameters, scratch memory or layer it names.

    Raises:
        ModelFormatError: A transfer does not, or names a layer that does not exist.
    """
    rooms = {
        (Description.BASE_ADDRESS_PARAMETER, ""): executable.parameter_bytes,
        (Description.BASE_ADDRESS_SCRATCH, ""): executable.scratch_size_bytes,
    }
    for description, layers in (
        (Description.BASE_ADDRESS_INPUT_ACTIVATION, executable.input_layers),
        (Description.BASE_ADDRESS_OUTPUT_ACTIVATION, executable.output_layers),
    ):
        rooms.update({(description, layer.name): _room(layer) for layer in layers})
    for hint in executable.dma_hints:
        step = hint.any_hint
        if not isinstance(step, DmaDescriptorHint):
            continue
        room = rooms.get((step.meta.desc, step.meta.name))
        if room is None:
            raise source.error(
                f"a transfer names the layer {step.meta.name!r}, which does not exist"
            )
        end = step.offset_in_bytes + step.size_in_bytes
        if end > room:
            raise source.error(f"a transfer ends at byte {end} of {room}")


def _room(layer: Layer) -> int:
    return layer.size_bytes * layer.execution_count_per_inference
