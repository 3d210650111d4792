# SPDX-License-Identifier: Apache-2.0
"""The pixels for which a network was made, derived from its first operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekit.data import parse_preprocess
from edgekit.data.network_start import (
    Step,
    Wanted,
    affine,
    contradiction,
    first_steps,
    layer_name,
    may_be_pixels,
    steps_from,
    wanted_by,
    wanted_pixels,
)
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, read_model


def _steps(*operations: tuple[str, Any]) -> list[Step]:
    """Each a (opcode, constant) on the input, as the left operand."""
    steps = [
        affine(f"net/pre/{opcode.lower()}", opcode, np.asarray(value, float), comes_first=True)
        for opcode, value in operations
    ]
    assert None not in steps
    return [step for step in steps if step]


_IMAGENET = ("SUB", [0.485, 0.456, 0.406]), ("DIV", [0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    ("operations", "scale"),
    [
        ([("MUL", 1 / 255)], "raw"),
        ([("DIV", 127.5), ("SUB", 1.0)], "raw"),
        ([("SUB", 128), ("MUL", 1 / 128)], "raw"),
        ([("DIV", 255), *_IMAGENET], "raw"),
        ([("SUB", [103.939, 116.779, 123.68])], "raw"),
        ([("SUB", [123.7, 116.3, 103.5]), ("DIV", [58.4, 57.1, 57.4])], "raw"),
        ([("SUB", 33.3), ("DIV", 78.6)], "raw"),  # MNIST's pixels, adapted to
        ([*_IMAGENET], "unit"),
        ([("MUL", 2), ("SUB", 1)], "unit"),
        ([("ADD", 1), ("MUL", 127.5)], "tf"),
        ([("MUL", 0.5), ("ADD", 0.5)], "tf"),
    ],
)
def test_constants_show_the_unit_of_the_pixels(
    operations: list[tuple[str, Any]], scale: str
) -> None:
    wanted = wanted_pixels(_steps(*operations))
    assert wanted is not None
    assert wanted.scale == scale
    assert "`pre`" in wanted.reason


@pytest.mark.parametrize(
    "operations",
    [
        [],
        [("MUL", [1.7, -0.4, 2.2]), ("ADD", [0.3, -0.2, 0.1])],  # normalization of features
        [("MUL", [4.1, 3.9, 4.4]), ("ADD", [0.1, 4.0, -3.0])],
        [("MUL", 0.99950039), ("ADD", 0)],  # batch normalization that was not trained
        [("ADD", 0.1)],
        [("MUL", [0.004, 3.0, 0.004])],
    ],
)
def test_other_constants_are_not_used(operations: list[tuple[str, Any]]) -> None:
    assert wanted_pixels(_steps(*operations)) is None


def test_batch_normalization_shows_what_it_was_trained_on() -> None:
    for mean, std, scale in (([120.0], [60.0], "raw"), ([0.45], [0.25], "unit")):
        wanted = wanted_pixels([Step("net/bn/bn", (0.7,), (0.2,), tuple(mean), tuple(std))])
        assert wanted is not None
        assert wanted.scale == scale
    assert wanted_pixels([Step("net/bn/bn", (0.7,), (0.2,), (0.0,), (1.0,))]) is None


def test_the_reason_names_the_layer_and_both_ranges() -> None:
    steps = _steps(("MUL", 1 / 127.5), ("ADD", -1))
    wanted = wanted_pixels(steps)
    assert wanted == Wanted("raw", "the network's first layer `pre` turns 0..255 into -1..1")


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("sequential_1/rescaling_1/mul", "rescaling"),
        ("model/rescaling/mul;model/rescaling/add", "rescaling"),
        ("functional_3_1/truediv", "truediv"),
        ("truediv:0", "truediv"),
    ],
)
def test_a_layer_has_its_name_from_keras(name: str, layer: str) -> None:
    assert layer_name(name) == layer


@pytest.mark.parametrize("asked", ["unit", "tf", "mean=123.7,std=58"])
def test_scaling_twice_is_a_contradiction(asked: str) -> None:
    wanted = Wanted("raw", "because")
    assert "use --preprocess raw" in contradiction(wanted, parse_preprocess(asked))
    assert contradiction(wanted, parse_preprocess("raw")) == ""


def test_values_that_are_not_pixels_are_detected() -> None:
    wanted = Wanted("raw", "because")
    assert "give samples of 0..255" in wanted.misses((0.0, 1.0))
    assert wanted.misses((0.0, 255.0)) == ""
    assert "give samples of 0..1" in Wanted("unit", "because").misses((0.0, 255.0))


@pytest.mark.parametrize(
    ("shape", "may"),
    [
        ((1, 224, 224, 3), True),
        ((1, 3, 224, 224), True),
        ((1, 28, 28), True),
        ((1, 784), True),
        ((1, 4), False),
        ((1, 48, 1), False),
        ((1, 14, 14, 512), False),
        ((1,), False),
    ],
)
def test_series_and_features_are_not_pixels(shape: tuple[int, ...], may: bool) -> None:
    assert may_be_pixels(shape) is may


def test_a_mean_of_each_feature_is_not_a_mean_image() -> None:
    means = np.linspace(20, 90, 12)
    assert affine("m/norm/sub", "SUB", means.reshape(1, 12), comes_first=True) is None
    step = affine("m/norm/sub", "SUB", means.reshape(1, 2, 2, 3), comes_first=True)
    assert step is not None
    assert step.offset == pytest.approx((-55.0,))


_LARGE = ("efficientnet", "mobilenet_v3")  # too slow to convert here


def _networks() -> dict[str, Any]:
    import keras  # noqa: PLC0415

    layers, applications = keras.layers, keras.applications

    def image(*front: Any) -> Any:  # noqa: ANN401
        tail = [layers.Conv2D(4, 3, padding="same"), layers.GlobalAveragePooling2D()]
        return keras.Sequential([keras.Input((32, 32, 3)), *front, *tail])

    def functional(front: Any) -> Any:  # noqa: ANN401
        inputs = keras.Input((32, 32, 3))
        return keras.Model(inputs, layers.Conv2D(4, 3, padding="same")(front(inputs)))

    def ensemble(front: Any) -> Any:  # noqa: ANN401
        inputs = keras.Input((32, 32, 3))
        parts = [layers.Conv2D(4, 3, padding="same")(front(inputs)) for _ in range(2)]
        return keras.Model(inputs, layers.Concatenate()(parts))

    augmentation = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])
    return {
        "nothing": image(),
        "features": image(layers.BatchNormalization()),
        "augmentation": image(augmentation, layers.RandomZoom(0.1), layers.Rescaling(1 / 255)),
        "nested": image(keras.Sequential([layers.Resizing(32, 32), layers.Rescaling(1 / 255)])),
        "normalization": image(layers.Normalization(mean=[120] * 3, variance=[3600] * 3)),
        "arithmetic": functional(lambda x: x / 127.5 - 1),
        "caffe": functional(applications.resnet.preprocess_input),
        "torch": functional(applications.densenet.preprocess_input),
        "clipped": functional(lambda x: keras.ops.clip(x, 0, 255) / 127.5 - 1),
        "ensemble": ensemble(lambda x: x / 127.5 - 1),
        "folded ensemble": ensemble(lambda x: x / 255),
        "depthwise": image(layers.Rescaling(1 / 255), layers.DepthwiseConv2D(3)),
        "efficientnet": applications.EfficientNetB0(weights=None, input_shape=(32, 32, 3)),
        "mobilenet_v3": applications.MobileNetV3Small(weights=None, input_shape=(32, 32, 3)),
    }


@pytest.mark.host
@pytest.mark.slow
def test_networks_of_keras_show_their_pixels_in_both_forms() -> None:
    import tensorflow as tf  # noqa: PLC0415

    from edgekit.host.worker.freeze import freeze  # noqa: PLC0415
    from edgekit.host.worker.network_start import first_steps as steps_of_function  # noqa: PLC0415

    told, shown = {}, {}
    for name, network in _networks().items():
        spec = tf.TensorSpec((1, 32, 32, 3))
        called = tf.function(lambda x, net=network: net(x, training=False))
        frozen, _ = freeze(called.get_concrete_function(spec))
        told[name] = wanted_pixels(steps_from(steps_of_function(frozen)[0]))
        if name in _LARGE:
            continue
        content = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
        shown[name] = wanted_by(read_model(content))
    assert {name for name, wanted in told.items() if wanted is None} == {"nothing", "features"}
    assert {wanted.scale for wanted in told.values() if wanted} == {"raw"}
    # The size of the weights shows what was folded into them.
    assert {name for name, wanted in shown.items() if wanted is None} == {"nothing", "features"}
    assert {wanted.scale for wanted in shown.values() if wanted} == {"raw"}


def test_an_unused_part_of_a_split_is_not_a_reordering() -> None:
    """Two parts are joined, a third is not read: no step is found, and nothing fails."""
    shapes = ((1, 4, 4, 3), *[(1, 4, 4, 1)] * 3, (1, 4, 4, 2))
    tensors = tuple(Tensor(f"t{i}", shape, "FLOAT32", 0, None) for i, shape in enumerate(shapes))
    split = Operator("SPLIT", 1, (0,), (1, 2, 3))
    operators = (split, Operator("CONCATENATION", 1, (2, 1), (4,)))
    graph = Subgraph(tensors, (0,), (4,), operators, "main")
    assert first_steps(Model((graph,), (np.empty(0, np.uint8),), "made by hand")) == ()
