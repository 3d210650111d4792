# SPDX-License-Identifier: Apache-2.0
"""The compiled programs of the corpus, each with the part of a source that it was compiled from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.chip.arithmetic.scales import multiplier_of
from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.comparison import part_of
from edgekit.formats.darwinn import EdgeTpuOperator, read_packages
from edgekit.formats.tflite import Model, read_model


@dataclass(frozen=True)
class CorpusProgram:
    """One edgetpu-custom-op of one compiled model, and the models that may be its source."""

    label: str
    operator: EdgeTpuOperator
    sources: tuple[Model, ...]
    is_named: bool  # whether the corpus names the source; else its parameters decide


def programs_of_corpus(corpus: Path, programs: Path | None = None) -> Iterator[CorpusProgram]:
    """Yield the programs of the corpus and of a folder with more of them."""
    folders = [(corpus, "compiled/truth.json")] + ([(programs, "truth.json")] if programs else [])
    for folder, truth in folders:
        for record in json.loads((folder / truth).read_text()):
            path = folder / record["compiled"]
            source = record["source"]
            sources = (read_model((folder / source).read_bytes()),) if source else _siblings(path)
            name = f"{path.parent.name.split('__')[-1]}: {path.name.replace('_edgetpu.tflite', '')}"
            packages = read_packages(read_model(path.read_bytes()))
            for each in packages:
                op = f", op {each.operator_index}" if len(packages) > 1 else ""
                yield CorpusProgram(name + op, each, sources, bool(source))


def source_of(program: CorpusProgram, chip: EdgeTpu) -> Model | None:
    """Return the part of a source that the program was compiled from; None if there is none."""
    for source in program.sources:
        part = part_of(source, chip.executable)
        if part and (program.is_named or _holds(program.operator, part)):
            return part
    return None


def _siblings(compiled: Path) -> tuple[Model, ...]:
    """Return the folder's other models: their CPU operators are operators of the source."""
    paths = sorted(compiled.parent.glob("*_edgetpu.tflite"))
    return tuple(read_model(path.read_bytes()) for path in paths if path != compiled)


def _holds(program: EdgeTpuOperator, part: Model) -> bool:
    """Whether the program has the parameters of ``part``: its convolutions' multipliers."""
    package = program.package
    held = b"".join(np.asarray(each.parameters).tobytes() for each in package.executables)
    tensors = part.main.tensors
    multipliers = [
        multiplier_of(*(tensors[index] for index in (*each.inputs[:2], each.outputs[0])))
        for each in part.main.operators
        if each.opcode == "CONV_2D"
    ]
    return bool(multipliers) and all(np.asarray(m).tobytes() in held for m in multipliers)
