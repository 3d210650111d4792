# SPDX-License-Identifier: Apache-2.0
"""Run a compiled model in software, and describe its programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Sequence

from edgekit.evaluate.run import RunRequest, RunResult, run_request
from edgekit.extras import require_part
from edgekit.files import write_text
from edgekit.result import Result
from edgekit.runtime import Runner, RunnerOptions
from edgekit.runtime.devices import EMULATOR
from edgekit.tasks import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import TypedDict, Unpack

    from edgekit.chip.emulator.comparison import Comparison
    from edgekit.chip.vocabulary.proven import UnprovenForm
    from edgekit.data import Preprocess
    from edgekit.files import PathLike
    from edgekit.formats.model_file import ModelSource
    from edgekit.runtime.emulator import Program

    class EmulateKeywords(TypedDict, total=False):
        """The arguments that `emulate` shares with `run`."""

        preprocess: str | Preprocess | None
        labels: PathLike | Sequence[str] | None
        top: int
        runtime: str | None
        kernels: str
        num_threads: int


_OF_RUNNER = ("runtime", "kernels", "num_threads")


@dataclass(frozen=True)
class EmulatedLayers(Result):
    """A program against the plain model that was compiled, on random inputs over all 256 values."""

    num_layers: int  # that the chip computes: convolutions, additions, pools, ...
    num_exact: int  # equal to the documented arithmetic in every value
    num_exact_values: int  # of these layers
    differing: tuple[str, ...]  # opcode and output of the layers that were not found exact
    num_outputs: int
    num_compared: int  # outputs for which the arithmetic is documented
    num_values: int  # of the compared outputs
    num_different: int  # of these values
    largest_difference: int  # in steps of the output's scale
    rescaled: tuple[str, ...]  # of these, layers that the program quantizes differently


@dataclass(frozen=True)
class EmulatedProgram(Result):
    """One edgetpu-custom-op: how the emulator planned its inference program."""

    operator_index: int
    instructions: Mapping[str, int]  # how many of each name
    num_steps: int  # of the plan that a run executes
    plan_ms: float  # to create the plans and fill the parameter cache, on this machine
    # Forms of instructions that are in no program that equals its source.
    unproven: tuple[UnprovenForm, ...] = ()
    source: EmulatedLayers | None = None  # compared with the source, if that was given


@dataclass(frozen=True)
class EmulateResult(Result):
    """The answers, and the programs that computed them."""

    schema: ClassVar[str] = "edgekit.emulate/1"
    strict_sync: bool  # whether counters, capacities and fences were checked too
    programs: tuple[EmulatedProgram, ...]
    run: RunResult


def emulate(
    model: ModelSource,
    inputs: Sequence[PathLike | NDArray[Any]],
    *,
    strict_sync: bool = False,
    unproven: bool = False,
    source: ModelSource | None = None,
    trace: PathLike | None = None,
    **options: Unpack[EmulateKeywords],
) -> EmulateResult:
    """Run a compiled model on each of ``inputs`` without a chip.

    Args:
        model: Path or content of a compiled .tflite file, or of a bundle that has one.
        inputs: See `run`.
        strict_sync: Also check counters, queue capacities and fences, and stop at the first fault.
        unproven: Also run programs with forms of instructions that are in no program that was
            compared with its source; they are in the result.
        source: The plain model that was compiled: each program is compared with it, layer by layer.
        trace: A file for what each unit of each tile does, in Chrome's trace format; with
            ``source`` with the names of its layers.
        **options: ``preprocess``, ``labels``, ``top``, ``runtime``, ``kernels``, ``num_threads``:
            see `run`.

    Raises:
        MissingExtraError: This is the boards' wheel, which has no emulator.
        EmulationError: A program does something that the emulator does not support.
        UnprovenError: A program has such forms, and neither ``unproven`` nor ``source`` is given.
        SyncError: ``strict_sync`` found a fault.
        EdgeKitError: As for `run`.
    """
    require_part("chip.emulator")
    given: dict[str, Any] = {**options}
    own = {name: given.pop(name) for name in _OF_RUNNER if name in given}
    how = RunnerOptions(EMULATOR, strict_sync=strict_sync, unproven=unproven, source=source, **own)
    request = RunRequest(**given)
    request.check(inputs)
    prepared = prepare(model, EMULATOR)
    with Runner(prepared.runnable, options=how) as runner:
        backend: Any = runner.backend  # an EmulatorBackend, which a board may not have
        programs = tuple(
            EmulatedProgram(
                each.operator_index,
                each.chip.instructions,
                len(each.chip.plan.steps),
                each.plan_ms,
                each.unproven,
                _layers(each.comparison),
            )
            for each in backend.programs
        )
        answers = run_request(prepared, runner, inputs, request)
        if trace is not None:
            _write_trace(trace, backend.programs)
    return EmulateResult(strict_sync, programs, answers)


def _write_trace(path: PathLike, programs: Sequence[Program]) -> None:
    # Imported here: a board may have no emulator.
    from edgekit.chip.emulator.trace import trace_document, trace_events  # noqa: PLC0415

    events = []
    for number, program in enumerate(programs):
        found = program.comparison
        layers = {each.pc: each.name for each in found.exact if each.pc} if found else None
        events += trace_events(program.chip, layers, number)
    write_text(path, trace_document(events))


def _layers(found: Comparison | None) -> EmulatedLayers | None:
    if found is None:
        return None
    exact = found.exact
    return EmulatedLayers(
        num_layers=len(found.layers),
        num_exact=len(exact),
        num_exact_values=sum(each.num_values for each in exact),
        differing=tuple(f"{e.opcode} {e.name}" for e in found.layers if e.pc is None),
        num_outputs=found.num_outputs,
        num_compared=found.num_compared,
        num_values=found.num_values,
        num_different=found.num_different,
        largest_difference=found.largest_difference,
        rescaled=found.rescaled,
    )
