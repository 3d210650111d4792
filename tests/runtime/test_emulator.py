# SPDX-License-Identifier: Apache-2.0
"""``Runner(model, device="emulator")`` on whole compiled files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import pytest
from PIL import Image

from edgekit import Runner
from edgekit.errors import EdgeKitError, MissingExtraError, UnsupportedModelError
from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    read_model,
    write_model,
)
from edgekit.runtime.emulator import EmulatorBackend
from edgekit.runtime.interpreters import InterpreterLibrary
from scripts.layers_alone import Alone, layers_alone

_FOLDER = "compiled/google-coral__edgetpu"
_NAME = "mobilenet_v1_0.25_128_quant"
_BILINEAR = 2  # in all of Pillow's versions
# Two inferences, then the highest memory of the process in KiB.
_PEAK = """
import re, sys
import numpy as np
from edgekit import Runner
with Runner(sys.argv[1], device="emulator") as runner:
    values = [np.zeros(each.shape, each.dtype) for each in runner.inputs]
    runner.invoke(*values)
    runner.invoke(*values)
with open("/proc/self/status") as stream:
    print(re.search(r"VmHWM:\\s+(\\d+)", stream.read()).group(1))
"""


def _plain() -> bytes:
    step = Quantization((0.05,), (0,))
    tensors = tuple(Tensor(f"t{i}", (1, 8), "INT8", 0, step) for i in range(2))
    graph = Subgraph(tensors, (0,), (1,), (Operator("TANH", 2, (0,), (1,)),), "main")
    return write_model(Model((graph,), (np.empty(0, np.uint8),)))


def _cpu(source: Path | bytes, kernels: str = "fast") -> Runner:
    runner = Runner(source, kernels=kernels)
    if kernels == "fast" and runner.environment.kernels != "xnnpack":
        pytest.skip(runner.environment.kernels_note)
    return runner


def _alone(corpus: Path, kernels: str) -> list[Alone]:
    """Every layer of a MobileNet alone, given the Edge TPU's values."""
    source = read_model(corpus / _FOLDER / f"{_NAME}.tflite")
    image = np.random.default_rng(1).integers(0, 256, (1, 128, 128, 3)).astype(np.uint8)
    (name,) = (source.main.tensors[index].name for index in source.main.inputs)

    def run(part: Model, values: Sequence[Any]) -> Any:  # noqa: ANN401
        with Runner(write_model(part), kernels=kernels) as runner:
            (found,) = runner.invoke(*values)
        return found

    _cpu(write_model(source), kernels).close()  # skips if there is no XNNPACK
    return list(layers_alone(source, {name: image}, run))


def _share(layers: list[Alone]) -> tuple[float, int]:
    """Return the share of differing convolution values, and the largest difference in steps."""
    convolutions = [each for each in layers if each.opcode.endswith("CONV_2D")]
    total = sum(each.ours.size for each in convolutions)
    assert total > 400_000
    return sum(each.num_differing for each in convolutions) / total, max(
        each.largest for each in convolutions
    )


@pytest.mark.corpus
def test_every_difference_of_the_fast_kernels_is_explained(corpus: Path) -> None:
    layers = _alone(corpus, "fast")
    assert {each.opcode for each in layers} == {"CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D"}
    assert sum(each.num_differing for each in layers) > 0
    assert all(each.num_predicted == each.ours.size for each in layers)


@pytest.mark.corpus
def test_the_fast_kernels_compute_convolutions_as_the_edge_tpu_does(corpus: Path) -> None:
    share, most = _share(_alone(corpus, "fast"))
    assert share <= 1e-5
    assert most <= 1


@pytest.mark.corpus
def test_the_reference_kernels_differ_by_a_step_in_some_values(corpus: Path) -> None:
    share, most = _share(_alone(corpus, "reference"))
    assert 1e-4 < share < 0.05
    assert most == 1


@pytest.mark.corpus
def test_the_answer_of_a_whole_model_is_that_of_the_fast_kernels(corpus: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3)).astype(np.uint8)
    with Runner(corpus / _FOLDER / f"{_NAME}_edgetpu.tflite", device="emulator") as chip:
        (found,) = chip.invoke(image)
    with _cpu(corpus / _FOLDER / f"{_NAME}.tflite") as cpu:
        (other,) = cpu.invoke(image)
    assert np.array_equal(found, other)


