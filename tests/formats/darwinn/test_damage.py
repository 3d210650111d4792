# SPDX-License-Identifier: Apache-2.0
"""A damaged package is an error with a reason, never a crash, a hang or unbounded memory."""

from __future__ import annotations

import random
import struct
import tracemalloc
from pathlib import Path
from typing import Callable

import pytest

from edgekit.errors import ModelFormatError
from edgekit.formats.darwinn import read_package
from edgekit.formats.darwinn.options import read_custom_options
from edgekit.formats.tflite import is_edgetpu_operator, read_model

BuildPackage = Callable[..., bytes]
_NAMES = [
    "split_concat_edgetpu",
    "keras_lstm_mnist_ptq_edgetpu",
    "deeplab_mobilenet_edgetpu_slim_cityscapes_quant_edgetpu",
]


def _mutations(content: bytes, count: int, seed: int) -> list[bytes]:
    source = random.Random(seed)
    damaged = []
    for _ in range(count):
        copy = bytearray(content)
        for _ in range(source.choice((1, 3, 20, 200))):
            place = source.choice(
                (
                    source.randrange(64),
                    source.randrange(8192),
                    -1 - source.randrange(16384),
                    source.randrange(len(copy)),
                )
            )
            copy[place % len(copy)] = source.choice((0, 1, 127, 128, 255, source.randrange(256)))
        damaged.append(bytes(copy))
    return damaged


def _survives(content: bytes) -> bool:
    try:
        read_package(content)
    except ModelFormatError as error:
        return not error.what
    return True


def _options(corpus: Path, name: str) -> bytes:
    model = read_model(corpus / "compiled" / "google-coral__test_data" / f"{name}.tflite")
    return next(
        each.custom_options for _, _, each in model.operators() if is_edgetpu_operator(each)
    )


@pytest.mark.corpus
@pytest.mark.parametrize("name", _NAMES)
def test_a_package_truncated_anywhere_is_an_error(corpus: Path, name: str) -> None:
    content = bytes(read_custom_options(_options(corpus, name), ""))
    cuts = random.Random(3).sample(range(len(content)), 500)
    assert not any(_survives(content[:cut]) for cut in [0, 4, 7, 8, len(content) - 1, *cuts])


@pytest.mark.corpus
@pytest.mark.parametrize("name", _NAMES)
def test_a_thousand_damaged_packages_give_a_package_or_an_error(corpus: Path, name: str) -> None:
    content = bytes(read_custom_options(_options(corpus, name), ""))
    outcomes = [_survives(each) for each in _mutations(content, 1000, seed=4)]
    assert 0 < sum(outcomes) < 1000


@pytest.mark.corpus
def test_damaged_options_give_a_package_or_an_error(corpus: Path) -> None:
    content = _options(corpus, _NAMES[0])
    source = random.Random(5)
    failed = 0
    for _ in range(1000):
        copy = bytearray(content)
        for _ in range(source.choice((1, 3, 20))):
            place = source.choice((source.randrange(32), -1 - source.randrange(64)))
            copy[place] = source.randrange(256)
        try:
            read_package(read_custom_options(bytes(copy), "here"), "here")
        except ModelFormatError as error:
            failed += error.where.startswith("here")
    assert failed


def test_every_truncation_of_a_small_package_is_an_error(build_package: BuildPackage) -> None:
    content = build_package([2, 1])
    assert _survives(content)
    assert not any(_survives(content[:cut]) for cut in range(len(content)))


def test_a_list_that_declares_a_billion_entries_costs_nothing(build_package: BuildPackage) -> None:
    content = bytearray(build_package([0], chunks=[bytes(16)] * 3))
    # The only list of three tables that begins with a length of 3 is that of the chunks.
    place = content.rindex(struct.pack("<I", 3))
    content[place : place + 4] = struct.pack("<I", 0x3FFFFFFF)
    tracemalloc.start()
    with pytest.raises(ModelFormatError):
        read_package(bytes(content))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1 << 20


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"TFL3" * 40])
def test_bytes_without_the_identifier_are_not_a_package(content: bytes) -> None:
    with pytest.raises(ModelFormatError, match="this is not an Edge TPU package"):
        read_package(content)
