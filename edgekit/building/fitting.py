# SPDX-License-Identifier: Apache-2.0
"""``edgekit plan --fit``: the largest variant of a network that stays on chip and is fast enough.

Variants of a .tflite are its other input sizes: the interpreter computes the shapes. Any other
variant is made by a function of the user, which is converted with random samples: shapes and bytes
do not depend on the weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgekit.data.iterables import load_function
from edgekit.data.opening import FUNCTION
from edgekit.edgetpu.calibration import FEW_ROWS, FITTED, NOT_PUBLISHED
from edgekit.edgetpu.check import check_model
from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.formats.tflite import Model, is_compiled
from edgekit.opencompiler.estimate import estimate
from edgekit.progress import Progress, no_progress
from edgekit.result import Result
from edgekit.runtime.interpreters import load_library
from edgekit.runtime.session import one_line, prepare

SIZE, WIDTH, DEPTH = "size", "width", "depth"
VALUES: dict[str, tuple[float, ...]] = {
    SIZE: tuple(range(32, 1025, 32)),
    WIDTH: tuple(number / 8 for number in range(1, 25)),
    DEPTH: tuple(range(1, 33)),
}
_RESIZES = frozenset(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"))
_CALIBRATED_ON = 2  # random samples


@dataclass(frozen=True)
class Variant(Result):
    """One variant that was tried."""

    value: float
    input_shape: tuple[int, ...]
    latency_ms: float  # estimated
    on_chip_bytes: int
    streamed_bytes: int  # parameters sent with every inference
    num_unmapped: int  # operators that would run on the CPU
    fits: bool


@dataclass(frozen=True)
class FitResult(Result):
    """The largest variant that fits; nothing in it is measured."""

    schema: ClassVar[str] = "edgekit.fit/1"
    source: str
    knob: str  # size | width | depth
    device: str
    max_ms: float | None
    best: Variant | None  # None if even the smallest does not fit
    tried: tuple[Variant, ...]  # by value
    is_largest: bool  # the largest value that was allowed fits


def fit(
    source: str,
    knob: str,
    *,
    max_ms: float | None = None,
    device: str = "usb3",
    values: Sequence[float] | None = None,
    progress: Progress = no_progress,
) -> FitResult:
    """Find the largest input size, width or depth whose parameters stay on chip.

    A file's other sizes must also not have more operators on the CPU than the file itself.

    The search assumes that larger variants are slower, so it tries only some of them.

    Args:
        source: An integer .tflite (``size`` only), or ``package.module:function``: a function that
            takes ``size``, ``width`` or ``depth`` as a keyword and returns a Keras model.
        knob: ``size`` (the height of the input), ``width`` or ``depth``.
        max_ms: The predicted latency must not be larger; None sets no limit.
        device: As for `estimate`.
        values: The values to choose from, ascending; None uses those of `VALUES`.
        progress: Called with the number of variants that were tried, and None.

    Raises:
        UsageError: The arguments contradict each other.
        UnsupportedModelError: The network cannot have another size, or cannot be estimated.
        EdgeKitError: As for `edgekit.convert`.
    """
    chosen = tuple(values or VALUES.get(knob, ()))
    if knob not in VALUES or list(chosen) != sorted(set(chosen)) or (chosen and chosen[0] <= 0):
        raise UsageError(
            f"--fit {knob} with the values {chosen[:4]}",
            fix=f"give one of {', '.join(VALUES)}, and ascending values above 0",
        )
    if device in NOT_PUBLISHED:
        raise UsageError(
            f"no latency of the device {device} can be predicted",
            why="too few were published for it",
            fix=f"choose one of {', '.join((*FITTED, *FEW_ROWS))}",
        )
    make, most_unmapped = _maker(source, knob)
    tried: dict[float, Variant] = {}

    def fits(value: float) -> bool:
        file = make(value)
        found = estimate(file, device=device)
        graph = file.model.main
        unmapped = _num_unmapped(file)
        is_fast = max_ms is None or found.latency_ms.mid <= max_ms
        is_mapped = most_unmapped is None or unmapped <= most_unmapped
        tried[value] = Variant(
            value,
            graph.tensors[graph.inputs[0]].shape,
            found.latency_ms.mid,
            found.on_chip_bytes,
            found.streamed_bytes,
            unmapped,
            found.streamed_bytes == 0 and is_fast and is_mapped,
        )
        progress(len(tried), None)
        return tried[value].fits

    low, high = 0, len(chosen)  # those below ``low`` fit, those from ``high`` on do not
    while low < high:
        middle = (low + high) // 2
        if fits(chosen[middle]):
            low = middle + 1
        else:
            high = middle
    best = tried[chosen[low - 1]] if low else None
    rows = tuple(tried[value] for value in sorted(tried))
    return FitResult(source, knob, device, max_ms, best, rows, low == len(chosen))


def _maker(source: str, knob: str) -> tuple[Callable[[float], ModelFile], int | None]:
    """Return a function that makes the variant for a value, and how many operators may not map.

    A file with another input size keeps its operators, so one of them can exceed a limit of the
    compiler that `convert` would have respected.
    """
    if FUNCTION.match(source) and not Path(source).exists():
        function = load_function(source)
        return lambda value: _converted(function, source, knob, value), None
    if knob != SIZE:
        raise UsageError(
            f"--fit {knob} of a file",
            where=source,
            why="a .tflite has one width and one depth; only its input can have another size",
            fix="give package.module:function, which returns a Keras model for a " + knob,
        )
    file = read_model_file(source)
    if is_compiled(file.model):
        raise UnsupportedModelError(
            "the model is already compiled", where=source, fix="give the file it was compiled from"
        )
    return lambda value: ModelFile.of(resized(file.model, int(value), source)), _num_unmapped(file)


def _num_unmapped(file: ModelFile) -> int:
    report = check_model(file)
    return report.num_operators - report.num_mapped


def _converted(function: Callable[..., Any], source: str, knob: str, value: float) -> ModelFile:
    from edgekit.host.convert import convert  # noqa: PLC0415 - TensorFlow, for functions only

    number = int(value) if float(value).is_integer() and knob != WIDTH else float(value)
    try:
        network = function(**{knob: number})
    except Exception as error:
        raise UnsupportedModelError(
            f"{source} fails for {knob}={number}",
            why=f"{type(error).__name__}: {error}",
            fix=f"the function takes {knob} as a keyword and returns a Keras model; leave out "
            "values that it cannot have with --values",
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{knob}-{number}.tflite"
        convert(network, data="random", output=path, num_samples=_CALIBRATED_ON)
        return read_model_file(path.read_bytes())


def resized(model: Model, height: int, where: str = "") -> Model:
    """Return ``model`` for another input height; the width keeps its ratio to it.

    Raises:
        UnsupportedModelError: The input is not an image, or the network fixes a size inside.
    """
    graph = model.main
    shape = graph.tensors[graph.inputs[0]].shape
    if len(graph.inputs) != 1 or len(shape) != 4:
        raise UnsupportedModelError(
            "the network has no single image as its input",
            where=where,
            why=f"the inputs have the shapes {[graph.tensors[i].shape for i in graph.inputs]}",
            fix="give a network with one input (1, height, width, channels); for others, name a "
            "function that takes a width or depth: --fit width with package.module:function",
        )
    factor = height / shape[1]
    wanted = (shape[0], height, max(1, round(shape[2] * factor)), shape[3])
    buffers = list(model.buffers)
    for operator in graph.operators:
        if operator.opcode in _RESIZES:
            place = graph.tensors[operator.inputs[1]].buffer
            size = np.frombuffer(model.buffers[place].tobytes(), "<i4")
            scaled = np.rint(size * factor).astype("<i4")
            buffers[place] = np.frombuffer(scaled.tobytes(), np.uint8)
    model = replace(model, buffers=tuple(buffers))
    content = ModelFile.of(model).content
    try:
        interpreter = prepare(content, load_library(), "BUILTIN_REF", 1, shapes=[wanted])
    except (RuntimeError, ValueError) as error:
        raise UnsupportedModelError(
            f"the network cannot have an input of {wanted[1]} by {wanted[2]} pixels",
            where=where,
            why=one_line(error),
            fix="it fixes a size inside (a dense layer on a flattened map): give "
            "package.module:function, which returns a Keras model for a size",
        ) from error
    shapes = {
        each["index"]: tuple(map(int, each["shape"])) for each in interpreter.get_tensor_details()
    }
    tensors = tuple(
        tensor
        if model.buffers[tensor.buffer].size or index not in shapes
        else replace(tensor, shape=shapes[index])
        for index, tensor in enumerate(graph.tensors)
    )
    return replace(model, subgraphs=(replace(graph, tensors=tensors), *model.subgraphs[1:]))
