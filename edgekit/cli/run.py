# SPDX-License-Identifier: Apache-2.0
"""``edgekit run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional, Sequence, Tuple

import typer
from typing_extensions import Annotated

from edgekit.cli.options import (
    AnchorsOption,
    DeviceOption,
    DeviceTimeoutOption,
    FallbackOption,
    IouOption,
    KernelsOption,
    LabelsOption,
    ModelArgument,
    PreprocessOption,
    RecoverOption,
    RuntimeOption,
    ScoreOption,
    TaskOption,
    ThreadsOption,
    UnprovenOption,
)
from edgekit.cli.output import JsonOption, emit, note, runs_on, table, temperatures, warn

if TYPE_CHECKING:
    from edgekit.evaluate import Answer, RunResult
    from edgekit.evaluate.answers import ObjectBox


def run(
    model: ModelArgument,
    inputs: Annotated[
        List[Path],
        typer.Argument(
            metavar="INPUT...", help="Images, folders of images, patterns, videos, .npy or .npz."
        ),
    ],
    output: Annotated[
        Optional[Path],
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="The folder for pictures of the results."
        ),
    ] = None,
    task: TaskOption = None,
    labels: LabelsOption = None,
    top: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Number of classes to list.")
    ] = 5,
    score_threshold: ScoreOption = None,
    iou_threshold: IouOption = None,
    anchors: AnchorsOption = None,
    preprocess: PreprocessOption = None,
    device: DeviceOption = "cpu",
    runtime: RuntimeOption = None,
    kernels: KernelsOption = "fast",
    num_threads: ThreadsOption = 1,
    keep_state: Annotated[
        Optional[bool],
        typer.Option(
            "--keep-state/--no-keep-state",
            help="Keep the model's state from one input to the next, or reset it; by default it is "
            "kept only between the frames of a video.",
            show_default=False,
        ),
    ] = None,
    fallback: FallbackOption = False,
    recover: RecoverOption = False,
    timeout_sec: DeviceTimeoutOption = None,
    unproven: UnprovenOption = False,
    json: JsonOption = False,
) -> None:
    """Run a model once on each input; print the results, and draw them with --output."""
    from edgekit.evaluate import run as run_model

    result = run_model(
        model,
        inputs,
        task=task,
        preprocess=preprocess,
        labels=labels,
        top=top,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        anchors=anchors,
        output=output,
        device=device,
        runtime=runtime,
        kernels=kernels,
        num_threads=num_threads,
        keep_state=keep_state,
        fallback=fallback,
        recover=recover,
        timeout_s=timeout_sec,
        unproven=unproven,
    )
    for problem in result.failed:
        note(f"warning: not readable: {problem}")
    warn(result.warnings)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: RunResult) -> Iterator[str]:
    """Yield the results for people, line by line."""
    for answer in result.answers:
        yield f"{answer.source}  ({answer.latency_ms:.3f} ms)"
        yield _table(answer, result.task)
        if answer.picture:
            yield f"drawn to {answer.picture}"
        yield ""
    if result.failed:
        yield f"failed     {len(result.failed)}"
    yield f"task       {result.task}, {result.decoder}: {result.recognized_by}"
    yield f"preprocess {result.preprocess}: {result.preprocess_reason}"
    yield f"on {runs_on(result)}"
    if result.thermal is not None and result.thermal.max_celsius is not None:
        yield temperatures(result.thermal)


def _table(answer: Answer, task: str) -> str:
    if task == "regression":
        return table(("output", "value"), [(i, f"{v:.6g}") for i, v in enumerate(answer.values)])
    if task in {"classification", "multilabel"} and (answer.top or task == "multilabel"):
        rows = [(f"{each.score:.4f}", each.index, each.label) for each in answer.top]
        return table(("score", "class", "label" if rows and rows[0][2] else ""), rows)
    if task == "detection":
        return _objects_table(answer.objects)
    if task == "segmentation":
        shares = [(f"{each.share:.2%}", each.index, each.label) for each in answer.mask]
        return table(("share", "class", "label"), shares)
    if task == "pose":
        return table(
            ("person", "score", "key point", "x", "y", "certainty"),
            [
                (
                    number,
                    f"{person.score:.4f}",
                    each.name,
                    _px(each.x_px),
                    _px(each.y_px),
                    f"{each.score:.4f}",
                )
                for number, person in enumerate(answer.people)
                for each in person.keypoints
            ],
        )
    return table(
        ("output", "shape", "type", "min", "max", "mean"),
        [
            (
                each.name,
                "x".join(map(str, each.shape)),
                each.dtype,
                f"{each.min:.4g}",
                f"{each.max:.4g}",
                f"{each.mean:.4g}",
            )
            for each in answer.outputs
        ],
    )


def _objects_table(objects: Sequence[ObjectBox]) -> str:
    """Return a table of boxes, with corners, key points and masks if the network has them."""
    more = {
        "corners": any(each.corners_xy_px for each in objects),
        "key points": any(each.keypoints for each in objects),
        "mask": any(each.mask is not None for each in objects),
    }
    rows = []
    for each in objects:
        points = [(point.x_px, point.y_px) for point in each.keypoints]
        mask = "" if each.mask is None else f"{each.mask.area_px} px"
        texts = (_points(each.corners_xy_px), _points(points), mask)
        box = map(_px, each.box_xyxy_px)
        shown = [text for text, is_shown in zip(texts, more.values()) if is_shown]
        rows.append((f"{each.score:.4f}", each.index, each.label, *box, *shown))
    names = [name for name, is_shown in more.items() if is_shown]
    return table(("score", "class", "label", "xmin", "ymin", "xmax", "ymax", *names), rows)


def _points(points: Sequence[Tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _px(value: float) -> str:
    return f"{value:.1f}"
