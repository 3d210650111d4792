# SPDX-License-Identifier: Apache-2.0
"""Networks whose programs, made by edgekit's own compiler, faults are seeded into.

They have every kind of step that the compiler makes: the networks of the ladder of `edgekit
confirm`, and those of the kinds below, which are larger or need several models.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.confirm.networks import NetworkBuilder
from edgekit.confirm.recipes import RECIPES
from edgekit.formats.darwinn import Package
from edgekit.formats.tflite import Model
from edgekit.opencompiler.translate import translate_all
from scripts.random_operators import random_model


def own_programs() -> Iterator[tuple[str, Package, tuple[Package, ...]]]:
    """Yield programs: a name, the package, and the packages that share a chip with it."""
    for name, models in (*_newest(), *((each.name, (each.model(),)) for each in RECIPES)):
        packages = [made.package for _, made in translate_all([(each, name) for each in models])]
        for number, package in enumerate(packages):
            others = (*packages[:number], *packages[number + 1 :])
            yield name, package, others


def _newest() -> Iterator[tuple[str, tuple[Model, ...]]]:
    yield "dense layers over all tiles", (_dense(),)
    yield "a transposition of channels", (_moved((1, 9, 12, 20)),)
    yield "two transpositions", (_moved((1, 8, 8, 16), "TRANSPOSE"),)
    yield "a map as a vector", (_flattened(7, 9, 12),)
    yield "a map as a vector on all tiles", (_flattened(12, 12, 8, 200),)
    yield "softmax over 5,000 classes", (_softmax(5000),)
    yield "a segment that grows", (_growing(),)
    yield "slices", (_sliced(),)
    yield "two models in one cache", (_flattened(8, 8, 8), _dense())
    yield "joined and split", (random_model(3, ("CONCATENATION", "SPLIT"), (1, 9, 7, 12)),)
    for seed, opcode in enumerate(_OPCODES):
        yield opcode, (random_model(seed, ("CONV_2D", opcode), (1, 9, 11, 8)),)


_OPCODES = (
    "MUL",
    "SUB",
    "PRELU",
    "MINIMUM",
    "L2_NORMALIZATION",
    "REDUCE_MAX",
    "SUM",
    "MIRROR_PAD",
    "TILE",
    "RSQRT",
)


def _dense() -> Model:
    network = NetworkBuilder("dense layers", (300,))
    network.dense(700, activation="RELU")
    network.dense(130)
    return network.model()


def _moved(shape: tuple[int, ...], *more: str) -> Model:
    return random_model(1, ("CONV_2D", "TRANSPOSE", "RELU", *more), shape)


def _flattened(height: int, width: int, channels: int, outputs: int = 10) -> Model:
    network = NetworkBuilder(f"vector of {height} {width} {channels}", (height, width, channels))
    network.convolution(channels, (3, 3))
    network.dense(outputs)
    return network.model()


def _softmax(classes: int) -> Model:
    network = NetworkBuilder("classes", (classes,), spread=8.0)
    network.unary("SOFTMAX")
    return network.model()


def _growing() -> Model:
    """More than the narrow memory of all tiles, and a result that overwrites its input."""
    network = NetworkBuilder("growing", (96, 160, 24))
    network.convolution(136, (1, 1))
    network.depthwise((3, 3))
    network.convolution(140, (1, 1))
    network.depthwise((3, 3), stride=2)
    return network.model()


def _sliced() -> Model:
    network = NetworkBuilder("sliced", (128, 160, 8))
    network.convolution(192, (1, 1))
    network.depthwise((3, 3), stride=2)
    network.convolution(24, (1, 1))
    return network.model()
