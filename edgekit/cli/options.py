# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer
from typing_extensions import Annotated

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A .tflite file.")]
DataOption = Annotated[
    str,
    typer.Option(
        metavar="DATA",
        help="A folder of images (sub-folder = class), an .npz or .npy, or "
        "package.module:function.",
    ),
]
PreprocessOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="HOW",
        help="How pixels become the input: unit (0..1, the default), tf (-1..1), raw, or "
        "mean=..,std=..; resize=stretch|crop|pad, filter=.., colour=rgb|bgr.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="What runs the model: cpu or emulator.")]
RuntimeOption = Annotated[
    Optional[str],
    typer.Option(help="litert, tflite-runtime or tensorflow; the first installed by default."),
]
KernelsOption = Annotated[
    str,
    typer.Option(
        help="fast (XNNPACK, what the Edge TPU computes for convolutions, depthwise ones, dense "
        "layers and additions) or reference (slow, bit-identical across runtimes)."
    ),
]
ThreadsOption = Annotated[
    int, typer.Option("--num-threads", min=1, help="Threads of one inference.")
]
SamplesOption = Annotated[
    Optional[int], typer.Option("--num-samples", min=1, help="Use the first so many samples.")
]
