# SPDX-License-Identifier: Apache-2.0
"""Run edgekit's commands on generated models with extreme scales, shapes, paddings and states.

``python scripts/fuzz_models.py --number 2000`` generates the models of seeds 0 to 1999 and runs
check, estimate, compile --compiler edgekit, inspect, benchmark, run, evaluate, (for float ones)
convert and (for every twentieth) fix on each. A command may end with status 0, 3 or 4. A signal,
another status, a traceback, more than 2 GiB, or an incomplete file is a finding: it is printed, the
model is kept (--keep), and the script ends with 1. Needs Linux, because the models run in forks.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit.errors import EdgeKitError
from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    read_model,
    write_model,
)
from edgekit.runtime.interpreters import load_library

_STATUSES = (0, 3, 4)
_MOST_BYTES = 2 << 30
_TIMEOUT_S = 120
_DTYPES = ("INT8", "INT8", "INT8", "UINT8", "UINT8", "INT16", "FLOAT32")
_SCALES = (1e-45, 1e-38, 1e-30, 1e-10, 1e-5, 0.5, 1.0, 3.0, 255.0, 1e5, 1e10, 1e30, 3e38)
_ODD_SCALES = (0.0, -1.0, float("inf"), float("nan"))
_RANGES = {"INT8": (-128, 127), "UINT8": (0, 255), "INT16": (0, 0), "INT32": (0, 0)}
_ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH", "SIGN_BIT")
# The modules that the commands import.
_USED = (
    "edgekit.evaluate",
    "edgekit.checking",
    "edgekit.compiling",
    "edgekit.data.describe",
    "edgekit.formats.darwinn.belongs",
    "edgekit.edgetpu.check",
    "edgekit.opencompiler.estimate",
    "edgekit.evaluate",
    "edgekit.evaluate.evaluate",
    "edgekit.fix.fix",
    "edgekit.host.convert",
    "edgekit.host.convert.improve",
    "edgekit.host.convert.quantizer",
    "edgekit.explain",
    "edgekit.inspect.inspect",
    "edgekit.opencompiler",
    "edgekit.runtime.fallback",
    "edgekit.runtime.trial_fork",
    "edgekit.tasks",
)


class Generator:
    """Generates one model, a chain of operators; it depends only on the seed."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.dtype = str(self.random.choice(_DTYPES))
        self.strange = float(
            self.random.choice([0.0, 0.02, 0.05, 0.15])
        )  # how often a value is odd
        self.tensors: list[Tensor] = []
        self.buffers = [np.empty(0, np.uint8)]
        self.operators: list[Operator] = []

    def model(self) -> bytes:
        """Return the content of a .tflite file."""
        sizes = (1, self.pick(1, 3, 7, 16), self.pick(1, 3, 7, 16), self.pick(1, 2, 3, 8))
        first = current = self.activation(sizes if self.random.random() < 0.8 else sizes[2:])
        for _ in range(int(self.random.integers(1, 6))):
            current = self.pick(*_MAKERS)(self, current)
        graph = Subgraph(tuple(self.tensors), (first,), (current,), tuple(self.operators), "main")
        return write_model(Model((graph,), tuple(self.buffers), "generated"))

    def pick(self, *values: Any) -> Any:  # noqa: ANN401 - any values
        """Return one of ``values``."""
        return values[int(self.random.integers(len(values)))]

    def is_strange(self) -> bool:
        """Whether the next value must be an extreme one."""
        return bool(self.random.random() < self.strange)

    def quantization(self, dtype: str, channels: int = 0) -> Quantization | None:
        """Return the quantization of a tensor; None if its type has none."""
        if dtype in {"FLOAT32", "BOOL", "INT64"}:
            return None
        count = channels if channels and self.random.random() < 0.5 else 1
        scales = _SCALES if self.is_strange() else (0.004, 0.05, 0.5, 1.0)
        if self.is_strange() and self.is_strange():
            scales = _ODD_SCALES
        low, high = _RANGES.get(dtype, (0, 0))
        zero = int(self.random.integers(low, high + 1)) if not channels else 0
        if self.is_strange():
            zero = self.pick(-(1 << 31), -129, 256, 40000, (1 << 31) - 1)
        values = tuple(float(np.float32(self.pick(*scales))) for _ in range(count))
        return Quantization(values, (zero,) * count, 0)

    def activation(self, shape: tuple[int, ...], dtype: str = "", *, state: bool = False) -> int:
        """Add a computed tensor, or the input; return its index."""
        dtype = dtype or self.dtype
        if self.is_strange() and self.is_strange():
            sizes = list(shape) or [1]
            sizes[int(self.random.integers(len(sizes)))] = self.pick(0, -1, 1 << 16, 1 << 20)
            shape = tuple(sizes)
        name = f"t{len(self.tensors)}"
        tensor = Tensor(name, shape, dtype, 0, self.quantization(dtype), is_variable=state)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, values: Any, dtype: str, channels: int = 0) -> int:  # noqa: ANN401
        """Add a tensor with ``values``; return its index."""
        array = np.ascontiguousarray(np.asarray(values).astype(dtype.lower()))
        quantization = self.quantization(dtype, channels) if channels else None
        name = f"c{len(self.tensors)}"
        self.tensors.append(Tensor(name, array.shape, dtype, len(self.buffers), quantization))
        self.buffers.append(np.frombuffer(array.tobytes(), np.uint8))
        return len(self.tensors) - 1

    def weights(self, shape: tuple[int, ...], channels: int) -> int:
        """Add random weights, quantized per channel or per tensor; return the index."""
        dtype = self.dtype if self.dtype != "INT16" else "INT8"
        low, high = (-3, 3) if dtype == "FLOAT32" else (0, 100)
        return self.constant(self.random.integers(low, high, shape), dtype, channels)

    def bias(self, channels: int) -> int:
        """Add a random bias, or one of the largest numbers; return the index."""
        dtype = {"FLOAT32": "FLOAT32", "INT16": "INT64"}.get(self.dtype, "INT32")
        most = (1 << 31) - 1 if self.is_strange() else 100
        return self.constant(self.random.integers(-most, most, channels), dtype, 1)

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self.tensors[index].shape

    def add(
        self,
        opcode: str,
        inputs: tuple[int, ...],
        output: int,
        kind: str = "NONE",
        **options: Any,  # noqa: ANN401 - fields of any options table
    ) -> int:
        """Add an operator that writes ``output``; return ``output``."""
        version = self.pick(1, 2, 3) if self.is_strange() else 1
        self.operators.append(Operator(opcode, version, inputs, (output,), options, kind))
        return output

    def fused(self) -> str:
        """Return a fused activation."""
        return (
            str(self.pick(*_ACTIVATIONS)) if self.is_strange() else str(self.pick("NONE", "RELU"))
        )

    def size(self, *usual: int) -> int:
        """Return one of the ``usual`` numbers, or an extreme one."""
        return int(
            self.pick(0, -1, 7, 1000, (1 << 31) - 1) if self.is_strange() else self.pick(*usual)
        )


