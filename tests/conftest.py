# SPDX-License-Identifier: Apache-2.0
"""Markers, the corpus, and the reasons of skips."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

# There are as many test processes as cores: more threads would wait for each other, and OpenBLAS
# waits in a busy loop. Both variables are read when numpy and TensorFlow are imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor, write_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Collecting 6,000 tests creates almost no garbage; `pytest_collection_finish` ends this.
gc.disable()

# Tests do not depend on time: the machine may be busy, and a first call imports modules.
settings.register_profile("edgekit", deadline=None)
settings.load_profile("edgekit")

# A shell starts background jobs with Ctrl-C ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)

_REPOSITORY = Path(__file__).resolve().parents[1]
# For `scripts`; last, so that the installed edgekit is the one under test.
sys.path.append(str(_REPOSITORY))


def _corpus() -> Path | None:
    for place in (
        os.environ.get("EDGEKIT_CORPUS", ""),
        str(_REPOSITORY.parent / "shared" / "data"),
    ):
        if place and (Path(place) / "MANIFEST.csv").is_file():
            return Path(place)
    return None


# One row per marker with a requirement: what is missing here; "" if nothing is.
_MISSING = {
    "corpus": "" if _corpus() else "the corpus is not here: set EDGEKIT_CORPUS to its folder",
    "host": "" if importlib.util.find_spec("tensorflow") else "tensorflow is not installed",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--require=MARKER`` turns skips for a missing requirement into failures; CI uses it."""
    parser.addoption("--require", action="append", default=[], metavar="MARKER")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slow tests first: none of them then keeps one test process busy at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Let the garbage collector start, without the modules and tests: they stay to the end."""
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose marker's requirement is missing; fail it if the option requires it."""
    for marker, missing in _MISSING.items():
        if missing and item.get_closest_marker(marker):
            if marker in item.config.getoption("--require"):
                pytest.fail(f"--require={marker}: {missing}", pytrace=False)
            pytest.skip(missing)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of other people's models and data; for tests with the marker ``corpus``."""
    place = _corpus()
    if place is None:
        pytest.skip(_MISSING["corpus"])
    return place


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function: a name -> the folder of that name, filled by the first call of it.

    The test processes of a run share the folder; the others wait for the one that fills it.
    """
    fcntl = pytest.importorskip("fcntl", reason="this system cannot lock files")
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        place, filled = root / name, root / f"{name}.filled"
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not filled.exists():
                shutil.rmtree(str(place), ignore_errors=True)
                place.mkdir()
                fill(place)
                filled.touch()
        return place

    return folder


# Pages that use each other's files run together.
PAGE_GROUPS = {
    "photographs": (
        "docs/tutorials/photographs.md",
        "README.md",
        "docs/guides/boards.md",
        "docs/guides/build.md",
        "docs/guides/ci.md",
    ),
    "quick-start": (
        "docs/quick-start.md",
        "docs/guides/compile.md",
        "docs/guides/check.md",
        "docs/guides/evaluate.md",
        "docs/guides/debug.md",
    ),
    "convert": ("docs/guides/convert.md", "docs/guides/confirm.md"),
}


@pytest.fixture(scope="session")
def run_pages(once: Callable[..., Path]) -> Callable[[str], Path]:
    """Return a function: a group of pages -> the folder in which their commands have run.

    It has a folder for each page, and ``fresh.json``: (page, its text, its text with the outputs).
    """
    from scripts.page_outputs import fresh_pages  # noqa: PLC0415 - needs Python 3.10

    def run(group: str) -> Path:
        def fill(work: Path) -> None:
            fresh = list(fresh_pages(PAGE_GROUPS[group], work))
            (work / "fresh.json").write_text(json.dumps(fresh))

        return once(f"pages-{group}", fill)

    return run


Options = Mapping[str, Any]


class _Builder:
    """Collects tensors and buffers; each method returns the index of its tensor."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.buffers = [np.empty(0, np.uint8)]
        self.operators: list[Operator] = []

    def activation(
        self, name: str, shape: tuple[int, ...], dtype: str, quantization: Quantization | None
    ) -> int:
        self.tensors.append(Tensor(name, shape, dtype, 0, quantization))
        return len(self.tensors) - 1

    def constant(self, name: str, values: Any, quantization: Quantization | None = None) -> int:  # noqa: ANN401
        array = np.ascontiguousarray(values)
        dtype = array.dtype.name.upper()
        self.tensors.append(Tensor(name, array.shape, dtype, len(self.buffers), quantization))
        self.buffers.append(np.frombuffer(array.tobytes(), np.uint8))
        return len(self.tensors) - 1

    def operator(
        self, opcode: str, version: int, inputs: tuple[int, ...], output: int, options: Options
    ) -> None:
        fields = {key: value for key, value in options.items() if key != "type"}
        kind = str(options["type"])
        self.operators.append(Operator(opcode, version, inputs, (output,), fields, kind))

    def model(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Model:
        graph = Subgraph(tuple(self.tensors), inputs, outputs, tuple(self.operators), "main")
        return Model((graph,), tuple(self.buffers), "made by hand")


def delay(classes: int, shape: tuple[int, ...] = ()) -> bytes:
    """Floats; the output is the input plus three times the input of the call before.

    Both have the shape (1, classes), or the input has ``shape``.
    """
    build = _Builder()
    x = image = build.activation("x", shape or (1, classes), "FLOAT32", None)
    if shape:
        flat = build.constant("shape", np.array([1, classes], np.int32))
        x = build.activation("flat", (1, classes), "FLOAT32", None)
        reshape = {"type": "ReshapeOptions", "new_shape": (1, classes)}
        build.operator("RESHAPE", 1, (image, flat), x, reshape)
    own = build.constant("own", np.eye(classes, dtype=np.float32))
    taps = build.constant("taps", np.tile(np.array([3, 1], np.float32), (classes, 1)))
    build.tensors.append(Tensor("state", (1, 2 * classes), "FLOAT32", 0, is_variable=True))
    y = build.activation("y", (1, classes), "FLOAT32", None)
    options = {"type": "SVDFOptions", "rank": 1, "fused_activation_function": "NONE"}
    build.operator("SVDF", 1, (x, own, taps, -1, len(build.tensors) - 2), y, options)
    return write_model(build.model((image,), (y,)))


@pytest.fixture
def make_delay() -> Callable[..., bytes]:
    """`delay`."""
    return delay


_CONV = {
    "type": "Conv2DOptions",
    "padding": "VALID",
    "stride_w": 1,
    "stride_h": 1,
    "dilation_w_factor": 1,
    "dilation_h_factor": 1,
    "fused_activation_function": "RELU",
}
_POOL = {
    "type": "Pool2DOptions",
    "padding": "VALID",
    "stride_w": 2,
    "stride_h": 2,
    "filter_width": 2,
    "filter_height": 2,
    "fused_activation_function": "NONE",
}


def _weights() -> tuple[Any, Any, Any, Any]:
    random = np.random.default_rng(7)
    return (
        random.integers(-127, 128, (4, 3, 3, 1), np.int8),
        random.integers(-99, 99, 4, np.int32),
        random.integers(-127, 128, (5, 36), np.int8),
        random.integers(-99, 99, 5, np.int32),
    )


def integer_classifier() -> Model:
    """A uint8 classifier, (1, 8, 8, 1) in 0..1 to (1, 5): conv, pool, dense, as the tutorial's."""
    conv, conv_bias, dense, dense_bias = _weights()
    scales = (0.01, 0.02, 0.015, 0.012)
    build, quant = _Builder(), Quantization
    x = build.activation("image", (1, 8, 8, 1), "UINT8", quant((1 / 255,), (0,)))
    q = build.activation("image_int8", (1, 8, 8, 1), "INT8", quant((1 / 255,), (-128,)))
    w = build.constant("conv/w", conv, quant(scales, (0,) * 4, 0))
    b = build.constant("conv/b", conv_bias, quant(tuple(s / 255 for s in scales), (0,) * 4, 0))
    c = build.activation("conv/relu", (1, 6, 6, 4), "INT8", quant((0.05,), (-128,)))
    m = build.activation("pool/max", (1, 3, 3, 4), "INT8", quant((0.05,), (-128,)))
    shape = build.constant("flatten/shape", np.array([1, 36], np.int32))
    f = build.activation("flatten/flat", (1, 36), "INT8", quant((0.05,), (-128,)))
    v = build.constant("dense/w", dense, quant((0.01,), (0,)))
    d = build.constant("dense/b", dense_bias, quant((0.0005,), (0,)))
    s = build.activation("dense/scores", (1, 5), "INT8", quant((0.2,), (3,)))
    y = build.activation("scores", (1, 5), "UINT8", quant((0.2,), (131,)))
    build.operator("QUANTIZE", 1, (x,), q, {"type": "QuantizeOptions"})
    build.operator("CONV_2D", 3, (q, w, b), c, _CONV)
    build.operator("MAX_POOL_2D", 2, (c,), m, _POOL)
    build.operator("RESHAPE", 1, (m, shape), f, {"type": "ReshapeOptions", "new_shape": (1, 36)})
    build.operator("FULLY_CONNECTED", 4, (f, v, d), s, {"type": "FullyConnectedOptions"})
    build.operator("QUANTIZE", 1, (s,), y, {"type": "QuantizeOptions"})
    return build.model((x,), (y,))


def float_classifier() -> Model:
    """The same network on real numbers."""
    conv, conv_bias, dense, dense_bias = _weights()
    scales = np.array((0.01, 0.02, 0.015, 0.012), np.float32)
    build = _Builder()
    x = build.activation("image", (1, 8, 8, 1), "FLOAT32", None)
    w = build.constant("conv/w", conv.astype(np.float32) * scales[:, None, None, None])
    b = build.constant("conv/b", conv_bias.astype(np.float32) * scales / 255)
    c = build.activation("conv/relu", (1, 6, 6, 4), "FLOAT32", None)
    m = build.activation("pool/max", (1, 3, 3, 4), "FLOAT32", None)
    shape = build.constant("flatten/shape", np.array([1, 36], np.int32))
    f = build.activation("flatten/flat", (1, 36), "FLOAT32", None)
    v = build.constant("dense/w", dense.astype(np.float32) * np.float32(0.01))
    d = build.constant("dense/b", dense_bias.astype(np.float32) * np.float32(0.0005))
    y = build.activation("scores", (1, 5), "FLOAT32", None)
    build.operator("CONV_2D", 1, (x, w, b), c, _CONV)
    build.operator("MAX_POOL_2D", 1, (c,), m, _POOL)
    build.operator("RESHAPE", 1, (m, shape), f, {"type": "ReshapeOptions", "new_shape": (1, 36)})
    build.operator("FULLY_CONNECTED", 1, (f, v, d), y, {"type": "FullyConnectedOptions"})
    return build.model((x,), (y,))


def constant_model(
    input_shape: Sequence[int],
    outputs: Sequence[NDArray[Any]],
    *,
    last: tuple[str, int, str] | None = None,
) -> bytes:
    """A .tflite for a float image with constant ``outputs``, each plus zero times the image.

    Args:
        input_shape: (1, height, width, channels).
        outputs: Real values, of up to four dimensions.
        last: Opcode, number and options' name of one more operator after each output.
    """
    tensors = [Tensor("image", tuple(input_shape), "FLOAT32", 0)]
    buffers = [np.empty(0, np.uint8)]
    operators: list[Operator] = []

    def constant(name: str, values: NDArray[Any], dtype: str) -> int:
        buffers.append(np.frombuffer(values.tobytes(), np.uint8))
        tensors.append(Tensor(name, values.shape, dtype, len(buffers) - 1))
        return len(tensors) - 1

    def computed(name: str, shape: Sequence[int], operator: Operator) -> int:
        tensors.append(Tensor(name, tuple(shape), "FLOAT32", 0))
        operators.append(replace(operator, outputs=(len(tensors) - 1,)))
        return len(tensors) - 1

    axes = constant("axes", np.array([1, 2, 3], "<i4"), "INT32")
    nothing = constant("nothing", np.zeros((), "<f4"), "FLOAT32")
    mean = Operator(
        "MEAN", 1, (0, axes), (), {"keep_dims": False}, "ReducerOptions", builtin_code=40
    )
    average = computed("mean", (1,), mean)
    product = Operator("MUL", 1, (average, nothing), (), {}, "MulOptions", builtin_code=18)
    zero = computed("zero", (1,), product)
    ends = []
    for number, values in enumerate(outputs):
        kept = constant(f"values{number}", values.astype("<f4"), "FLOAT32")
        name = f"output{number}"
        total = Operator("ADD", 1, (kept, zero), (), {}, "AddOptions", builtin_code=0)
        end = computed(name, values.shape, total)
        if last is not None:
            opcode, code, kind = last
            behind = Operator(opcode, 1, (end,), (), {}, kind, builtin_code=code)
            end = computed(f"{name}b", values.shape, behind)
        ends.append(end)
    graph = Subgraph(tuple(tensors), (0,), tuple(ends), tuple(operators))
    return write_model(Model((graph,), tuple(buffers)))


@pytest.fixture(scope="session")
def make_constant() -> Callable[..., bytes]:
    """`constant_model`."""
    return constant_model


@pytest.fixture(scope="session")
def int8_model() -> Model:
    """See `integer_classifier`."""
    return integer_classifier()


@pytest.fixture(scope="session")
def float_model() -> Model:
    """See `float_classifier`."""
    return float_classifier()


@pytest.fixture
def int8_path(tmp_path: Path, int8_model: Model) -> Path:
    """`integer_classifier` as a file."""
    path = tmp_path / "int8.tflite"
    path.write_bytes(write_model(int8_model))
    return path


@pytest.fixture
def float_path(tmp_path: Path, float_model: Model) -> Path:
    """`float_classifier` as a file."""
    path = tmp_path / "float.tflite"
    path.write_bytes(write_model(float_model))
    return path
