# SPDX-License-Identifier: Apache-2.0
"""The predicted demand of an int8 file equals the demand of its compiled form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.edgetpu.demand import Demand, demand_of_compiled, demand_of_plain
from edgekit.edgetpu.limits import CPU
from edgekit.edgetpu.support import judge_operators
from edgekit.edgetpu.timeline import activation_profile, peak_activation_bytes
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor, read_model

_EMPTY = np.empty(0, np.uint8)
_SCALE = Quantization((0.1,), (0,))


def _pairs(corpus: Path) -> list[tuple[str, Demand, Demand]]:
    found = []
    for record in json.loads((corpus / "compiled" / "truth.json").read_text()):
        if not record["source"] or "cocompiled" in record["compiled"]:
            continue
        compiled, plain = (read_model(corpus / record[key]) for key in ("compiled", "source"))
        mapped = {each.index for each in judge_operators(plain) if each.verdict != CPU}
        runtime = record["min_runtime_version"]
        found.append(
            (
                record["compiled"],
                demand_of_compiled(compiled, read_packages(compiled)),
                demand_of_plain(plain, mapped, runtime=runtime)[0],
            )
        )
    return found


@pytest.mark.corpus
def test_cycles_of_networks_are_within_ten_percent_of_the_compiled_programs(corpus: Path) -> None:
    """Small programs are left out: their time does not depend on cycles."""
    for name, compiled, plain in _pairs(corpus):
        if compiled.cycles > 100_000:
            assert plain.cycles == pytest.approx(compiled.cycles, rel=0.1), name


@pytest.mark.corpus
def test_inputs_and_cpu_part_are_those_of_the_compiled_file(corpus: Path) -> None:
    for name, compiled, plain in _pairs(corpus):
        assert plain.cpu.opcodes == compiled.cpu.opcodes, name
        if "lstm" not in name:
            assert plain.input_bytes == pytest.approx(compiled.input_bytes, rel=0.07, abs=16), name
            assert plain.output_bytes == pytest.approx(compiled.output_bytes, rel=0.15, abs=64)


def _chain(*shapes: tuple[int, ...]) -> Model:
    tensors = tuple(Tensor(str(i), shape, "INT8", 0, _SCALE) for i, shape in enumerate(shapes))
    operators = tuple(Operator("RELU", 1, (i,), (i + 1,)) for i in range(len(shapes) - 1))
    return Model((Subgraph(tensors, (0,), (len(shapes) - 1,), operators),), (_EMPTY,))


def test_an_activation_is_alive_from_its_operator_to_its_last_use() -> None:
    model = _chain((1, 10), (1, 100), (1, 5))
    assert activation_profile(model) == [110, 105]
    assert peak_activation_bytes(model) == 110


def test_a_model_without_operators_has_no_peak() -> None:
    assert peak_activation_bytes(_chain((1, 4))) == 0


def test_tensors_of_cpu_operators_cross_the_bus() -> None:
    model = _chain((1, 10), (1, 100), (1, 5))
    demand, _ = demand_of_plain(model, {0})
    assert (demand.input_bytes, demand.output_bytes) == (16, 104)
    assert demand.cpu.opcodes == ("RELU",)
    assert demand.cpu.elements == 100
