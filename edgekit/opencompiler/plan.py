# SPDX-License-Identifier: Apache-2.0
"""``edgekit plan``: a model in segments for several Edge TPUs, and what the pipeline will take."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Sequence

from edgekit import files
from edgekit.edgetpu.calibration import FITTED
from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.formats.tflite import Model, is_compiled, write_model
from edgekit.opencompiler.estimate import estimate
from edgekit.opencompiler.segments import cut_evenly, even_by_parameters, segments_at
from edgekit.result import Result

BY_TIME, BY_PARAMETERS = "time", "parameters"
_MOST_TPUS = 16


@dataclass(frozen=True)
class PlannedSegment(Result):
    """One segment: the operators ``first`` to ``last`` of the model."""

    first: int
    last: int
    outputs: tuple[str, ...]  # the tensors that it gives to later segments, or of the model
    latency_ms: float  # estimated, with its transfers
    on_chip_bytes: int
    streamed_bytes: int  # parameters sent with every inference
    output: str | None = None  # the .tflite, if it was written


@dataclass(frozen=True)
class PlannedCut(Result):
    """The model in segments, one for each Edge TPU."""

    rule: str  # time: the slowest segment as fast as possible | parameters: about equal bytes
    segments: tuple[PlannedSegment, ...]
    latency_ms: float  # of one inference through all of them
    throughput_hz: float  # of a full pipeline: the slowest segment decides


@dataclass(frozen=True)
class PlanResult(Result):
    """A plan; nothing in it is measured."""

    schema: ClassVar[str] = "edgekit.plan/1"
    model: str
    sha256: str
    device: str
    num_tpus: int
    whole_ms: float  # estimated latency on one Edge TPU
    whole_streamed_bytes: int
    cuts: tuple[PlannedCut, ...]  # by time first
    commands: tuple[str, ...]  # compile the written segments


def plan(
    model: files.PathLike,
    *,
    num_tpus: int = 2,
    device: str = "usb3",
    output: files.PathLike | None = None,
) -> PlanResult:
    """Cut a model for a pipeline of Edge TPUs, by predicted time, and compare with an even cut.

    Args:
        model: An integer .tflite that is not compiled, or a bundle of one.
        num_tpus: How many segments.
        device: As for `estimate`: how each Edge TPU is connected.
        output: The folder for ``NAME_segment_0_of_2.tflite`` and so on, cut by time; created if
            missing. None writes nothing.

    Raises:
        UsageError: ``num_tpus`` is out of range, or larger than the number of operators; or the
            device has one Edge TPU.
        UnsupportedModelError: The model is compiled or has several subgraphs, or cannot be
            estimated.
        OutputError: A segment cannot be written.
    """
    if not 2 <= num_tpus <= _MOST_TPUS:
        raise UsageError(f"--num-tpus is {num_tpus}", fix=f"give 2 to {_MOST_TPUS}")
    if device not in FITTED:
        raise UsageError(
            f"there is no pipeline on the device {device}",
            why="the board has one Edge TPU, or it is not known",
            fix=f"choose one of {', '.join(FITTED)}",
        )
    file = read_model_file(model)
    where = str(model)
    if is_compiled(file.model):
        raise UnsupportedModelError(
            "the model is already compiled", where=where, fix="give the file it was compiled from"
        )
    whole = estimate(file, device=device)
    by_time = cut_evenly(file.model, num_tpus, where, device=device, option="--num-tpus")
    by_parameters = segments_at(file.model, even_by_parameters(file.model, num_tpus))
    first = _planned(BY_TIME, by_time, device)
    commands: tuple[str, ...] = ()
    if output is not None:
        names = _written(by_time, Path(where).stem, Path(output), where)
        pairs = zip(first.segments, names)
        first = replace(first, segments=tuple(replace(each, output=name) for each, name in pairs))
        folder = shlex.quote(str(output))
        commands = tuple(f"edgekit compile {shlex.quote(name)} -o {folder}" for name in names)
    return PlanResult(
        model=where,
        sha256=file.sha256,
        device=device,
        num_tpus=num_tpus,
        whole_ms=whole.latency_ms.mid,
        whole_streamed_bytes=whole.streamed_bytes,
        cuts=(first, _planned(BY_PARAMETERS, by_parameters, device)),
        commands=commands,
    )


def _planned(rule: str, models: Sequence[Model], device: str) -> PlannedCut:
    segments = []
    start = 0
    for model in models:
        found = estimate(ModelFile.of(model), device=device)
        graph = model.main
        count = len(graph.operators)
        segments.append(
            PlannedSegment(
                first=start,
                last=start + count - 1,
                outputs=tuple(graph.tensors[index].name for index in graph.outputs),
                latency_ms=found.latency_ms.mid,
                on_chip_bytes=found.on_chip_bytes,
                streamed_bytes=found.streamed_bytes,
            )
        )
        start += count
    times = [each.latency_ms for each in segments]
    return PlannedCut(rule, tuple(segments), sum(times), 1000 / max(times))


def _written(models: Sequence[Model], stem: str, folder: Path, source: str) -> list[str]:
    files.make_folder(folder)
    paths = [folder / f"{stem}_segment_{i}_of_{len(models)}.tflite" for i in range(len(models))]
    for path in paths:
        files.check_writable(path)
        files.refuse_overwriting(path, source)
    for path, model in zip(paths, models):
        files.write_bytes(path, write_model(model))
    return [str(path) for path in paths]
