# SPDX-License-Identifier: Apache-2.0
"""The script that plants faults: where a fault is, and when it counts as named."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("ai_edge_litert")
if sys.version_info < (3, 10):
    pytest.skip("the scripts need Python 3.10", allow_module_level=True)

import edgekit
from scripts.planted_faults import Fault, _behind, judge

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.formats.tflite import Model


def test_a_fault_of_weights_is_at_what_is_computed_from_them_alone(float_model: Model) -> None:
    assert _behind(float_model, 0) == {"conv/relu", "pool/max", "flatten/flat"}
    assert _behind(float_model, 3) == {"scores"}


def test_a_fault_counts_as_named_by_its_kind_and_place(float_path: Path, int8_path: Path) -> None:
    result = edgekit.debug(float_path, int8_path, "random", num_samples=4)
    row = next(each for each in result.operators if each.opcode == "CONV_2D")
    cause = replace(result.causes[0], index=row.index, kind="saturation")
    result = replace(result, causes=(cause,))

    def planted(name: str, kind: str) -> Fault:
        return Fault("range cut", "", b"", frozenset((name,)), frozenset((kind,)))

    assert judge(result, planted("conv/relu", "saturation")) == 1
    assert judge(result, planted("conv/relu", "weights")) == 0
    assert judge(result, planted("image", "saturation")) == 0
