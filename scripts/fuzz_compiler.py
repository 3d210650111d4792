# SPDX-License-Identifier: Apache-2.0
"""Random networks through edgekit's own compiler: compiled and right, or refused with a reason.

    python -m scripts.fuzz_compiler [--num 1000] [--first 0] [--cluster ADDRESS]

Every program that is made is verified by the compiler itself (emulator in strict mode against the
chip's arithmetic, bit for bit). Its answer for one more input is compared here with real
arithmetic that shares no code with either: they may differ by a few steps of rounding. A network
that enlarges the rounding is far from real arithmetic in TensorFlow Lite's kernels too; then the
program may be at most twice as far.
"""

from __future__ import annotations

import argparse
import functools
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.chip.emulator.machine import EdgeTpu
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import Model, is_compiled, read_model, write_model
from edgekit.opencompiler import NotCompiledError, VerificationError, compile_program
from edgekit.runtime import Runner
from scripts.random_network import RandomNetwork, last_output, random_network
from scripts.sweep import add_cluster, trials

# Allowed steps between real and integer arithmetic: a rounding of one, enlarged by what follows.
_STEPS_OF_OPERATOR = 3
_MOST_OUTLIERS = 0.02  # the share of values that may differ by more


@dataclass(frozen=True)
class Outcome:
    """The outcome for one network."""

    seed: int
    operators: str
    mapped: int  # operators
    total: int
    refused: str = ""
    wrong: str = ""


def try_network(seed: int, operators: dict[str, int] | None = None) -> Outcome:
    """Compile network ``seed``, run it and compare."""
    network = random_network(seed, operators)
    output = last_output(network)
    model = network.model([output])
    opcodes = [operator.opcode for operator in network.operators]
    words, total = " ".join(opcodes), len(opcodes)
    try:
        made = compile_program(model)
    except NotCompiledError as refusal:
        return Outcome(seed, words, 0, total, refused=f"{refusal.what}: {refusal.why}")
    except VerificationError as error:
        return Outcome(seed, words, 0, total, wrong=str(error))
    mapped = len(made.part.mapped)
    compiled = read_model(made.content)
    if not is_compiled(compiled):
        return Outcome(seed, words, mapped, total, wrong="no custom operator was written")
    given, wanted = made.part.network.inputs, made.part.network.outputs
    tpu = EdgeTpu(read_packages(compiled)[0].package, strict_sync=True)
    feeds = {}
    for index in given:
        feeds[model.main.tensors[index].name] = _quantized(network.real[index], index, model)
    answers = tpu.invoke(feeds)
    allowed = _STEPS_OF_OPERATOR * total
    for index in wanted:
        tensor = model.main.tensors[index]
        real = _quantized(network.real[index], index, model)
        far = _share_beyond(allowed, answers[tensor.name], real)
        if far > _MOST_OUTLIERS and far > 2 * _share_of_tflite(network, model, index, allowed):
            wrong = f"{tensor.name}: {far:.1%} of the values are more than {allowed} steps off"
            return Outcome(seed, words, mapped, total, wrong=wrong)
    return Outcome(seed, words, mapped, total)


def _share_beyond(steps: int, made: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The share of values that differ by more than ``steps``."""
    difference = made.astype(np.int64).reshape(-1) - wanted.astype(np.int64).reshape(-1)
    return float(np.mean(np.abs(difference) > steps))


def _share_of_tflite(network: RandomNetwork, model: Model, index: int, steps: int) -> float:
    """The same share for TensorFlow Lite's kernels, at tensor ``index``."""
    part = replace(model.main, outputs=(index,))
    single = replace(model, subgraphs=(part, *model.subgraphs[1:]), signature_defs=())
    with Runner(write_model(single), device="cpu") as runner:
        inputs = [
            _quantized(network.real[each], each, model).reshape(model.main.tensors[each].shape)
            for each in model.main.inputs
        ]
        (made,) = runner.invoke(*inputs)
    return _share_beyond(steps, made, _quantized(network.real[index], index, model))


def _quantized(real: NDArray[Any], index: int, model: Model) -> NDArray[np.int8]:
    tensor = model.main.tensors[index]
    scale, zero = tensor.scale or 1.0, tensor.zero_point or 0
    q: NDArray[np.int8] = np.clip(np.rint(real / scale) + zero, -128, 127).astype(np.int8)
    return q


def main() -> None:
    """Print each network that is wrong, and a summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", help="names of operators, with commas")
    add_cluster(parser)
    arguments = parser.parse_args()
    only = dict.fromkeys(arguments.only.split(","), 1) if arguments.only else None
    reasons: Counter[str] = Counter()
    mapped = total = compiled = wrong = 0
    seeds = range(arguments.first, arguments.first + arguments.num)
    attempt = functools.partial(try_network, operators=only)
    for seed, outcome in trials(attempt, seeds, arguments.cluster):
        mapped, total = mapped + outcome.mapped, total + outcome.total
        if outcome.wrong:
            wrong += 1
            print(f"WRONG {seed}: {outcome.operators}: {outcome.wrong}")
        elif outcome.refused:
            reasons[outcome.refused] += 1
        else:
            compiled += 1
    print(
        f"{arguments.num} networks: {compiled} compiled and right, {wrong} wrong, "
        f"{sum(reasons.values())} refused; {mapped} of {total} operators mapped"
    )
    for reason, count in reasons.most_common():
        print(f"  {count:4}  {reason}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
