# SPDX-License-Identifier: Apache-2.0
"""A list of segments is one Runner: one after the other, or as a pipeline of threads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Iterator

import numpy as np
import pytest

from edgekit.errors import DataError, UnsupportedModelError, UsageError
from edgekit.evaluate import benchmark
from edgekit.formats.tflite import Model, write_model
from edgekit.rewrite.segments import segment_models
from edgekit.runtime import Runner
from edgekit.runtime.devices import device_of


def _segments(model: Model, *ends: int) -> list[bytes]:
    number = len(model.main.operators)
    pairs = zip((0, *ends), (*ends, number))
    return [write_model(each) for each in segment_models(model, [range(a, b) for a, b in pairs])]


def _inputs(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 256, (count, 1, 8, 8, 1), dtype=np.uint8))


@pytest.mark.parametrize("ends", [(2,), (1, 3, 4)])
def test_segments_give_the_outputs_of_the_whole(int8_model: Model, ends: tuple[int, ...]) -> None:
    inputs = _inputs(40)
    with Runner(write_model(int8_model)) as whole, Runner(_segments(int8_model, *ends)) as parts:
        assert [each.name for each in parts.outputs] == [each.name for each in whole.outputs]
        expected = [whole.invoke(each)[0] for each in inputs]
        assert all(map(np.array_equal, [parts.invoke(each)[0] for each in inputs], expected))
        streamed = [outputs[0] for outputs in parts.stream((each,) for each in inputs)]
        assert all(map(np.array_equal, streamed, expected))
        assert len(streamed) == len(expected)
        single = [outputs[0] for outputs in whole.stream((each,) for each in inputs)]
        assert all(map(np.array_equal, single, expected))


def test_an_early_end_and_errors_leave_no_thread_behind(int8_model: Model) -> None:
    def failing() -> Iterator[tuple[np.ndarray]]:
        for each in _inputs(3):
            yield (each,)
        raise ValueError("no more")

    before = threading.active_count()
    with Runner(_segments(int8_model, 2)) as parts:
        stream = parts.stream((each,) for each in _inputs(50))
        next(stream)
        stream.close()  # type: ignore[attr-defined] # a generator
        with pytest.raises(ValueError, match="no more"):
            list(parts.stream(failing()))
        with pytest.raises(DataError, match="float32 of shape"):
            list(parts.stream([(np.zeros((1, 8, 8, 1), np.float32),)]))
        assert len(list(parts.stream((each,) for each in _inputs(2)))) == 2
    assert threading.active_count() <= before + 1  # a feeder may still end


def test_segments_in_a_wrong_order_are_refused(int8_model: Model) -> None:
    with pytest.raises(UnsupportedModelError, match="which no segment before it"):
        Runner(_segments(int8_model, 2)[::-1])
    with pytest.raises(UsageError, match="empty"):
        Runner([])


def test_each_segment_has_its_own_edge_tpu() -> None:
    words = [[device_of(d, i, is_compiled=True) for i in (0, 1)] for d in ("usb", ":1", "pci:2")]
    assert words == [["usb:0", "usb:1"], [":1", ":2"], ["pci:2", "pci:3"]]
    assert device_of("usb", 1, is_compiled=False) == "usb"
    assert device_of("cpu", 1, is_compiled=False) == "cpu"


def test_a_benchmark_of_segments_measures_the_pipeline(int8_model: Model, tmp_path: Path) -> None:
    paths = []
    for index, content in enumerate(_segments(int8_model, 2)):
        paths.append(tmp_path / f"m_segment_{index}_of_2.tflite")
        paths[-1].write_bytes(content)
    result = benchmark(paths, num_runs=30)
    assert result.pipeline is not None
    assert (result.pipeline.runs, len(result.pipeline.segments)) == (30, 2)
    assert result.pipeline.throughput_hz > 0
    assert all(0 < each.busy <= 1 for each in result.pipeline.segments)
    assert result.device == "cpu, cpu"
    assert benchmark(paths[0], num_runs=2).pipeline is None
