# SPDX-License-Identifier: Apache-2.0
"""Compiled models of the corpus, and a random input for a program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import pytest

from edgekit.chip.isa import decode, encode
from edgekit.formats.darwinn import DataType, Executable, Package, read_packages
from edgekit.formats.tflite import read_model

Load = Callable[[str], Package]
Inputs = Callable[[Executable], Dict[str, Any]]
Change = Callable[..., Package]


@pytest.fixture
def load(corpus: Path) -> Load:
    """Return a function: path in the corpus -> first package of the compiled model there."""

    def read(path: str) -> Package:
        content = (corpus / "compiled" / path).read_bytes()
        return read_packages(read_model(content))[0].package

    return read


@pytest.fixture
def random_inputs() -> Inputs:
    """Values over the whole range for every input layer."""

    def draw(executable: Executable) -> dict[str, Any]:
        random = np.random.default_rng(0)
        values: dict[str, Any] = {}
        for layer in executable.input_layers:
            shape = (layer.y_dim, layer.x_dim, layer.z_dim)
            if layer.data_type is DataType.SIGNED_FIXED_POINT16:
                values[layer.name] = random.integers(-(1 << 15), 1 << 15, shape).astype(np.int16)
                continue
            raw = random.integers(0, 256, shape).astype(np.uint8)
            signed = layer.data_type is DataType.SIGNED_FIXED_POINT8
            values[layer.name] = raw.view(np.int8) if signed else raw
        return values

    return draw


@pytest.fixture
def with_bytes() -> Change:
    """The package with the first instruction bitstream of its inference program replaced."""

    def change(package: Package, content: bytes) -> Package:
        executable = package.inference
        first, *others = executable.instruction_bitstreams
        first = replace(first, bitstream=np.frombuffer(content, np.uint8))
        changed = replace(executable, instruction_bitstreams=(first, *others))
        programs = tuple(changed if each is executable else each for each in package.executables)
        return replace(package, executables=programs)

    return change


@pytest.fixture
def with_fields(with_bytes: Change) -> Change:
    """The package with fields of the first instruction that ``fits`` changed."""

    def change(package: Package, fits: Callable[[Any], bool], **fields: int) -> Package:
        content = package.inference.instruction_bitstreams[0].bitstream.tobytes()
        instructions = list(decode(content))
        position = next(k for k, each in enumerate(instructions) if fits(each))
        old = instructions[position]
        instructions[position] = replace(old, fields={**old.fields, **fields})
        return with_bytes(package, encode(instructions))

    return change
