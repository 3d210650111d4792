# SPDX-License-Identifier: Apache-2.0
"""The gate of edgekit's compiler: a program is written only if the emulator agrees with the twin.

The emulator executes the instructions and checks every wait; the twin computes the source
operators in numpy, by the chip's arithmetic. They share tables and scales, and no code that walks
over a network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Iterator, Sequence

import numpy as np

from edgekit.chip.arithmetic.twin import run_twin
from edgekit.chip.emulator.machine import EdgeTpu
from edgekit.chip.isa.errors import EmulationError, SyncError
from edgekit.formats.tflite import NUMPY_DTYPES, Model, Tensor
from edgekit.opencompiler.errors import NotCompiledError, VerificationError
from edgekit.opencompiler.result import Verification

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.chip.codegen import Partition
    from edgekit.formats.darwinn import Package

    Feeds = dict[str, NDArray[np.generic]]

_SEED = 1
_REPORT = "please report it with the model; --compiler google compiles it with Google's program"
# Large programs are tried on fewer inputs: so many steps of the busiest tile in all.
_FEWEST, _MOST = 2, 6
_STEPS = 400_000


def verify(model: Model, package: Package, outputs: Sequence[int], steps: int) -> Verification:
    """Run ``package`` on random and extreme inputs and compare all its outputs.

    Args:
        model: The source, whose inputs are those of the package.
        package: The program.
        outputs: The tensors that it computes.
        steps: Of the busiest tile; large programs get fewer inputs.

    Raises:
        NotCompiledError: A tensor has no formula, or the emulator does not execute the program.
        VerificationError: A value differs, or an instruction does not wait for what it needs.
    """
    tpu = _load(package)
    tensors = [model.main.tensors[index] for index in model.main.inputs]
    number = max(_FEWEST, min(_MOST, _STEPS // max(steps, 1)))
    kinds, compared = [], 0
    opcodes = {i: each.label for each in model.main.operators for i in each.outputs}
    for (kind, feeds), _ in zip(_inputs(tensors), range(number)):
        made = tpu.invoke(feeds)
        wanted = {index: values for _, index, values in run_twin(model, feeds)}
        for index in outputs:
            tensor = model.main.tensors[index]
            if index not in wanted:
                raise NotCompiledError(
                    "the program cannot be verified",
                    where=f"tensor {tensor.name!r}",
                    why=f"the chip's arithmetic of {opcodes[index]} or of an operator before it is "
                    "not known",
                )
            compared += _compare(tensor, made[tensor.name], wanted[index], kind)
        kinds.append(kind)
    return Verification(tuple(kinds), compared)


def verify_together(packages: Sequence[Package]) -> None:
    """Check programs that share a chip: none overwrites parameters that another one keeps.

    Raises:
        NotCompiledError: The emulator does not execute a program.
        VerificationError: Two programs use the same rows of wide memory.
    """
    chips = [_load(package) for package in packages]
    for number, chip in enumerate(chips):
        for other in (each for each in chips if each is not chip):
            for tile, kept in enumerate(chip.cached_rows):
                lost = kept & (other.cached_rows[tile] | other.plan.wide_rows[tile])
                if lost:
                    raise VerificationError(
                        f"edgekit's compiler lets another program overwrite {len(lost)} rows of "
                        f"parameters of model {number}",
                        where=f"tile {tile}, row {min(lost)} of wide memory",
                        why="the models were compiled to share the chip",
                        fix=_REPORT,
                    )


def _load(package: Package) -> EdgeTpu:
    try:
        return EdgeTpu(package, strict_sync=True)
    except SyncError as error:
        raise VerificationError(
            f"edgekit's compiler generated a program with a race: {error.what}",
            where=error.where,
            why=error.why,
            fix=_REPORT,
        ) from error
    except EmulationError as error:
        raise NotCompiledError(
            f"the program cannot be verified: {error.what}",
            where=error.where,
            why=error.why,
            fix="edgekit compile --compiler google, with Google's edgetpu_compiler",
        ) from error


def only_part(model: Model, part: Partition) -> Model:
    """The operators that run on the Edge TPU, with their inputs."""
    operators = tuple(model.main.operators[number] for number in part.mapped)
    main = replace(model.main, inputs=part.network.inputs, operators=operators)
    return replace(model, subgraphs=(main, *model.subgraphs[1:]))


def _inputs(tensors: Sequence[Tensor]) -> Iterator[tuple[str, Feeds]]:
    """Yield the inputs that reveal most errors first."""
    generator = np.random.default_rng(_SEED)

    def filled(values: Sequence[NDArray[np.uint8] | int]) -> Feeds:
        feeds: Feeds = {}
        for tensor, value in zip(tensors, values):
            raw = np.broadcast_to(np.asarray(value, np.uint8), tensor.shape)
            offset = 128 if tensor.dtype == "INT8" else 0
            feeds[tensor.name] = (raw.astype(np.int64) - offset).astype(NUMPY_DTYPES[tensor.dtype])
        return feeds

    def random(low: int, high: int, step: int = 1) -> list[NDArray[np.uint8] | int]:
        return [
            (generator.integers(low, high, tensor.shape) * step).astype(np.uint8)
            for tensor in tensors
        ]

    yield "random", filled(random(0, 256))
    yield "random extremes", filled(random(0, 2, 255))
    yield "all 255", filled([255] * len(tensors))
    yield "all 0", filled([0] * len(tensors))
    yield "zero", filled([_zero(tensor) for tensor in tensors])
    yield "random", filled(random(0, 256))


def _zero(tensor: Tensor) -> int:
    zero = tensor.quantization.zero_point[0] if tensor.quantization else 0
    return zero + (128 if tensor.dtype == "INT8" else 0)


def _compare(
    tensor: Tensor, made: NDArray[np.generic], wanted: NDArray[np.uint8], kind: str
) -> int:
    """Return the number of values, all equal."""
    offset = 128 if tensor.dtype == "INT8" else 0
    found = made.reshape(-1).astype(np.int64) + offset
    differing = np.flatnonzero(found != wanted.reshape(-1))
    if not differing.size:
        return found.size
    first = int(differing[0])
    raise VerificationError(
        f"{differing.size} of {found.size} values differ between program and model",
        where=f"tensor {tensor.name!r}, value {first}: {found[first]} instead of "
        f"{int(wanted.reshape(-1)[first])}",
        why=f"edgekit's compiler made a wrong program ({kind} input); it is not written",
        fix=_REPORT,
    )