Maker = Callable[[Generator, int], int]


def _windowed(made: Generator, x: int, *, depthwise: bool) -> int:
    shape = _four(made, x)
    out = shape[3] if depthwise else made.pick(1, 2, 8)
    kernel = made.pick(1, 3)
    form = (1, kernel, kernel, out) if depthwise else (out, kernel, kernel, shape[3])
    weights, bias = made.weights(form, out), made.bias(out)
    y = made.activation((shape[0], shape[1], shape[2], out))
    extra = {"depth_multiplier": made.size(1)} if depthwise else {}
    return made.add(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        (x, weights, bias),
        y,
        "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions",
        padding=made.pick("SAME", "VALID"),
        stride_w=made.size(1, 2),
        stride_h=made.size(1, 2),
        dilation_w_factor=made.size(1),
        dilation_h_factor=made.size(1),
        fused_activation_function=made.fused(),
        **extra,
    )


def _conv(made: Generator, x: int) -> int:
    return _windowed(made, x, depthwise=False)


def _depthwise(made: Generator, x: int) -> int:
    return _windowed(made, x, depthwise=True)


def _transpose_conv(made: Generator, x: int) -> int:
    shape, out = _four(made, x), made.pick(1, 4)
    size = made.constant([shape[0], made.size(2, 14), made.size(2, 14), out], "INT32")
    weights = made.weights((out, 3, 3, shape[3]), out)
    y = made.activation((shape[0], shape[1] * 2, shape[2] * 2, out))
    return made.add(
        "TRANSPOSE_CONV",
        (size, weights, x),
        y,
        "TransposeConvOptions",
        padding=made.pick("SAME", "VALID"),
        stride_w=made.size(1, 2),
        stride_h=made.size(1, 2),
    )


