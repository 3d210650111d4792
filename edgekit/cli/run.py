# SPDX-License-Identifier: Apache-2.0
"""``edgekit run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional, Sequence, Tuple

import typer
from typing_extensions import Annotated

from edgekit.cli.grammar import OneOf
from edgekit.cli.live import run_live
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
from edgekit.cli.output import emit, note, runs_on, table, temperatures, warn
from edgekit.cli.streams import set_lines
from edgekit.errors import UsageError

# Copied from edgekit.evaluate.live.options, so that --help is fast. A test compares them.
DRAWN = ("video", "pictures", "latest")
STALL_S = 10.0

if TYPE_CHECKING:
    from edgekit.evaluate import Answer, RunResult
    from edgekit.evaluate.answers import ObjectBox


def run(
    model: ModelArgument,
    inputs: Annotated[
        List[str],
        typer.Argument(
            metavar="INPUT...",
            help="Images, folders of images, patterns, videos, .npy or .npz; or what is live: a "
            "camera (/dev/video0 or 0), an address (rtsp://, http://), - for images or frames "
            "from standard input.",
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
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Folders: go on with each new image, once it is complete."),
    ] = False,
    every_frame: Annotated[
        Optional[bool],
        typer.Option(
            "--every-frame/--newest-frame",
            help="Live: run every frame, or drop those that are old when the model is free; by "
            "default cameras and streams drop them, the others do not.",
            show_default=False,
        ),
    ] = None,
    max_frames: Annotated[
        Optional[int], typer.Option(metavar="COUNT", min=1, help="Live: end after so many answers.")
    ] = None,
    stall_sec: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.1, help="Live: without a frame for so long, a source is lost."
        ),
    ] = STALL_S,
    give_up_sec: Annotated[
        Optional[float],
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Live: end when a lost source does not come back for so long; by default it is "
            "tried for ever.",
        ),
    ] = None,
    raw_frames: Annotated[
        Optional[str],
        typer.Option(
            metavar="WxH[:FORMAT]",
            help="Standard input is frames without headers, as ffmpeg's rawvideo: "
            "640x480:rgb24, bgr24 or gray.",
        ),
    ] = None,
    draw: Annotated[
        Optional[str],
        typer.Option(
            help="Live: with -o, write a video (cameras, streams, raw frames), a picture of each "
            "frame (the others), or only the latest picture.",
        ),
        OneOf(*DRAWN),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON document and nothing else; live: one for each frame."
        ),
    ] = False,
) -> None:
    """Run a model once on each input; print the results, and draw them with --output."""
    from edgekit.evaluate import run as run_model
    from edgekit.evaluate.live import LiveOptions, is_live
    from edgekit.evaluate.session import Asked
    from edgekit.runtime import RunnerOptions

    how = RunnerOptions(
        device=device,
        runtime=runtime,
        kernels=kernels,
        num_threads=num_threads,
        fallback=fallback,
        recover=recover,
        timeout_s=timeout_sec,
        unproven=unproven,
    )
    live = LiveOptions(
        watch, every_frame, max_frames, stall_sec, give_up_sec, raw_frames, output, draw
    )
    if watch or any(map(is_live, inputs)):
        set_lines()
        asked = Asked(
            task, preprocess, labels, top, score_threshold, iou_threshold, anchors, keep_state
        )
        run_live(model, inputs, asked, how, live, as_json=json)
        return
    if live != LiveOptions(output=output):
        raise UsageError(
            "an option is for live sources, and none is given",
            fix="leave out --every-frame, --max-frames, --stall-sec, --give-up-sec, --raw-frames "
            "and --draw; for a folder add --watch",
        )

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
        keep_state=keep_state,
        options=how,
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
