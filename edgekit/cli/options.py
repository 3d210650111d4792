# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.grammar import OneOf

# The words of edgekit.tasks, of edgekit.extras.RUNTIME_PACKAGES and of edgekit.runtime.cpu, which
# would make --help slow; a test compares them.
TASKS = (
    "classification",
    "multilabel",
    "detection",
    "segmentation",
    "pose",
    "regression",
    "none",
)
RUNTIMES = ("litert", "tflite-runtime", "tensorflow")
KERNELS = ("fast", "reference")

ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help="A .tflite file or a bundle.", autocompletion=completion.models
    ),
]
DataOption = Annotated[
    str,
    typer.Option(
        metavar="DATA",
        help="A folder of images (sub-folder = class, or images/ and masks/), an .npz or .npy, "
        "a COCO .json, or package.module:function.",
    ),
]
PreprocessOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="HOW",
        help="How pixels become the input: unit (0..1), tf (-1..1), raw (0..255), or "
        "mean=..,std=..; resize=stretch|crop|pad (black, right and below)|letterbox (in the middle "
        "of grey 114; fill=0 for black)|keras-crop|keras-pad|tf-pad|torch-crop (Resize, "
        "CenterCrop; shorter=PIXELS); filter=tf-bilinear|bilinear (Pillow)|torch-bilinear|"
        "cv2-linear|..; colour=rgb|bgr; exif=apply|ignore; fill=0..255. By "
        "default what the model's file says, else what its first operations show, else what its "
        "input's quantization shows, else unit.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        autocompletion=completion.devices,
        help="What runs the model: cpu; an Edge TPU: usb, usb:N, pci, pci:N or :N; auto takes an "
        "Edge TPU if one is usable, else the CPU; emulator runs a compiled model in software.",
    ),
]
KeepStateOption = Annotated[
    bool,
    typer.Option(
        "--keep-state/--no-keep-state",
        help="The samples are a stream: keep the model's state from one to the next.",
    ),
]
FallbackOption = Annotated[
    bool,
    typer.Option(
        "--fallback",
        help="Where a compiled model cannot run, run the plain one of its bundle or beside it "
        "on the CPU.",
    ),
]
RecoverOption = Annotated[
    bool,
    typer.Option("--recover", help="Open an Edge TPU again if it is lost during a run."),
]
DeviceTimeoutOption = Annotated[
    Optional[float],
    typer.Option(
        "--timeout-sec",
        metavar="SECONDS",
        min=0.001,
        help="Fail if the Edge TPU does not answer within so many seconds, when it is opened or "
        "in an inference.",
    ),
]
RuntimeOption = Annotated[
    Optional[str],
    typer.Option(help="What interprets the model; the first that is installed by default."),
    OneOf(*RUNTIMES),
]
KernelsOption = Annotated[
    str,
    typer.Option(
        help="fast (XNNPACK, what the Edge TPU computes for convolutions, depthwise ones, dense "
        "layers and additions) or reference (slow, bit-identical across runtimes)."
    ),
    OneOf(*KERNELS),
]
ThreadsOption = Annotated[
    int, typer.Option("--num-threads", min=1, help="Threads of one inference.")
]
SamplesOption = Annotated[
    Optional[int],
    typer.Option(
        "--num-samples", min=1, help="How many samples, spread over the data and its classes."
    ),
]
TaskOption = Annotated[
    Optional[str],
    typer.Option(help="What the model is for; guessed by default."),
    OneOf(*TASKS),
]
LabelsOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE",
        help="A text file with one class name a line; by default the model's own.",
    ),
]
ScoreOption = Annotated[
    Optional[float], typer.Option("--score-threshold", help="Leave out what scores lower.")
]
IouOption = Annotated[
    Optional[float],
    typer.Option("--iou-threshold", help="Overlap above which the lesser of two boxes goes."),
]
AnchorsOption = Annotated[
    Optional[Path],
    typer.Option(metavar="FILE", help="Of raw SSD: an .npy, or a .tflite that holds them."),
]
# What a rewrite or a cut is compared on with the model that it came from.
ProofDataOption = Annotated[
    Optional[str],
    typer.Option("--data", metavar="DATA", help="Samples to compare on, besides random inputs."),
]
ProofRandomOption = Annotated[
    int, typer.Option("--num-random", min=1, help="Random inputs to compare on.")
]
ProofSamplesOption = Annotated[
    int, typer.Option("--num-samples", min=1, help="Samples of DATA to compare on.")
]