@pytest.mark.corpus
def test_the_environment_states_that_times_are_not_the_chips(corpus: Path) -> None:
    path = corpus / _FOLDER / f"{_NAME}_edgetpu.tflite"
    with Runner(path, device="emulator") as runner:
        environment = runner.environment
    assert environment.device == "emulator"
    assert "not of the chip" in environment.kernels_note


@pytest.mark.corpus
def test_operators_after_the_program_run_on_the_cpu(corpus: Path) -> None:
    paths = sorted(corpus.glob("compiled/**/yamnet_spectra_in_edgetpu.tflite"))
    path = paths[0]
    source = path.with_name(path.name.replace("_edgetpu", ""))
    with Runner(path, device="emulator") as chip, _cpu(source) as cpu:
        tensor = chip.inputs[0]
        values = np.random.default_rng(2).random(tensor.shape).astype(tensor.dtype)
        results, others = chip.invoke(values), cpu.invoke(values)
    assert len(results) == len(others)
    for found, other in zip(results, others):
        assert np.array_equal(found, other)


@pytest.mark.corpus
def test_a_damaged_model_is_one_error(corpus: Path, tmp_path: Path) -> None:
    content = (corpus / _FOLDER / f"{_NAME}_edgetpu.tflite").read_bytes()
    path = tmp_path / "cut_edgetpu.tflite"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(EdgeKitError):
        Runner(path, device="emulator")


def test_a_model_that_is_not_compiled_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="not contain a program for the Edge TPU"):
        Runner(_plain(), device="emulator")


def test_a_model_that_is_not_compiled_is_refused_without_a_runtime() -> None:
    def no_runtime() -> InterpreterLibrary:
        raise MissingExtraError("no TensorFlow Lite runtime is installed")

    with pytest.raises(UnsupportedModelError, match="not contain a program for the Edge TPU"):
        EmulatorBackend(read_model(_plain()), no_runtime, "fast", 1)


# numba itself and its code take another 200 MiB.
_NUMPY_ALONE = "import sys; sys.modules['numba'] = None\n"


@pytest.mark.corpus
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc shows the peak")
def test_the_largest_program_runs_in_400_mib(corpus: Path) -> None:
    folder = "compiled/google-coral__test_data"
    name = "deeplab_mobilenet_edgetpu_slim_cityscapes_quant_edgetpu.tflite"
    done = subprocess.run(
        [sys.executable, "-c", _NUMPY_ALONE + _PEAK, str(corpus / folder / name)],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=True,
    )
    assert int(done.stdout) < 400 << 10


@pytest.mark.corpus
@pytest.mark.slow
def test_pipeline_segments_one_after_the_other_find_the_same_cat(corpus: Path) -> None:
    """One detector that Google's compiler cut into two, three and four segments."""
    with Image.open(str(corpus / "coral/cat.bmp")) as picture:
        image = np.asarray(picture.convert("RGB").resize((300, 300), _BILINEAR))[None]
    folder = corpus / "compiled/google-coral__test_data"
    answers = []
    for number in (2, 3, 4):
        values = {"normalized_input_image_tensor": image}
        for k in range(number):
            name = f"ssd_mobilenet_v1_coco_quant_postprocess_segment_{k}_of_{number}_edgetpu.tflite"
            with Runner(folder / name, device="emulator") as runner:
                made = runner.invoke(*(values[each.name] for each in runner.inputs))
                values.update(zip((each.name for each in runner.outputs), made))
                # The last segment ends on the CPU; the runtime is still the emulator, on numpy.
                assert next(iter(runner.environment.versions.items())) == ("numpy", np.__version__)
        names = ["TFLite_Detection_PostProcess" + suffix for suffix in ("", ":1", ":2", ":3")]
        *found, count = (values[name] for name in names)
        # Behind the counted detections the operator's output is arbitrary memory.
        answers.append([each[0, : int(count[0])] for each in found])
    for answer in answers[1:]:
        assert all(map(np.array_equal, answer, answers[0]))
    _, classes, scores = answers[0]
    assert (classes[0], scores[0] > 0.7) == (16, True)  # a cat, among COCO's 90 from 0 on
