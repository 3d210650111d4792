# SPDX-License-Identifier: Apache-2.0
"""`inspect`: what is in a .tflite file, and in the Edge TPU package of a compiled one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Sequence

from edgekit.errors import UsageError
from edgekit.files import PathLike
from edgekit.formats.darwinn import read_packages
from edgekit.formats.features import read_features
from edgekit.formats.model_file import PROGRAM, read_model_file
from edgekit.formats.tflite_metadata import read_compiler_note
from edgekit.inspect.compiled import compiler_release, describe_packages
from edgekit.inspect.graph import describe_operators, describe_tensors
from edgekit.inspect.result import CpuOperator, FeaturesInfo, InspectResult, InspectSet
from edgekit.inspect.source import place_source
from edgekit.inspect.together import group_by_token, verdict


def inspect(model: PathLike, *, source: PathLike | None = None) -> InspectResult:
    """Look inside a model.

    Args:
        model: A .tflite file, plain or compiled, or a bundle: its compiled model if it has one.
        source: For a compiled model, the file it was compiled from; then the operators inside the
            Edge TPU's part are known exactly.

    Raises:
        InputError: A file cannot be read.
        ModelFormatError: A file is damaged or not a .tflite file.
        UnsupportedModelError: ``source`` is not the model that was compiled.
        UsageError: ``source`` was given for a plain model.
    """
    file = read_model_file(model, PROGRAM)
    parsed = file.model
    packages = read_packages(parsed, str(model))
    if source is not None and not packages:
        raise UsageError(
            f"{model} is not compiled, so --source does not apply to it",
            fix="leave --source out, or give the _edgetpu.tflite file",
        )
    if packages and file.is_bundle:  # it also contains the source
        source = source or model
    operators = describe_operators(parsed, compiled=bool(packages))
    described = describe_packages(packages)
    note = read_compiler_note(parsed) if packages else None
    peak = max(operators, key=lambda each: each.activation_bytes, default=None)
    runtime = max((each.min_runtime_version for each in described), default=None)
    result = InspectResult(
        model=str(model),
        sha256=file.sha256,
        bytes=len(file.content),
        kind="compiled" if packages else "plain",
        description=parsed.description,
        inputs=describe_tensors(parsed, parsed.main.inputs),
        outputs=describe_tensors(parsed, parsed.main.outputs),
        operators=operators,
        opcodes=dict(Counter(each.opcode for each in operators)),
        macs=sum(each.macs for each in operators),
        parameter_bytes=sum(each.parameter_bytes for each in operators),
        peak_activation_bytes=peak.activation_bytes if peak else 0,
        peak_activation_operator=peak.index if peak else None,
        packages=described,
        cpu_operators=tuple(
            CpuOperator(each.index, each.opcode, each.version)
            for each in operators
            if each.place == "cpu"
        ),
        min_runtime_version=runtime,
        compiler_release="" if runtime is None or note else compiler_release(runtime),
        compiler_note=note,
        cached_bytes=sum(each.cached_bytes for each in described),
        streamed_bytes=sum(each.streamed_bytes for each in described),
        bus_bytes_per_inference=sum(each.bus_bytes_per_inference for each in described),
        bus_bytes_at_load=sum(each.bus_bytes_at_load for each in described),
        features=tuple(
            FeaturesInfo(parsed.main.tensors[index].name, each.mean, each.std)
            for index, each in read_features(parsed).items()
        ),
    )
    if source is None:
        return result
    placed, inside = place_source(parsed, packages, read_model_file(source).model, str(source))
    return replace(
        result,
        source=str(source),
        source_operators=placed,
        packages=tuple(
            replace(each, source_operators=part) for each, part in zip(described, inside)
        ),
    )


def inspect_files(models: Sequence[PathLike]) -> InspectSet:
    """Look inside several models, and find how they share one chip.

    Raises:
        InputError: As for `inspect`.
    """
    files = tuple(inspect(each) for each in models)
    groups = group_by_token(files)
    return InspectSet(files, groups, verdict(files, groups))
