# SPDX-License-Identifier: Apache-2.0
"""Where several instructions do the same, programs contain those that Google's programs have."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import Callable

import numpy as np
import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from edgekit.chip.codegen import Partition, make_program, partition
from edgekit.chip.codegen.seen import first_seen, is_seen
from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.isa import SyncError, decode, encode
from edgekit.chip.isa.decode import Instruction, decode_package
from edgekit.chip.vocabulary import Vocabulary, audit
from edgekit.formats.darwinn import Package
from edgekit.formats.tflite import Model
from scripts.fault_kinds import with_executable
from scripts.ordinary_networks import Layers, inverted_residuals, plain, residual, separable
from scripts.random_operators import random_feeds

Compare = Callable[..., Partition]
_COPY = {"w_rows": 1, "w_circular": 1, "s0_en0": 1, "s0_id": 14, "s0_level": 1, "s0_en2": 1}


def _package(model: Model) -> Package:
    part, tensors = partition(model), model.main.tensors
    ends = {i: tensors[i] for i in (*part.network.inputs, *part.network.outputs)}
    return make_program(part.network, ends).package


@pytest.mark.parametrize(
    "make",
    [
        *(partial(separable, *sizes) for sizes in ((32, 8, 2), (64, 16, 5), (100, 24, 100))),
        *(partial(inverted_residuals, *sizes) for sizes in ((64, 8, 7), (96, 16, 10))),
        *(partial(residual, *sizes) for sizes in ((32, 16, 10), (64, 32, 3))),
        partial(plain, 28, 1, (8,), 0, 10),
        partial(plain, 64, 3, (16, 32, 64), 64, 6),
        partial(plain, 32, 3, (32, 64), 128, 2),
    ],
)
def test_ordinary_networks_are_wholly_inside_the_vocabulary(
    make: Callable[[], Model], compare: Compare
) -> None:
    model = make()
    part = compare(model, random_feeds(model, 1), random_feeds(model, 0, extreme=255))
    assert part.reasons == {}
    found = audit(Vocabulary.load(), *decode_package(_package(model)))
    assert [str(each) for each in found.findings] == []


def test_the_first_seen_of_several_instructions_is_chosen() -> None:
    unseen = _COPY
    seen = {**_COPY, "n_levels": 1, "n_inc0": 1, "w_inc0": 1, "tail": 1}
    assert not is_seen("w2n", unseen)
    assert is_seen("w2n", seen)
    assert first_seen("w2n", [unseen, seen]) == seen
    assert first_seen("w2n", [unseen, {**unseen, "n_inc0": 1}]) == unseen


def test_an_instruction_whose_numbers_do_not_fit_is_not_seen() -> None:
    assert not is_seen("w2n", {"w_addr": 1 << 40})


@pytest.mark.parametrize("channels", [72, 130])
def test_pieces_of_a_depthwise_result_wait_for_nothing_that_never_comes(
    channels: int, compare: Compare
) -> None:
    """An op signals each four channels; a transfer of 64 waits for all of them at once."""
    net = Layers(13, 12, channels)
    model = net.model(net.depthwise(net.depthwise(net.image)))
    assert compare(model, random_feeds(model, 1)).reasons == {}


def _waits_for_an_op(instruction: Instruction) -> bool:
    return (
        instruction.layout.name.startswith("mesh")
        and bool(instruction["s0_en_a"])
        and instruction["s0_id"] == 0
        and instruction["o_cnt1"] > 0
    )


def test_a_wait_that_never_ends_is_found_only_by_strict_mode() -> None:
    """The same first count, but then one more for each word instead of each piece."""
    net = Layers(16, 16, 8)
    package = _package(net.model(net.conv(net.conv(net.image, 64), 16)))
    (bitstream,) = package.inference.instruction_bitstreams
    instructions = list(decode(bitstream.bitstream.tobytes()))
    place = next(k for k, each in enumerate(instructions) if _waits_for_an_op(each))
    fields = instructions[place].fields
    instructions[place] = replace(
        instructions[place], fields={**fields, "s0_val": fields["s0_val"] & ~3}
    )
    changed = np.frombuffer(encode(instructions), np.uint8)
    inference = replace(
        package.inference, instruction_bitstreams=(replace(bitstream, bitstream=changed),)
    )
    wrong = with_executable(package, inference)
    EdgeTpu(wrong)
    with pytest.raises(SyncError, match=r"until counter 0 is \d+, it ends at") as caught:
        EdgeTpu(wrong, strict_sync=True)
    assert caught.value.why == "the chip would wait for ever"
