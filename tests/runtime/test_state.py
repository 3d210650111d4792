# SPDX-License-Identifier: Apache-2.0
"""A model's state is reset before each inference, except in a stream."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from edgekit.errors import UsageError
from edgekit.formats.tflite import Model, read_model
from edgekit.runtime import Runner
from edgekit.runtime.state import assigns_resources, is_stateful

_RUNTIMES = {
    "litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
    "tensorflow": "tensorflow",
}
_INSTALLED = [name for name, module in _RUNTIMES.items() if importlib.util.find_spec(module)]
_LSTM = "compiled/google-coral__test_data/keras_lstm_mnist_ptq"

Make = Callable[..., bytes]


@pytest.mark.parametrize("runtime", _INSTALLED)
@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_the_state_is_reset_before_each_call_unless_it_is_kept(
    make_delay: Make, runtime: str, kernels: str
) -> None:
    one, ten = np.full((1, 2), 1, np.float32), np.full((1, 2), 10, np.float32)
    with Runner(make_delay(2), runtime=runtime, kernels=kernels) as runner:
        first, second = (float(runner.predict(x)[0][0, 0]) for x in (one, ten))
        assert (first, second) == (1, 10)
        # The output is the input plus three times the previous input.
        kept = [float(runner.invoke(x, keep_state=True)[0][0, 0]) for x in (one, one, ten)]
        assert kept == [1 + 30, 1 + 3, 10 + 3]
        runner.reset()
        assert float(runner.predict(one, keep_state=True)[0][0, 0]) == 1
        assert float(runner.clone().predict(one, keep_state=True)[0][0, 0]) == 1


def test_a_closed_runner_cannot_be_reset(make_delay: Make) -> None:
    runner = Runner(make_delay(2))
    runner.close()
    with pytest.raises(UsageError, match="closed"):
        runner.reset()


def test_only_models_with_variables_are_stateful(make_delay: Make, int8_model: Model) -> None:
    assert is_stateful(read_model(make_delay(2)))
    assert not is_stateful(int8_model)
    assert not assigns_resources(read_model(make_delay(2)))


@pytest.mark.host
def test_resource_variables_are_reset_too() -> None:
    """The interpreter does not have a call that resets them."""
    tf = pytest.importorskip("tensorflow")

    class Sum(tf.Module):  # type: ignore[misc, name-defined] # tensorflow has no types
        def __init__(self) -> None:
            self.total = tf.Variable(tf.zeros((1, 3)))

        @tf.function(input_signature=[tf.TensorSpec((1, 3), tf.float32, "x")])
        def add(self, x):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - a TypeSpec annotates it
            self.total.assign_add(x)
            return self.total * 2.0

    module = Sum()
    function = module.add.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.experimental_enable_resource_variables = True
    content = converter.convert()
    assert assigns_resources(read_model(content))
    ones = np.ones((1, 3), np.float32)
    with Runner(content) as runner:
        answers = [
            runner.predict(ones, keep_state=keep)[0][0, 0]
            for keep in (False, False, True, True, False)
        ]
    assert answers == [2, 2, 4, 6, 2]


@pytest.mark.corpus
@pytest.mark.parametrize("device", ["cpu", "emulator"])
def test_the_state_of_a_compiled_lstm_is_reset_in_the_emulator_too(
    corpus: Path, device: str
) -> None:
    suffix = "_edgetpu.tflite" if device == "emulator" else ".tflite"
    with np.load(str(corpus / "mnist" / "mnist.npz")) as arrays:
        images = arrays["x_test"][:12, None]
    with Runner(corpus / f"{_LSTM}{suffix}", device) as runner:
        forth = [runner.invoke(image)[0] for image in images]
        back = [runner.invoke(image)[0] for image in images[::-1]][::-1]
        stream = [runner.invoke(image, keep_state=True)[0] for image in images]
    np.testing.assert_array_equal(forth, back)
    assert not np.array_equal(forth, stream)
