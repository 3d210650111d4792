# SPDX-License-Identifier: Apache-2.0
"""Small models through the compiler and the emulator, compared with the chip's arithmetic."""

from __future__ import annotations

from typing import Any, Callable, Dict

import numpy as np
import pytest

from edgekit.chip.arithmetic.twin import run_twin
from edgekit.chip.codegen import Partition, make_program, partition
from edgekit.chip.emulator.machine import EdgeTpu
from edgekit.formats.tflite import Model

Feeds = Dict[str, Any]
Compare = Callable[..., Partition]


def compared(model: Model, *all_feeds: Feeds) -> Partition:
    """Compile ``model``, run it strictly, and compare every output bit for bit."""
    part, tensors = partition(model), model.main.tensors
    ends = {i: tensors[i] for i in (*part.network.inputs, *part.network.outputs)}
    tpu = EdgeTpu(make_program(part.network, ends).package, strict_sync=True)
    for feeds in all_feeds:
        made = tpu.invoke(feeds)
        wanted = {index: values for _, index, values in run_twin(model, feeds)}
        for index in part.network.outputs:
            values = made[tensors[index].name]
            unsigned = values.view(np.uint8) ^ (128 if values.dtype == np.int8 else 0)
            np.testing.assert_array_equal(unsigned.reshape(-1), wanted[index].reshape(-1))
    return part


@pytest.fixture
def compare() -> Compare:
    """`compared`."""
    return compared
