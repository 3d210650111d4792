# SPDX-License-Identifier: Apache-2.0
"""`convert` improves a network before quantization, and says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import UsageError
from edgekit.formats.tflite import write_model
from edgekit.host.convert import convert
from tests.host.convert.improve.float_graph import FloatGraph

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]
SHAPE = (1, 8, 8, 4)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float network whose depthwise channels differ 1,000 times, and its samples.

    It has scores from -700 to 3 (with a constant addend), and a dense layer with large weights in
    one row.
    """
    g = FloatGraph(SHAPE, 1)
    x = g.depthwise(g.input)
    for index in g.operators[-1].inputs[1:]:
        g.scale(index, np.array([100, 1, 0.3, 0.1]))
    features = g.conv(g.simple("RELU", x), 16)
    g.scale(g.operators[-1].inputs[1], np.array([0.01, 1, 3, 10]))
    scores = g.conv(features, 10)
    g.scale(g.operators[-1].inputs[1], np.full(16, 40))
    g.scale(g.operators[-1].inputs[2], np.zeros(10))
    offset = g.constant(np.full(10, -250.0))
    seldom = g.conv(features, 4, 1, "RELU")  # its first channel is always 0
    g.scale(g.operators[-1].inputs[1], np.full(16, 0.1))
    g.set(g.operators[-1].inputs[2], [-1000, 0.1, 0.1, 0.1])
    numbers = g.dense(seldom, 8)
    factors = np.ones((8, 8 * 8, 4))
    factors[0, :, 0] = 200
    g.scale(g.operators[-1].inputs[1], factors.reshape(8, -1))
    model = g.model(g.arithmetic("ADD", scores, offset), numbers)
    folder = tmp_path_factory.mktemp("uneven")
    (folder / "float.tflite").write_bytes(write_model(model))
    np.savez(folder / "samples.npz", x=g.random.normal(size=(200, *SHAPE[1:])).astype(np.float32))
    return folder


def test_a_network_is_improved_unless_plain_is_given(uneven: Path, tmp_path: Path) -> None:
    source, data = uneven / "float.tflite", uneven / "samples.npz"
    made = convert(source, data=data, num_samples=50, output=tmp_path / "a.tflite")
    again = convert(source, data=data, num_samples=50, output=tmp_path / "b.tflite")
    plain = convert(source, data=data, num_samples=50, output=tmp_path / "c.tflite", plain=True)
    assert [each.name for each in made.improvements] == ["fold", "equalize", "dense"]
    for each in made.improvements:
        assert each.exact
        assert each.float_snr_db is None or each.float_snr_db > 100
    assert again.sha256 == made.sha256
    assert plain.improvements == ()
    assert plain.asked == {"--plain": ""}
    assert made.agreement is not None
    assert plain.agreement is not None
    for better, worse in zip(made.agreement.snr_db, plain.agreement.snr_db, strict=True):
        assert better is not None
        assert worse is not None
        assert better > worse + 3


def test_logits_are_limited_on_request(uneven: Path, tmp_path: Path) -> None:
    made = convert(
        uneven / "float.tflite",
        data=uneven / "samples.npz",
        num_samples=50,
        output=tmp_path / "a.tflite",
        plain=True,
        clip_logits=True,
        ranges="percentile:99.99",
    )
    assert [each.name for each in made.improvements] == ["clip_logits", "ranges"]
    assert not any(each.exact for each in made.improvements)
    assert made.asked == {"--plain": "", "--clip-logits": "", "--ranges": "percentile:99.99"}
    scores = made.outputs[0]
    assert scores.scale is not None
    assert scores.scale <= 32 / 255
    assert made.agreement is not None
    first = made.agreement.outputs[0].record
    assert first.reference_range[0] == -16


def test_boxes_and_scores_get_outputs_of_their_own(tmp_path: Path) -> None:
    g = FloatGraph(SHAPE, 2)
    boxes = g.conv(g.input, 4)
    g.scale(g.operators[-1].inputs[1], np.full(4, 640))
    scores = g.simple("LOGISTIC", g.conv(g.input, 3))
    path = tmp_path / "float.tflite"
    path.write_bytes(write_model(g.model(g.concat(boxes, scores))))
    data = g.random.normal(size=(150, *SHAPE[1:])).astype(np.float32)
    made = convert(path, data=data, output=tmp_path / "a.tflite")
    plain = convert(path, data=data, output=tmp_path / "b.tflite", plain=True)
    kept = convert(path, data=data, output=tmp_path / "c.tflite", fix=False)
    assert [each.shape for each in plain.outputs] == [(1, 8, 8, 7)]
    assert [each.shape for each in kept.outputs] == [(1, 8, 8, 7)]  # as the quantizer made it
    assert [each.shape for each in made.outputs] == [(1, 8, 8, 4), (1, 8, 8, 3)]
    assert made.outputs[1].scale == pytest.approx(1 / 256)
    assert [each.name for each in made.improvements] == ["outputs"]
    assert made.agreement is not None
    assert made.agreement.verdict == "not shown"


def test_a_batch_normalization_of_constants_is_folded(tmp_path: Path) -> None:
    g = FloatGraph(SHAPE, 2)
    y = g.arithmetic("MUL", g.conv(g.input, 4), g.weights(4))
    path = tmp_path / "float.tflite"
    path.write_bytes(write_model(g.model(g.arithmetic("ADD", y, g.weights(4)))))
    data = g.random.normal(size=(150, *SHAPE[1:])).astype(np.float32)
    made = convert(path, data=data, output=tmp_path / "a.tflite")
    assert [each.name for each in made.improvements] == ["fold"]
    assert made.operators == {"QUANTIZE": 2, "CONV_2D": 1}


def test_tensors_that_are_always_zero_leave_the_others_as_they_are(tmp_path: Path) -> None:
    """Their range has no width: TensorFlow's quantizer gives them a scale all the same."""
    g = FloatGraph(SHAPE, 1)
    active = g.conv(g.input, 6, 1, "RELU")
    dead = g.conv(g.input, 6, 1, "RELU")
    g.set(g.operators[-1].inputs[2], [-1000] * 6)
    outputs = [
        g.conv(g.arithmetic("ADD", active, dead), 3),
        g.conv(dead, 3),
        g.conv(g.arithmetic("MUL", active, dead), 3),
    ]
    path = tmp_path / "float.tflite"
    path.write_bytes(write_model(g.model(*outputs)))
    data = g.random.normal(size=(60, *SHAPE[1:])).astype(np.float32)
    made = convert(path, data=data, output=tmp_path / "a.tflite")
    assert made.agreement is not None
    assert [each.verdict for each in made.agreement.outputs] == ["good"] * 3


def test_options_without_effect_are_refused(uneven: Path, tmp_path: Path) -> None:
    for option in ({"plain": True}, {"clip_logits": True}, {"ranges": "mse"}):
        with pytest.raises(UsageError, match="has no effect in --mode float-fallback"):
            convert(
                uneven / "float.tflite",
                data=uneven / "samples.npz",
                output=tmp_path / "a.tflite",
                mode="float-fallback",
                **option,
            )
