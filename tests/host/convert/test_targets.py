# SPDX-License-Identifier: Apache-2.0
"""The errors of both models by real targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.cli.convert import render
from edgekit.host.convert import convert
from edgekit.host.convert.targets import TargetCheck, TargetErrors

_RNG = np.random.default_rng(3)


def _check(
    targets: NDArray[Any], noise: float, more: NDArray[np.float64] | float
) -> TargetCheck | None:
    """Both models are off by ``noise``, the new one by ``more`` in addition."""
    before = targets + noise * _RNG.choice([-1, 1], targets.shape)
    after = before + more * _RNG.normal(size=targets.shape)
    errors = TargetErrors(list(targets))
    for start in range(0, len(targets), 8):
        errors.add([before[start : start + 8]], [after[start : start + 8]])
    return errors.check()


def test_the_worst_target_is_named_with_its_errors() -> None:
    targets = _RNG.normal(size=(60, 3)) * (1, 100, 10)
    found = _check(targets, 0.01, np.array([0.0, 0.0, 9.0]))
    assert found is not None
    assert found.num_samples == 60
    np.testing.assert_allclose(found.float_mae, [0.01, 0.01, 0.01])
    (finding,) = found.findings
    assert finding.level == "bad"
    assert finding.text.startswith("by the labels the mean absolute error of target 2 is 0.01 in")


@pytest.mark.parametrize(("noise", "more"), [(0.5, 0.2), (0.001, 0.005), (0.3, 0.0)])
def test_an_error_that_hardly_grows_is_no_finding(noise: float, more: float) -> None:
    """The second one grows fivefold, but not by a useful part of the target's deviation."""
    found = _check(_RNG.normal(size=(60, 1)), noise, more)
    assert found is not None
    assert not found.findings


@pytest.mark.parametrize(
    "targets",
    [
        np.arange(40) % 3,  # classes
        np.eye(3)[np.arange(40) % 3],
        _RNG.normal(size=(12, 1)),  # few
    ],
)
def test_classes_and_few_samples_are_not_compared(targets: NDArray[Any]) -> None:
    assert _check(targets.reshape(len(targets), -1).astype(np.float64), 0.1, 1.0) is None


def test_labels_of_another_size_are_not_the_outputs_targets() -> None:
    errors = TargetErrors([np.ones(2)] * 20)
    errors.add([np.ones((20, 3))], [np.ones((20, 3))])
    assert errors.check() is None


@pytest.mark.host
@pytest.mark.usefixtures("kept_converter")
def test_convert_calls_a_model_bad_that_loses_an_exact_regression(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    """The small column decides a target; its error is invisible beside the large one's range."""
    source = keras.Input((2,))
    layer = keras.layers.Dense(1, use_bias=False)
    model = keras.Model(source, layer(source))
    layer.set_weights([np.array([[0.02], [1.0]])])
    x = np.stack([_RNG.uniform(-100, 100, 400), _RNG.uniform(-1, 1, 400)], 1).astype(np.float32)
    y = x @ np.array([[0.02], [1.0]]) + _RNG.normal(0, 0.05, (400, 1))
    np.savez(tmp_path / "d.npz", x=x, y=y)
    result = convert(model, data=tmp_path / "d.npz", output=tmp_path / "m.tflite")
    assert result.target_check is not None
    assert result.target_check.mae[0] > 2 * result.target_check.float_mae[0]
    assert result.agreement is not None
    assert result.agreement.verdict == "bad"
    assert sum("by the labels the mean absolute error" in each for each in result.warnings) == 1
    assert any(line.startswith("by labels  mean absolute error 0.") for line in render(result))
