# SPDX-License-Identifier: Apache-2.0
"""One inference of a compiled model in software, with what its programs are made of."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Sequence

from edgekit.evaluate.run import RunResult, run
from edgekit.extras import require_part
from edgekit.files import read_bytes
from edgekit.formats.content import program_content
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import read_model
from edgekit.result import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.files import PathLike


@dataclass(frozen=True)
class EmulatedProgram(Result):
    """One edgetpu-custom-op: what the emulator made of its inference program."""

    operator_index: int
    instructions: Mapping[str, int]  # how many of each name
    num_steps: int  # of the plan that a run walks
    plan_ms: float  # to make the plans and fill the parameter cache, of this machine


@dataclass(frozen=True)
class EmulateResult(Result):
    """The answers, and the programs that gave them."""

    schema: ClassVar[str] = "edgekit.emulate/1"
    strict_sync: bool  # whether counters, capacities and fences were checked too
    programs: tuple[EmulatedProgram, ...]
    run: RunResult


def emulate(
    model: bytes | PathLike,
    inputs: Sequence[PathLike | NDArray[Any]],
    *,
    strict_sync: bool = False,
    **options: Any,  # noqa: ANN401
) -> EmulateResult:
    """Run a compiled model on each of ``inputs`` without a chip.

    Args:
        model: Path or content of a compiled .tflite file, or of a bundle that has one.
        inputs: See `run`.
        strict_sync: Also check counters, queue capacities and fences, and stop at the first fault.
        **options: ``preprocess``, ``labels``, ``top``, ``runtime``, ``kernels``, ``num_threads``:
            see `run`.

    Raises:
        MissingExtraError: This is the boards' wheel, which has no emulator.
        EmulationError: A program does something that is not proven.
        SyncError: ``strict_sync`` found a fault.
        EdgeKitError: As for `run`.
    """
    require_part("emulator")
    from edgekit.chip.emulator import EdgeTpu  # noqa: PLC0415 - a part that a board may lack

    programs = []
    where = "" if isinstance(model, bytes) else str(model)
    given = model if isinstance(model, bytes) else read_bytes(model, "model")
    for each in read_packages(read_model(program_content(given, where), where=where)):
        start = time.perf_counter()
        chip = EdgeTpu(each.package, strict_sync=strict_sync)
        plan_ms = (time.perf_counter() - start) * 1e3
        programs.append(
            EmulatedProgram(each.operator_index, chip.instructions, len(chip.plan.steps), plan_ms)
        )
    answers = run(model, inputs, device="emulator", **options)
    return EmulateResult(strict_sync, tuple(programs), answers)
