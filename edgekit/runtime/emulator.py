# SPDX-License-Identifier: Apache-2.0
"""The emulator backend: a compiled model without a chip.

The operators that are compiled for the Edge TPU run in `edgekit.chip.emulator`, the others in
TensorFlow Lite's interpreter, in the order of the file.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, Collection, Mapping, Sequence

import numpy as np

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.comparison import (
    STATE_OUTPUT,
    Comparison,
    compare,
    part_of,
    random_inputs,
)
from edgekit.chip.isa import EmulationError, UnprovenError, decode_package
from edgekit.chip.vocabulary.proven import UnprovenForm, unproven_forms
from edgekit.errors import DataError, UnsupportedModelError
from edgekit.formats.darwinn import Package, read_packages
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import NUMPY_DTYPES, Model, is_edgetpu_operator
from edgekit.formats.tflite.part import with_operators
from edgekit.formats.tflite_metadata import verified_programs
from edgekit.runtime.base import Environment, TensorInfo
from edgekit.runtime.cpu import CpuBackend, open_cpu
from edgekit.runtime.devices import EMULATOR
from edgekit.runtime.interpreters import InterpreterLibrary

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NOTE = "values of the Edge TPU; times of this machine's CPU, not of the chip"


@dataclass(frozen=True)
class _Stage:
    """A part of the model: tensors in, tensors out, and what computes it."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    variables: tuple[int, ...]  # that it also writes, for the next inference
    run: Callable[[list[Any]], Sequence[Any]]


@dataclass(frozen=True)
class Program:
    """One edgetpu-custom-op in an emulated chip."""

    operator_index: int
    chip: EdgeTpu
    plan_ms: float  # to create the plans and fill the parameter cache
    unproven: tuple[UnprovenForm, ...]  # forms that are in no program that equals its source
    comparison: Comparison | None = None  # with its source, if that was given


