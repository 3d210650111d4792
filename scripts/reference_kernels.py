# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Lite's reference kernels as an oracle of the chip's arithmetic, operator by operator.

Every operator runs alone, on the values that the chip has at that point, so differences do not
add up: `compared` shows how far each result is from `edgekit.chip.arithmetic`, and ``TOLERATED``
how far it may be. The kernels share no code and no formula with edgekit.

    python -m scripts.reference_kernels [--number 300] [--cluster ADDRESS]

prints the differences on random operators, from which ``TOLERATED`` was taken.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgekit.chip.arithmetic.scales import unsigned
from edgekit.chip.arithmetic.twin import run_twin
from edgekit.formats.tflite import Model, write_model
from edgekit.formats.tflite.part import with_operators
from edgekit.runtime import Runner
from scripts.random_operators import MAKERS, random_feeds, random_model
from scripts.sweep import add_cluster, trials

TOLERATED = dict.fromkeys(
    (
        "ADD",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "HARD_SWISH",
        "L2_NORMALIZATION",
        "LOGISTIC",
        "MEAN",
        "MUL",
        "PRELU",
        "QUANTIZE",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RESIZE_BILINEAR",
        "RSQRT",
        "SOFTMAX",
        "SQUARED_DIFFERENCE",
        "SUB",
        "SUM",
        "TANH",
        "TRANSPOSE_CONV",
    ),
    1,
)
# In ai-edge-litert 2.3 the reference kernel of an int8 SUM returns -1 for every input, that of
# SOFTMAX aborts the process for 1,001 equal values, and that of RESIZE_BILINEAR is up to 4 steps
# from float arithmetic where the factor is 3.
_FAST = {"SUM", "SOFTMAX", "RESIZE_BILINEAR"}


@dataclass(frozen=True)
class Compared:
    """One output of one operator: the chip's arithmetic against the reference kernel."""

    index: int
    opcode: str
    tensor: int
    values: int
    differing: int
    largest: int  # difference in steps of the output

    @property
    def is_tolerated(self) -> bool:
        """Whether the difference is one that the two roundings explain."""
        return self.largest <= TOLERATED.get(self.opcode, 0)


def compared(model: Model, feeds: Mapping[str, Any]) -> Iterator[Compared]:
    """Yield every output of every operator that the chip's arithmetic covers."""
    graph = model.main
    values = {index: feeds[graph.tensors[index].name] for index in graph.inputs}
    made: dict[int, dict[int, Any]] = {}
    for number, index, result in run_twin(model, feeds):
        tensor = graph.tensors[index]
        stored = result.reshape(tensor.shape)
        values[index] = (stored ^ 0x80).view(np.int8) if tensor.dtype == "INT8" else stored
        made.setdefault(number, {})[index] = stored.astype(int)
    for number, results in made.items():
        theirs = _alone(model, number, values)
        for index, ours in results.items():
            difference = np.abs(ours - theirs[index])
            differing, largest = int((difference > 0).sum()), int(difference.max(initial=0))
            opcode = graph.operators[number].opcode
            yield Compared(number, opcode, index, ours.size, differing, largest)


def _alone(model: Model, number: int, values: Mapping[int, Any]) -> dict[int, Any]:
    """Return all outputs of one operator by the reference kernels, as the device stores them."""
    operator = model.main.operators[number]
    part = with_operators(model, number, number + 1)
    graph = replace(part.main, outputs=operator.outputs)
    kernels = "fast" if operator.opcode in _FAST else "reference"
    content = write_model(replace(part, subgraphs=(graph, *part.subgraphs[1:])))
    with Runner(content, kernels=kernels) as runner:
        results = runner.invoke(*(values[index] for index in graph.inputs))
    return {
        index: unsigned(np.asarray(result)).reshape(model.main.tensors[index].shape).astype(int)
        for index, result in zip(operator.outputs, results, strict=True)
    }


def main() -> None:
    """Print the differences on random operators."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=100, help="models of each operator")
    parser.add_argument("--only", default="", help="one operator")
    add_cluster(parser)
    arguments = parser.parse_args()
    print("| operator | values | differ | share | largest |\n|---|---|---|---|---|")
    opcodes = [arguments.only] if arguments.only else list(MAKERS)
    models = itertools.product(opcodes, range(arguments.number))
    found = trials(_random, models, arguments.cluster)
    for opcode, tried in itertools.groupby(found, key=lambda each: each[0][0]):
        rows = [each for _model, some in tried for each in some]
        values, differing = sum(row.values for row in rows), sum(row.differing for row in rows)
        largest = max((row.largest for row in rows), default=0)
        share = differing / max(values, 1)
        print(f"| {opcode} | {values:,} | {differing:,} | {share:.4%} | {largest} |", flush=True)


def _random(of: tuple[str, int]) -> list[Compared]:
    opcode, seed = of
    model = random_model(seed, [opcode])
    found = []
    for extreme in (None, None, 0, 255):
        feeds = random_feeds(model, seed, extreme=extreme)
        found += [each for each in compared(model, feeds) if each.opcode == opcode]
    return found


if __name__ == "__main__":
    main()
