# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.grammar import OneOf

# Copied from edgekit.tasks, edgekit.extras.RUNTIME_PACKAGES and edgekit.runtime.cpu, because
# importing these would make --help slow. A test compares them.
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
        "a COCO .json, an address of one of these (s3://..., https://...), or "
        "package.module:function.",
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
        "default it is read from the model's metadata, else derived from its first operations, "
        "else from its input's quantization, else unit.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        autocompletion=completion.devices,
        help="What runs the model: cpu; an Edge TPU: usb, usb:N, pci, pci:N or :N; auto uses an "
        "Edge TPU if one is usable, else the CPU; emulator runs a compiled model in software.",
    ),
]
KeepStateOption = Annotated[
    bool,
    typer.Option(
        "--keep-state/--no-keep-state",
        help="The samples are a stream: keep the model's state from one sample to the next.",
    ),
]
FallbackOption = Annotated[
    bool,
    typer.Option(
        "--fallback",
        help="If a compiled model cannot run, run the plain model (in the same bundle or folder) "
        "on the CPU.",
    ),
]
RecoverOption = Annotated[
    bool,
    typer.Option(
        "--recover", help="If the Edge TPU is lost during a run, open it again and continue."
    ),
]
DeviceTimeoutOption = Annotated[
    Optional[float],
    typer.Option(
        "--timeout-sec",
        metavar="SECONDS",
        min=0.001,
        help="Fail if opening the Edge TPU, or one inference on it, takes more than this many "
        "seconds.",
    ),
]
UnprovenOption = Annotated[
    bool,
    typer.Option(
        "--unproven",
        help="In the emulator, also run programs with forms of instructions that were never "
        "compared with a source; the result says so.",
    ),
]
RuntimeOption = Annotated[
    Optional[str],
    typer.Option(help="The library that runs the model; by default the first that is installed."),
    OneOf(*RUNTIMES),
]
KernelsOption = Annotated[
    str,
    typer.Option(
        help="fast (XNNPACK: same results as the Edge TPU for convolutions, depthwise "
        "convolutions, dense layers and additions) or reference (slow, bit-identical across "
        "runtimes)."
    ),
    OneOf(*KERNELS),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        "--num-threads", metavar="COUNT", min=1, help="Number of threads for one inference."
    ),
]
SamplesOption = Annotated[
    Optional[int],
    typer.Option(
        "--num-samples",
        metavar="COUNT",
        min=1,
        help="Number of samples to use, spread over the data and its classes.",
    ),
]
TaskOption = Annotated[
    Optional[str],
    typer.Option(help="The model's task; by default edgekit guesses it."),
    OneOf(*TASKS),
]
LabelsOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE",
        help="A text file with one class name per line; by default the names in the model.",
    ),
]
ScoreOption = Annotated[
    Optional[float],
    typer.Option("--score-threshold", metavar="NUMBER", help="Omit results with a lower score."),
]
IouOption = Annotated[
    Optional[float],
    typer.Option(
        "--iou-threshold",
        metavar="NUMBER",
        help="Of two boxes that overlap more than this, drop the one with the lower score.",
    ),
]
ClusterOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="ADDRESS",
        help="Share the work among the workers of a Dask cluster: tcp://HOST:8786, or local:N "
        "for N processes on this computer. The results are the same.",
    ),
]
AnchorsOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE",
        help="Anchors of a raw SSD model: an .npy file, or a .tflite that contains them.",
    ),
]
MinMappedOption = Annotated[
    Optional[float],
    typer.Option(
        metavar="SHARE",
        min=0.0,
        max=1.0,
        help="A gate: exit with 4 if a smaller share of operators maps; for example 0.95.",
    ),
]
# How a source is read for conversion.
BatchSizeOption = Annotated[
    int, typer.Option(metavar="COUNT", min=1, help="The batch size if the model does not fix it.")
]
InputShapeOption = Annotated[
    Optional[List[str]],
    typer.Option(metavar="SHAPE", help="1,224,224,3, or NAME=1,224,224,3 for each input."),
]
SignatureOption = Annotated[
    Optional[str], typer.Option(metavar="NAME", help="The signature to use of a SavedModel.")
]
# The inputs on which a rewritten or cut model is compared with its original.
ProofDataOption = Annotated[
    Optional[str],
    typer.Option(
        "--data", metavar="DATA", help="Samples to compare on, in addition to random inputs."
    ),
]
ProofRandomOption = Annotated[
    int,
    typer.Option(
        "--num-random", metavar="COUNT", min=1, help="Number of random inputs to compare on."
    ),
]
ProofSamplesOption = Annotated[
    int,
    typer.Option(
        "--num-samples", metavar="COUNT", min=1, help="Number of samples of DATA to compare on."
    ),
]