def _pool(made: Generator, x: int) -> int:
    shape = _four(made, x)
    y = made.activation((shape[0], max(1, shape[1] // 2), max(1, shape[2] // 2), shape[3]))
    return made.add(
        made.pick("MAX_POOL_2D", "AVERAGE_POOL_2D"),
        (x,),
        y,
        "Pool2DOptions",
        padding=made.pick("SAME", "VALID"),
        stride_w=made.size(1, 2),
        stride_h=made.size(1, 2),
        filter_width=made.size(1, 2),
        filter_height=made.size(1, 2),
        fused_activation_function=made.fused(),
    )


def _dense(made: Generator, x: int) -> int:
    last, out = (made.shape(x) or (1,))[-1], made.pick(1, 2, 5)
    y = made.activation((*made.shape(x)[:-1], out))
    inputs = (x, made.weights((out, max(1, last)), 1), made.bias(out))
    return made.add(
        "FULLY_CONNECTED",
        inputs if made.random.random() < 0.8 else (*inputs[:2], -1),
        y,
        "FullyConnectedOptions",
        fused_activation_function=made.fused(),
        keep_num_dims=made.pick(True, False),
    )


def _binary(made: Generator, x: int) -> int:
    opcode, kind = made.pick(
        ("ADD", "AddOptions"),
        ("SUB", "SubOptions"),
        ("MUL", "MulOptions"),
        ("DIV", "DivOptions"),
        ("MAXIMUM", "NONE"),
        ("SQUARED_DIFFERENCE", "NONE"),
        ("FLOOR_DIV", "NONE"),
        ("FLOOR_MOD", "NONE"),
        ("POW", "NONE"),
        ("LESS", "NONE"),
    )
    last = max(1, (made.shape(x) or (1,))[-1])
    other = x if made.random.random() < 0.5 else made.weights((last,), 1)
    y = made.activation(made.shape(x), "BOOL" if opcode == "LESS" else "")
    fused = {"fused_activation_function": made.fused()} if kind != "NONE" else {}
    return made.add(opcode, (x, other), y, kind, **fused)


def _unary(made: Generator, x: int) -> int:
    opcode, kind, options = made.pick(
        ("LOGISTIC", "NONE", {}),
        ("TANH", "NONE", {}),
        ("RELU", "NONE", {}),
        ("RELU6", "NONE", {}),
        ("HARD_SWISH", "HardSwishOptions", {}),
        ("ELU", "NONE", {}),
        ("GELU", "GeluOptions", {}),
        ("RSQRT", "NONE", {}),
        ("ABS", "NONE", {}),
        ("NEG", "NONE", {}),
        ("EXP", "NONE", {}),
        ("LOG_SOFTMAX", "NONE", {}),
        ("SOFTMAX", "SoftmaxOptions", {"beta": float(made.pick(1.0, 0.0, -1.0, 1e30))}),
        ("LEAKY_RELU", "LeakyReluOptions", {"alpha": float(made.pick(0.1, -5.0, 1e30))}),
        ("L2_NORMALIZATION", "L2NormOptions", {"fused_activation_function": made.fused()}),
    )
    return made.add(opcode, (x,), made.activation(made.shape(x)), kind, **options)


def _requantize(made: Generator, x: int) -> int:
    kind = made.pick("QUANTIZE", "DEQUANTIZE", "CAST")
    dtype = {"QUANTIZE": made.dtype, "DEQUANTIZE": "FLOAT32", "CAST": made.pick("INT32", "UINT8")}
    return made.add(kind, (x,), made.activation(made.shape(x), dtype[kind]))


def _pad(made: Generator, x: int) -> int:
    rank = max(1, len(made.shape(x)))
    pads = [[made.size(0, 1), made.size(0, 1)] for _ in range(rank)]
    shape = tuple(
        min(1 << 20, max(0, n + a + b)) for n, (a, b) in zip(made.shape(x), pads, strict=False)
    )
    paddings = made.constant(np.clip(pads, -(1 << 31), (1 << 31) - 1), "INT32")
    y = made.activation(shape)
    if made.random.random() < 0.5:
        return made.add("PADV2", (x, paddings, made.weights((1,), 1)), y, "PadV2Options")
    if made.random.random() < 0.3:
        mode = made.pick(2, 127, -128) if made.is_strange() else made.pick(0, 1)  # a byte
        return made.add("MIRROR_PAD", (x, paddings), y, "MirrorPadOptions", mode=mode)
    return made.add("PAD", (x, paddings), y, "PadOptions")


def _concatenate(made: Generator, x: int) -> int:
    axis = made.size(*range(-len(made.shape(x)), max(1, len(made.shape(x)))))
    shape = list(made.shape(x)) or [1]
    shape[-1] *= 2
    return made.add(
        "CONCATENATION",
        (x, x),
        made.activation(tuple(shape)),
        "ConcatenationOptions",
        axis=axis,
        fused_activation_function=made.fused(),
    )


def _reshape(made: Generator, x: int) -> int:
    total = int(np.prod(np.abs(made.shape(x) or (1,)), dtype=np.int64))
    shape = made.pick((1, total), (1, -1), (total,), (1, 1, 1, total), (made.size(1, 2), total))
    wanted = made.constant(np.clip(shape, -(1 << 31), (1 << 31) - 1), "INT32")
    return made.add("RESHAPE", (x, wanted), made.activation(tuple(np.abs(shape).tolist())))


def _reduce(made: Generator, x: int) -> int:
    opcode = made.pick("MEAN", "SUM", "REDUCE_MAX", "REDUCE_PROD")
    axes = made.constant([made.size(1, 2), made.size(-1, 1)], "INT32")
    shape = (made.shape(x) or (1,))[:1] + (made.shape(x) or (1,))[-1:]
    y = made.activation(shape)
    return made.add(opcode, (x, axes), y, "ReducerOptions", keep_dims=made.pick(True, False))


def _resize(made: Generator, x: int) -> int:
    shape = _four(made, x)
    size = made.constant([made.size(2, 14), made.size(2, 14)], "INT32")
    y = made.activation((shape[0], shape[1] * 2, shape[2] * 2, shape[3]))
    words = {"align_corners": made.pick(True, False), "half_pixel_centers": made.pick(True, False)}
    if made.random.random() < 0.5:
        return made.add("RESIZE_BILINEAR", (x, size), y, "ResizeBilinearOptions", **words)
    kind = "ResizeNearestNeighborOptions"
    return made.add("RESIZE_NEAREST_NEIGHBOR", (x, size), y, kind, **words)


def _slice(made: Generator, x: int) -> int:
    rank = max(1, len(made.shape(x)))
    vectors = [[made.size(*choices) for _ in range(rank)] for choices in ((0, 0), (1, 2), (1, 1))]
    begin, end, strides = (made.constant(each, "INT32") for each in vectors)
    y = made.activation(tuple(min(abs(n), 2) for n in made.shape(x)))
    if made.random.random() < 0.5:
        return made.add("SLICE", (x, begin, end), y, "SliceOptions")
    return made.add(
        "STRIDED_SLICE",
        (x, begin, end, strides),
        y,
        "StridedSliceOptions",
        begin_mask=made.size(0, 1),
        end_mask=made.size(0, 1),
        shrink_axis_mask=made.size(0, 1),
        new_axis_mask=made.size(0),
    )


def _gather(made: Generator, x: int) -> int:
    indices = made.constant([made.size(0, 0), made.size(0, 0)], "INT32")
    y = made.activation((*made.shape(x)[:-1], 2))
    axis, batch = made.size(-1, 1), made.size(0)
    return made.add("GATHER", (x, indices), y, "GatherOptions", axis=axis, batch_dims=batch)


def _transpose(made: Generator, x: int) -> int:
    rank = max(1, len(made.shape(x)))
    order = made.random.permutation(rank)
    order[0] = made.size(int(order[0]))
    shape = made.shape(x)
    y = made.activation(tuple(shape[i % len(shape)] if shape else 1 for i in order.tolist()))
    return made.add("TRANSPOSE", (x, made.constant(order, "INT32")), y, "TransposeOptions")


def _blocks(made: Generator, x: int) -> int:
    shape, block = _four(made, x), made.size(1, 2)
    opcode, kind = made.pick(
        ("SPACE_TO_DEPTH", "SpaceToDepthOptions"), ("DEPTH_TO_SPACE", "DepthToSpaceOptions")
    )
    return made.add(opcode, (x,), made.activation(shape), kind, block_size=block)


def _arg_max(made: Generator, x: int) -> int:
    axis = made.constant(made.size(-1, 1), "INT32")
    y = made.activation(made.shape(x)[:-1], "INT32")
    return made.add("ARG_MAX", (x, axis), y, "ArgMaxOptions", output_type=made.pick(2, 4, 0))


def _svdf(made: Generator, x: int) -> int:
    """Add an SVDF, which has a variable tensor."""
    units, memory, last = 2, made.size(2, 3), max(1, (made.shape(x) or (1,))[-1])
    feature, time_weights = made.weights((units, last), 1), made.weights((units, 2), 1)
    state = made.activation((1, min(1 << 16, abs(memory) * units)), state=True)
    y = made.activation((1, units))
    inputs = (x, feature, time_weights, made.bias(units), state)
    fused = {"fused_activation_function": made.fused()}
    return made.add("SVDF", inputs, y, "SVDFOptions", rank=made.size(1), **fused)


def _split(made: Generator, x: int) -> int:
    axis, count = made.constant(made.size(-1, 1), "INT32"), made.size(1, 2)
    ys = [made.activation(made.shape(x)) for _ in range(2)]
    options = {"num_splits": count}
    made.operators.append(Operator("SPLIT", 1, (axis, x), tuple(ys), options, "SplitOptions"))
    return ys[0]


def _matmul(made: Generator, x: int) -> int:
    last = max(1, (made.shape(x) or (1,))[-1])
    other = made.weights((last, 3), 1)
    y = made.activation((*made.shape(x)[:-1], 3))
    words = {"adj_x": made.is_strange(), "adj_y": made.is_strange()}
    return made.add("BATCH_MATMUL", (x, other), y, "BatchMatMulOptions", **words)


def _four(made: Generator, index: int) -> tuple[int, int, int, int]:
    shape = (*made.shape(index), 1, 1, 1, 1)
    return tuple(max(1, min(each, 1 << 16)) for each in shape[:4])  # type: ignore[return-value] # four


_MAKERS: tuple[Maker, ...] = (
    _conv,
    _depthwise,
    _transpose_conv,
    _pool,
    _dense,
    _binary,
    _unary,
    _requantize,
    _pad,
    _concatenate,
    _reshape,
    _reduce,
    _resize,
    _slice,
    _gather,
    _transpose,
    _blocks,
    _arg_max,
    _svdf,
    _split,
    _matmul,
)


@dataclass(frozen=True)
class Ended:
    """The outcome of a model's commands."""

    statuses: tuple[tuple[str, int], ...]  # command, exit status; 1 is a traceback
    last: str  # the command that started last
    signal: int  # the signal that killed the process; 0 if none did
    text: str
    peak_bytes: int
    time_s: float

    @property
    def findings(self) -> list[str]:
        """Return the outcomes that are not allowed."""
        found = [f"{name}: status {status}" for name, status in self.statuses]
        found = [each for each in found if int(each.rsplit(" ", 1)[1]) not in _STATUSES]
        if self.signal:
            found.append(f"{self.last}: signal {self.signal}")
        if self.peak_bytes > _MOST_BYTES:
            found.append(f"{self.peak_bytes >> 20} MiB")
        return found


def run_commands(model: Path, seed: int) -> Ended:
    """Run all commands on ``model`` in a fork, one after the other."""
    printed, record_file, begun = (
        model.with_suffix(".printed"),
        model.with_suffix(".statuses"),
        time.monotonic(),
    )
    pid = os.fork()
    if not pid:
        _run_in_fork(model, seed, printed, record_file)
    _, wait_status, usage = os.wait4(pid, 0)
    words = [line.split() for line in record_file.read_text().splitlines()]
    statuses = tuple((each[0], int(each[1])) for each in words if len(each) > 1)
    return Ended(
        statuses,
        words[-1][0] if words else "",
        os.WTERMSIG(wait_status) if os.WIFSIGNALED(wait_status) else 0,
        printed.read_text(errors="replace"),
        usage.ru_maxrss * 1024,
        time.monotonic() - begun,
    )


def _run_in_fork(model: Path, seed: int, printed: Path, record_file: Path) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (_TIMEOUT_S, _TIMEOUT_S))
        file = os.open(str(printed), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(file, number)
        with record_file.open("w", buffering=1) as record:
            for name, call in commands(model, seed):
                record.write(f"{name}\n")
                record.write(f"{name} {_status(call)}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _status(call: Callable[[], Any]) -> int:
    """Return the exit status of the command of ``call``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call()
            json.loads(result.to_json())
    except EdgeKitError as error:
        return error.exit_status
    except BaseException:  # noqa: BLE001 - a user would see a traceback
        traceback.print_exc()
        return 1
    return 0


def commands(model: Path, seed: int) -> list[tuple[str, Callable[[], Any]]]:
    """Return the name and call of each command for ``model``."""
    data, kernels = _data(model), ("fast", "reference")[seed % 2]
    arrays = data.with_suffix(".npy")
    every: list[tuple[str, Callable[[], Any]]] = [
        # Pass the content: a float model's path would be converted first, which takes seconds.
        ("check", lambda: edgekit.check(model if seed % 20 == 0 else model.read_bytes())),
        ("estimate", lambda: edgekit.estimate(model)),
        ("compile", lambda: _compile(model)),
        ("inspect", lambda: edgekit.inspect(model)),
        ("benchmark", lambda: edgekit.benchmark(model, num_runs=2, warmup_runs=1)),
        ("run", lambda: edgekit.run(model, [arrays], kernels=kernels)),
        ("evaluate", lambda: edgekit.evaluate(model, str(data), kernels=kernels)),
    ]
    if Generator(seed).dtype == "FLOAT32":
        quantizer = "tensorflow" if seed % 20 == 0 else "edgekit"
        every.append(("convert", lambda: _convert(model, quantizer)))
    if seed % 20 == 0:
        fixed = model.with_suffix(".fixed.tflite")
        every.append(("fix", lambda: edgekit.fix(model, fixed)))
    return every


def _compile(model: Path) -> Any:  # noqa: ANN401 - a result
    """Compile with edgekit's compiler; a command that fails must not leave a file."""
    folder = model.with_suffix(".compiled")
    folder.mkdir()
    try:
        result = edgekit.compile([model], out_dir=folder, compiler="edgekit")
    except EdgeKitError:
        left = sorted(each.name for each in folder.rglob("*"))
        if left:
            raise RuntimeError(f"compile failed and left {left}") from None
        raise
    for each in folder.iterdir():
        if each.suffix == ".tflite":
            edgekit.inspect(each)
    return result


def _convert(model: Path, quantizer: str) -> Any:  # noqa: ANN401 - a result
    output = model.with_suffix(".int8.tflite")
    return edgekit.convert(model, data="random", output=output, num_samples=4, quantizer=quantizer)


def _data(model: Path) -> Path:
    """Write samples of the input's shape, with labels."""
    path = model.with_suffix(".npz")
    shape: tuple[int, ...] = (1, 4)
    try:
        graph = read_model(model.read_bytes()).main
        shape = graph.tensors[graph.inputs[0]].shape
    except EdgeKitError:
        pass
    if int(np.prod(np.abs(shape), dtype=np.float64)) > 1 << 20 or min(shape, default=0) < 0:
        shape = (1, 4)
    values = np.random.default_rng(1).random((3, *shape[1:]), np.float32)
    np.savez(path, x=values, y=np.zeros(3, np.int64))
    np.save(path.with_suffix(".npy"), values[:1])
    return path


def fuzz(first: int, number: int, folder: Path) -> int:
    """Run all commands on ``number`` models; return how many findings there were."""
    for name in _USED:  # import them once, before the forks
        importlib.import_module(name)
    load_library()
    num_findings, counts = 0, collections.Counter[int]()
    for seed in range(first, first + number):
        model = folder / f"seed{seed}.tflite"
        try:
            model.write_bytes(Generator(seed).model())
        except EdgeKitError as error:  # the writer refuses it
            sys.stdout.write(f"seed {seed}: not written: {error.what}\n")
            continue
        ended = run_commands(model, seed)
        counts.update(status for _, status in ended.statuses)
        last = ended.text.strip().splitlines()[-1:]
        for finding in ended.findings:
            num_findings += 1
            sys.stdout.write(f"seed {seed}: {finding}, {ended.time_s:.1f} s: {last}\n")
            sys.stdout.flush()
        if not ended.findings:
            for path in folder.glob(f"seed{seed}.*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    sys.stdout.write(f"{number} models: statuses {dict(counts)}, findings {num_findings}\n")
    return num_findings


def main() -> None:
    """Fuzz, and exit with 1 if there were findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="The first seed.")
    parser.add_argument("--keep", type=Path, help="Folder for the models that were findings.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["XDG_CACHE_HOME"] = scratch
        sys.exit(1 if fuzz(arguments.first, arguments.number, folder) else 0)


if __name__ == "__main__":
    main()
