# SPDX-License-Identifier: Apache-2.0
"""The numbers of a benchmark are consistent; the tests do not assert its speed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.evaluate import benchmark
from edgekit.evaluate.benchmark import MAX_TIMES
from edgekit.runtime import RunnerOptions, latency_stats


def test_the_parts_of_a_benchmark_are_separate_and_in_order(int8_path: Path) -> None:
    result = benchmark(int8_path, num_runs=20, warmup_runs=2)
    latency = result.latency_ms
    ordered = [latency[name] for name in ("min", "p50", "p90", "p99")]
    assert ordered == sorted(ordered)
    assert ordered[0] > 0
    assert result.load_ms > 0
    assert result.first_ms > 0
    assert (result.runs, result.warmup_runs) == (20, 2)
    assert result.throughput_hz == pytest.approx(1e3 / latency["mean"])
    assert result.to_dict()["schema"] == "edgekit.benchmark/2"


def test_single_times_are_kept_in_order_up_to_a_thousand(int8_path: Path) -> None:
    few = benchmark(int8_path, num_runs=30)
    assert len(few.times_ms) == 30
    assert min(few.times_ms) == pytest.approx(few.latency_ms["min"], abs=1e-6)
    assert len(benchmark(int8_path, num_runs=2500).times_ms) == MAX_TIMES


@pytest.mark.parametrize("option", [{"num_runs": 0}, {"warmup_runs": -1}])
def test_invalid_counts_are_refused(int8_path: Path, option: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="expected at least"):
        benchmark(int8_path, **option)  # type: ignore[arg-type] # one of two names


@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=50))
def test_statistics_are_numpys_in_milliseconds(times_s: list[float]) -> None:
    stats = latency_stats(times_s)
    assert stats["mean"] == pytest.approx(np.mean(times_s) * 1e3)
    assert stats["p90"] == pytest.approx(np.percentile(times_s, 90) * 1e3)
    assert stats["std"] == pytest.approx(np.std(times_s) * 1e3, abs=1e-9)
    assert stats["min"] == pytest.approx(min(times_s) * 1e3)


def test_the_environment_is_one_value_and_also_where_older_documents_have_it(
    int8_path: Path,
) -> None:
    result = benchmark(int8_path, options=RunnerOptions(kernels="reference"), num_runs=1)
    document = result.to_dict()
    assert (
        document["environment"]["kernels"] == document["kernels"] == result.kernels == "reference"
    )
    assert set(document["environment"]) <= set(document)


def test_options_and_keywords_together_are_refused(int8_path: Path) -> None:
    with pytest.raises(UsageError, match="kernels is given together with options"):
        benchmark(int8_path, kernels="reference", options=RunnerOptions())
