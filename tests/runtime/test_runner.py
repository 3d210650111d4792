# SPDX-License-Identifier: Apache-2.0
"""The Runner on the CPU: its inputs, its outputs, what it refuses and why."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import (
    DataError,
    InputError,
    MissingExtraError,
    ModelFormatError,
    UnsupportedModelError,
    UsageError,
)
from edgekit.formats.tflite import Model, Operator, write_model
from edgekit.runtime import Runner

_RUNTIMES = {
    "litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
    "tensorflow": "tensorflow",
}
_INSTALLED = [name for name, module in _RUNTIMES.items() if importlib.util.find_spec(module)]


def _image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 8, 8, 1)).astype(np.float32)


def test_predict_takes_and_returns_real_values(int8_path: Path, float_path: Path) -> None:
    with Runner(int8_path) as runner, Runner(float_path) as other:
        (scores,), (expected,) = runner.predict(_image()), other.predict(_image())
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=0.4)  # two steps of the output


def test_predict_is_quantize_invoke_dequantize(int8_path: Path) -> None:
    with Runner(int8_path) as runner:
        real = np.full((1, 8, 8, 1), 100.4 / 255, np.float32)
        (raw,) = runner.to_raw(real)
        assert np.unique(raw).tolist() == [100]
        (q,) = runner.invoke(raw)
        (scores,) = runner.predict(real)
    np.testing.assert_array_equal(scores, np.float32(0.2) * (q.astype(np.float32) - 131))


def test_values_outside_the_range_of_the_input_saturate(int8_path: Path) -> None:
    with Runner(int8_path) as runner:
        (raw,) = runner.to_raw(np.array([-3, 9] * 32, np.float32).reshape(1, 8, 8, 1))
    assert np.unique(raw).tolist() == [0, 255]


@pytest.mark.parametrize("runtime", _INSTALLED)
def test_reference_kernels_give_the_same_bits_in_every_runtime(
    int8_path: Path, runtime: str
) -> None:
    with Runner(int8_path, runtime=runtime, kernels="reference") as runner:
        raw = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1) * 4
        (scores,) = runner.invoke(raw)
        assert runner.environment.kernels == "reference"
        assert runner.environment.runtime == runtime
    # Results of ai-edge-litert 2.3.0 on x86-64; every runtime, release and machine must match.
    assert scores.tolist() == [[97, 125, 110, 106, 145]]


def test_the_environment_states_what_ran(int8_path: Path) -> None:
    with Runner(int8_path) as runner:
        environment = runner.environment
        assert (environment.device, environment.num_threads) == ("cpu", 1)
        assert environment.kernels in ("xnnpack", "builtin")
        assert (environment.kernels == "xnnpack") == (not environment.kernels_note)
        assert environment.versions["numpy"] == np.__version__
        assert runner.load_ms > 0
        assert len(runner.sha256) == 64


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((8, 8, 1), np.float32), "shape (8, 8, 1) given, expected (1, 8, 8, 1)"),
        (np.zeros((1, 8, 8, 1), np.uint8), "uint8 given, expected real values"),
        (np.full((1, 8, 8, 1), np.nan, np.float32), "64 of 64 values are NaN"),
    ],
)
def test_errors_of_predict_name_the_tensor_and_what_was_given_and_expected(
    int8_path: Path, values: np.ndarray, says: str
) -> None:
    with Runner(int8_path) as runner, pytest.raises(DataError) as caught:
        runner.predict(values)
    assert says in str(caught.value)
    assert "input 'image'" in caught.value.where


@pytest.mark.parametrize(
    "values", [np.zeros((1, 8, 8, 1), np.float32), np.zeros((8, 8), np.uint8), [[1, 2]]]
)
def test_invoke_casts_nothing(int8_path: Path, values: np.ndarray) -> None:
    with Runner(int8_path) as runner, pytest.raises(DataError, match="expected"):
        runner.invoke(values)


def test_nan_is_refused_by_float_models_too(float_path: Path) -> None:
    bad = _image()
    bad[0, 0, 0, 0] = np.nan
    with Runner(float_path) as runner:
        for method in (runner.predict, runner.invoke):
            with pytest.raises(DataError, match="1 of 64 values are NaN"):
                method(bad)


def test_the_number_of_inputs_is_checked(int8_path: Path) -> None:
    with Runner(int8_path) as runner:
        with pytest.raises(DataError, match="0 arrays given, the model has 1 inputs"):
            runner.predict()
        with pytest.raises(DataError, match="2 arrays given"):
            runner.invoke(np.zeros(1), np.zeros(1))


def test_outputs_are_copies_that_the_next_call_does_not_change(int8_path: Path) -> None:
    with Runner(int8_path) as runner:
        (first,) = runner.predict(_image(1))
        kept = first.copy()
        runner.predict(_image(2))
        np.testing.assert_array_equal(first, kept)


def test_a_closed_runner_raises_an_error(int8_path: Path) -> None:
    with Runner(int8_path) as runner:
        pass
    with pytest.raises(UsageError, match="closed"):
        runner.predict(_image())
    with pytest.raises(UsageError, match="closed"):
        runner.reinvoke()
    runner.close()


def test_models_can_be_given_as_bytes(int8_model: Model) -> None:
    with Runner(write_model(int8_model)) as runner:
        assert runner.source == ""
        assert runner.inputs[0].dtype == "uint8"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"device": "gpu"}, UsageError),
        ({"runtime": "onnx"}, UsageError),
        ({"kernels": "slow"}, UsageError),
        ({"num_threads": 0}, UsageError),
    ],
)
def test_unknown_words_are_refused(
    int8_path: Path, options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Runner(int8_path, **options)  # type: ignore[arg-type] # wrong on purpose


def test_a_runtime_that_is_not_installed_is_named(int8_path: Path) -> None:
    missing = [name for name in _RUNTIMES if name not in _INSTALLED]
    if not missing:
        pytest.skip("every runtime is installed")
    with pytest.raises(MissingExtraError, match="is not installed"):
        Runner(int8_path, runtime=missing[0])


def test_a_damaged_file_is_never_given_to_an_interpreter(int8_path: Path) -> None:
    content = int8_path.read_bytes()
    with pytest.raises(ModelFormatError):
        Runner(content[: len(content) // 2])


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the model"):
        Runner(tmp_path / "none.tflite")


def _with_custom(model: Model, name: str) -> bytes:
    custom = Operator("CUSTOM", 1, model.main.inputs, model.main.outputs, custom_code=name)
    return write_model(replace(model, subgraphs=(replace(model.main, operators=(custom,)),)))


def test_a_compiled_model_is_refused_with_the_cause(int8_model: Model) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        Runner(_with_custom(int8_model, "edgetpu-custom-op"))
    assert "compiled for the Edge TPU" in caught.value.what
    assert "operator 0" in caught.value.where


def test_a_custom_operator_without_kernel_is_named(int8_model: Model) -> None:
    with pytest.raises(UnsupportedModelError, match="no CPU kernel for the custom operator Mine"):
        Runner(_with_custom(int8_model, "Mine"))


def _why_not(path: Path) -> str:
    """Run a model on zeros; the reason if it is refused, "" if it ran."""
    try:
        with Runner(path) as runner:
            raw = [np.zeros(info.shape, info.dtype) for info in runner.inputs]
            shapes = [output.shape for output in runner.invoke(*raw)]
            return "" if shapes == [info.shape for info in runner.outputs] else "wrong shapes"
    except UnsupportedModelError as error:
        return error.why or "no reason"


@pytest.mark.corpus
def test_every_plain_model_of_the_corpus_runs_or_is_refused_with_a_reason(corpus: Path) -> None:
    paths = [p for p in (corpus / "compiled").rglob("*.tflite") if "_edgetpu" not in p.name]
    reasons = {path.name: _why_not(path) for path in paths}
    refused = {name: reason for name, reason in reasons.items() if reason}
    assert len(paths) > 30
    assert len(refused) < len(paths) / 3
    assert not {"wrong shapes", "no reason"} & set(refused.values())
