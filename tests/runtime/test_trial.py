# SPDX-License-Identifier: Apache-2.0
"""Models that crash their process are errors, and valid models are tried only once."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    read_model,
    write_model,
)
from edgekit.runtime import Runner
from edgekit.runtime.proven import identity, is_proven, record_success
from edgekit.runtime.trial import spawn_trial
from edgekit.runtime.trial_child import RAN, Trial
from tests.command import edgekit

pytestmark = pytest.mark.usefixtures("cache")
_RUNTIME = "litert" if sys.version_info >= (3, 10) else "tflite-runtime"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def additions(scale: float) -> bytes:
    """A tensor added to itself; the sum has ``scale``, the tensor 0.5."""
    half, other = Quantization((0.5,), (0,)), Quantization((scale,), (0,))
    tensors = (Tensor("x", (1, 4), "INT8", 0, half), Tensor("y", (1, 4), "INT8", 0, other))
    options = {"fused_activation_function": "NONE"}
    add = Operator("ADD", 1, (0, 0), (1,), options, "AddOptions")
    return write_model(Model((Subgraph(tensors, (0,), (1,), (add,)),), (np.empty(0, np.uint8),)))


def product_of_floats() -> bytes:
    """A product of floats over two axes, declared as int8."""
    first, last = Quantization((0.004,), (-71,)), Quantization((0.004,), (-104,))
    tensors = (
        Tensor("x", (1, 3, 7, 1), "INT8", 0, first),
        Tensor("real", (1, 3, 7, 1), "FLOAT32", 0),
        Tensor("axes", (2,), "INT32", 1),
        Tensor("y", (1, 1), "INT8", 0, last),
    )
    axes = np.array([0, -1], np.int32).view(np.uint8)
    operators = (
        Operator("DEQUANTIZE", 1, (0,), (1,)),
        Operator("REDUCE_PROD", 1, (1, 2), (3,), {"keep_dims": False}, "ReducerOptions"),
    )
    graph = Subgraph(tensors, (0,), (3,), operators)
    return write_model(Model((graph,), (np.empty(0, np.uint8), axes)))


@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_a_model_that_aborts_the_kernels_is_an_error(kernels: str) -> None:
    with pytest.raises(UnsupportedModelError, match="the model crashes") as caught:
        Runner(additions(1e-38), kernels=kernels)
    assert (caught.value.code, caught.value.exit_status) == ("model.crash", 3)
    assert "SIGABRT" in caught.value.what


def test_a_model_whose_tensors_are_not_allocated_is_an_error() -> None:
    """The constant of a resize is its real size: 2 to the power of 31 rows, not the declared 14."""
    half = Quantization((0.5,), (0,))
    tensors = (
        Tensor("x", (1, 7, 1, 3), "INT8", 0, half),
        Tensor("size", (2,), "INT32", 1),
        Tensor("y", (1, 14, 2, 3), "INT8", 0, half),
    )
    size = np.array([(1 << 31) - 1, 2], np.int32).view(np.uint8)
    options = {"align_corners": True, "half_pixel_centers": False}
    resize = Operator(
        "RESIZE_NEAREST_NEIGHBOR", 1, (0, 1), (2,), options, "ResizeNearestNeighborOptions"
    )
    model = Model((Subgraph(tensors, (0,), (2,), (resize,)),), (np.empty(0, np.uint8), size))
    with pytest.raises(UnsupportedModelError) as caught:
        Runner(write_model(model))
    assert "memory" in f"{caught.value.what} {caught.value.why}"


@pytest.mark.skipif(sys.version_info < (3, 10), reason="tflite-runtime's kernel ends")
def test_a_small_model_that_does_not_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference kernel writes the product of floats into an int8 tensor, then loops."""
    monkeypatch.setattr("edgekit.runtime.trial.TIMEOUT_S", 2.0)
    with pytest.raises(UnsupportedModelError, match="the model does not end") as caught:
        Runner(product_of_floats(), kernels="reference")
    assert (caught.value.code, caught.value.exit_status) == ("model.crash", 3)


def test_a_model_that_runs_is_tried_once_and_recorded(cache: Path) -> None:
    content = additions(1.0)
    for _ in range(2):
        with Runner(content) as runner:
            (answer,) = runner.invoke(np.array([[1, 2, 3, 4]], np.int8))
        np.testing.assert_array_equal(answer, [[1, 2, 3, 4]])
        assert len(list((cache / "edgekit" / "proven").iterdir())) == 1


def test_a_model_that_crashes_is_never_recorded(cache: Path) -> None:
    for _ in range(2):
        with pytest.raises(UnsupportedModelError, match="the model crashes"):
            Runner(additions(1e-38))
    assert not (cache / "edgekit").exists()


def test_a_cache_that_cannot_be_written_only_costs_time(cache: Path) -> None:
    cache.write_text("a file where the folder would be")
    with Runner(additions(2.0)) as runner:
        assert runner.outputs[0].scale == 2.0
    with pytest.raises(UnsupportedModelError):
        Runner(additions(1e-38))


def test_a_fork_works_while_threads_run() -> None:
    wait = threading.Event()
    thread = threading.Thread(target=wait.wait)
    thread.start()
    try:
        with pytest.raises(UnsupportedModelError, match="the model crashes"):
            Runner(additions(1e-37))
    finally:
        wait.set()
        thread.join()


def test_a_new_python_finds_the_same_as_a_fork() -> None:
    resolvers = ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")
    sound = spawn_trial(Trial(additions(1.0), _RUNTIME, resolvers))
    assert (sound.reported.stage, sound.signal) == (RAN, "")
    if os.name == "posix":
        assert spawn_trial(Trial(additions(1e-38), _RUNTIME, resolvers)).signal == "SIGABRT"


def test_identities_differ_if_scales_or_small_constants_differ(int8_model: Model) -> None:
    content = write_model(int8_model)
    keys = {
        identity(content, read_model(content), "litert", "1"),
        identity(content, read_model(content), "litert", "2"),
        identity(additions(1.0), read_model(additions(1.0)), "litert", "1"),
        identity(additions(2.0), read_model(additions(2.0)), "litert", "1"),
    }
    assert len(keys) == 4
    assert identity(content, read_model(content), "litert", "1") in keys


def test_the_cache_is_bounded(cache: Path) -> None:
    folder = cache / "edgekit" / "proven"
    folder.mkdir(parents=True)
    for number in range(4096):
        (folder / str(number)).touch()
    record_success("one more")
    assert is_proven("one more")
    assert len(list(folder.iterdir())) < 4096


@pytest.mark.parametrize(
    "words",
    [
        ("run", "MODEL", "DATA.npy"),
        ("evaluate", "MODEL", "--data", "DATA.npz"),
        ("benchmark", "MODEL"),
        ("fix", "MODEL", "-o", "OUT.tflite"),
        ("split", "MODEL", "-o", "OUT"),
        ("doctor", "--model", "MODEL"),
    ],
)
def test_every_command_reports_it(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "MODEL").write_bytes(additions(1e-38))
    zeros = np.zeros((2, 4), np.float32)
    np.save(tmp_path / "DATA.npy", zeros[:1])
    np.savez(tmp_path / "DATA.npz", x=zeros, y=np.zeros(2, np.int64))
    done = edgekit(*words, cwd=tmp_path)
    text = done.stdout + done.stderr
    assert done.returncode in {0, 3, 4, 6}, text  # 6: the doctor finds no Edge TPU
    assert "Traceback" not in text
    assert words[0] == "fix" or "SIGABRT" in text
    assert done.returncode != 3 or "where: MODEL" in text.replace(str(tmp_path) + os.sep, "")
