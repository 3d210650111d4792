# SPDX-License-Identifier: Apache-2.0
"""`convert` improves a network before quantization, and says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.formats.tflite import write_model
from edgekit.host.convert import convert
from tests.host.convert.improve.float_graph import FloatGraph

pytestmark = pytest.mark.host
SHAPE = (1, 8, 8, 4)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float network whose depthwise channels differ 1,000 times, and its samples."""
    g = FloatGraph(SHAPE, 1)
    x = g.depthwise(g.input)
    for index in g.operators[-1].inputs[1:]:
        g.scale(index, np.array([100, 1, 0.3, 0.1]))
    y = g.conv(g.simple("RELU", x), 3)
    g.scale(g.operators[-1].inputs[1], np.array([0.01, 1, 3, 10]))
    folder = tmp_path_factory.mktemp("uneven")
    (folder / "float.tflite").write_bytes(write_model(g.model(y)))
    np.savez(folder / "samples.npz", x=g.random.normal(size=(200, *SHAPE[1:])).astype(np.float32))
    return folder


def test_uneven_channels_are_equalized(uneven: Path, tmp_path: Path) -> None:
    source, data = uneven / "float.tflite", uneven / "samples.npz"
    made = convert(source, data=data, num_samples=50, output=tmp_path / "a.tflite")
    assert [each.name for each in made.improvements] == ["equalize"]
    (only,) = made.improvements
    assert only.float_snr_db is not None
    assert only.float_snr_db > 100
    again = convert(source, data=data, num_samples=50, output=tmp_path / "b.tflite")
    assert again.sha256 == made.sha256
    plain = convert(source, data=data, num_samples=50, output=tmp_path / "c.tflite", plain=True)
    assert plain.improvements == ()
    assert plain.asked == {"--plain": ""}
    assert made.agreement is not None
    assert plain.agreement is not None
    better, worse = made.agreement.snr_db[0], plain.agreement.snr_db[0]
    assert better is not None
    assert worse is not None
    assert better > worse + 10