class EmulatorBackend:
    """A compiled model, its Edge TPU programs in software."""

    def __init__(
        self,
        model: Model,
        library: Callable[[], InterpreterLibrary],
        kernels: str,
        num_threads: int,
        *,
        strict_sync: bool = False,
        unproven: bool = False,
        source: ModelFile | None = None,
        like: EmulatorBackend | None = None,
    ) -> None:
        """Load every part.

        Args:
            model: A compiled model.
            library: Called if operators run on the CPU.
            kernels: See `Runner`, for those operators.
            num_threads: For those operators.
            strict_sync: Check counters, queue capacities and fences while planning.
            unproven: Also run programs with forms of instructions that are not proven.
            source: The plain model that was compiled, to compare each program with.
            like: A backend of the same model, whose plans are reused.
        """
        start = time.perf_counter()
        self._graph = model.main
        self._library, self._kernels, self._num_threads = library, kernels, num_threads
        self._parts: list[CpuBackend] = []
        self._cpu: Environment | None = None
        self.programs: list[Program] = []
        # Checked first: a plain model is refused without loading a runtime.
        if not any(map(is_edgetpu_operator, self._graph.operators)):
            raise UnsupportedModelError(
                "the model does not contain a program for the Edge TPU",
                why="it has no operator edgetpu-custom-op",
                fix="compile it first, or run it with --device cpu",
            )
        planned = {each.operator_index: each for each in like.programs} if like else {}
        self._stages = self._load(model, planned, strict_sync=strict_sync)
        if source is not None and like is None:
            if source.is_compiled:
                raise DataError(
                    "the source is compiled itself",
                    where=source.path,
                    why="its program is what is compared",
                    fix="give the .tflite that was compiled",
                )
            self.programs = [_compared(each, source) for each in self.programs]
        if not unproven:
            for each in self.programs:
                _check_proven(each)
        self._variables = self._initial_state()
        self.load_ms = (time.perf_counter() - start) * 1e3
        self.inputs = tuple(self._info(index) for index in self._graph.inputs)
        self.outputs = tuple(self._info(index) for index in self._graph.outputs)
        self.environment = self._environment()
        self._last: tuple[NDArray[Any], ...] = ()

    def invoke(self, raw: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
        """Run every part in order."""
        self._last = tuple(np.array(values) for values in raw)
        values: dict[int, NDArray[Any]] = {**self._variables, **dict(zip(self._graph.inputs, raw))}
        for stage in self._stages:
            results = stage.run([values[index] for index in stage.inputs])
            for index, result in zip((*stage.outputs, *stage.variables), results):
                values[index] = self._shaped(index, result)
        self._variables = {index: values[index] for index in self._variables}
        return tuple([values[index] for index in self._graph.outputs])

    def reinvoke(self) -> None:
        """Run again on the inputs of the last call."""
        self.invoke(self._last)

    def reset(self) -> None:
        """Set the variable tensors, of the programs and of the parts on the CPU, to zero."""
        self._variables = self._initial_state()
        for part in self._parts:
            part.reset()

    def close(self) -> None:
        """Release the memory."""
        for part in self._parts:
            part.close()
        self._stages = ()
        self.programs = []

    def _load(
        self, model: Model, planned: Mapping[int, Program], *, strict_sync: bool
    ) -> tuple[_Stage, ...]:
        packages = {each.operator_index: each for each in read_packages(model)}
        operators, stages, at = self._graph.operators, [], 0
        verified = verified_programs(model)
        while at < len(operators):
            if is_edgetpu_operator(operators[at]):
                program = planned.get(at)
                if program is None:
                    program = _planned(packages[at].package, at, verified, strict_sync=strict_sync)
                else:
                    program = replace(program, chip=program.chip.clone())
                self.programs.append(program)
                stages.append(self._on_chip(program))
                at += 1
                continue
            end = at
            while end < len(operators) and not is_edgetpu_operator(operators[end]):
                end += 1
            stages.append(self._on_cpu(with_operators(model, at, end)))
            at = end
        return tuple(stages)

    def _on_chip(self, program: Program) -> _Stage:
        chip, operator = program.chip, self._graph.operators[program.operator_index]
        names = [layer.name for layer in chip.executable.input_layers]
        states = {name + STATE_OUTPUT: index for name, index in zip(names, operator.inputs)}
        written = [layer.name for layer in chip.executable.output_layers]
        kept = [name for name in written if name in states]
        results = [name for name in written if name not in states] + kept

        def run(values: list[Any]) -> Sequence[Any]:
            made = chip.invoke(dict(zip(names, values)))
            return [made[name] for name in results]

        variables = tuple(states[name] for name in kept)
        return _Stage(operator.inputs, operator.outputs, variables, run)

    def _initial_state(self) -> dict[int, NDArray[Any]]:
        """Variable tensors as TensorFlow Lite resets them: the zero point of int8, else 0."""
        state = {}
        for index in {index for stage in self._stages for index in stage.variables}:
            tensor = self._graph.tensors[index]
            quantization = tensor.quantization if tensor.dtype == "INT8" else None
            value = quantization.zero_point[0] if quantization else 0
            state[index] = np.full(tensor.shape, value, NUMPY_DTYPES[tensor.dtype])
        return state

    def _on_cpu(self, part: Model) -> _Stage:
        file = ModelFile.of(part)
        backend = open_cpu(file, self._library(), self._kernels, self._num_threads)
        self._parts.append(backend)
        self._cpu = backend.environment
        return _Stage(
            part.main.inputs, part.main.outputs, (), lambda values: backend.invoke(tuple(values))
        )

    def _shaped(self, index: int, values: NDArray[Any]) -> NDArray[Any]:
        tensor = self._graph.tensors[index]
        if values.size == tensor.num_elements and not tensor.is_dynamic:
            return values.reshape(tensor.shape)
        return values

    def _info(self, index: int) -> TensorInfo:
        tensor = self._graph.tensors[index]
        scale = tensor.scale
        quantized = scale is not None and scale > 0
        return TensorInfo(
            name=tensor.name,
            shape=tensor.shape,
            dtype=NUMPY_DTYPES.get(tensor.dtype, tensor.dtype.lower()),
            scale=scale if quantized else None,
            zero_point=tensor.zero_point if quantized else None,
            index=index,
        )

    def _environment(self) -> Environment:
        versions = {"numpy": np.__version__, "python": platform.python_version()}
        if self._cpu is not None:
            versions.update(self._cpu.versions)  # numpy stays the first: it runs the programs
        note = "; ".join([_NOTE, *filter(None, map(_words, self.programs))])
        return Environment(EMULATOR, "numpy", "edgetpu", note, self._num_threads, versions)


def _planned(
    package: Package, index: int, verified: Collection[str], *, strict_sync: bool
) -> Program:
    """Plan a program; those that edgekit's compiler verified (``verified``) are proven."""
    start = time.perf_counter()
    try:
        chip = EdgeTpu(package, strict_sync=strict_sync)
    except EmulationError as error:
        where = f"operator {index}, {error.where}" if error.where else f"operator {index}"
        raise type(error)(
            error.what, where=where, why=error.why, fix=error.fix or "run it on an Edge TPU"
        ) from error
    plan_ms = (time.perf_counter() - start) * 1e3
    is_verified = package.sha256 in verified
    return Program(
        index, chip, plan_ms, () if is_verified else unproven_forms(decode_package(package))
    )


def _check_proven(program: Program) -> None:
    """Refuse a program that could be computed wrongly: nothing like it was compared with a source.

    A comparison with its own source proves it.
    """
    found, forms = program.comparison, program.unproven
    if not forms or (found is not None and found.is_proof):
        return
    more = f" and {len(forms) - 1} more" if len(forms) > 1 else ""
    raise UnprovenError(
        f"the emulator is not proven on a form of instructions: {forms[0].form}{more}",
        where=f"operator {program.operator_index}, executable {forms[0].program}, "
        f"pc {forms[0].pc}: {forms[0].disassembled}",
        why="no program that was compared with its source has them, so they could be computed "
        "wrongly",
        fix="--unproven (unproven=True) runs it all the same; --source MODEL compares it with the "
        "model that was compiled; or run it on an Edge TPU",
    )


def _compared(program: Program, source: ModelFile) -> Program:
    """Return the program with its comparison; the chip's memory is as before."""
    chip = program.chip.clone()
    part = part_of(source.model, chip.executable)
    if part is None:
        layers = (*chip.executable.input_layers, *chip.executable.output_layers)
        raise DataError(
            f"the program of operator {program.operator_index} was not compiled from this source",
            where=source.path,
            why="it has no tensors " + ", ".join(repr(layer.name) for layer in layers),
            fix="give the .tflite that was compiled",
        )
    return replace(program, comparison=compare(chip, part, random_inputs(chip.executable)))


def _words(program: Program) -> str:
    """Words about what proves a program, or does not; "" if its forms are proven."""
    found, at = program.comparison, f"operator {program.operator_index}"
    if found is None:
        number = len(program.unproven)
        return f"{at}: not proven, new forms of instructions: {number}" if number else ""
    return (
        f"{at}: {len(found.exact)} of {len(found.layers)} layers "
        f"equal the source's, {found.num_different:,} of {found.num_values:,} output values differ"
    )
