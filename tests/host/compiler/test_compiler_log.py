# SPDX-License-Identifier: Apache-2.0
"""Logs of every compiler version are parsed line by line, or refused with the line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.host.compiler.log import CompilerLogError, parse_compiler_log

_ROWS = """
Operator                       Count      Status

CONV_2D                        62         Mapped to Edge TPU
TRANSPOSE                      1          Operation is otherwise supported, but not mapped due to some unspecified limitation
TRANSPOSE                      2          Mapped to Edge TPU
"""  # noqa: E501 - as printed
_BLOCK = """
Model compiled successfully in 3173 ms.

Input model: a b/net.tflite
Input size: 961.05KiB
Output model: out/net_edgetpu.tflite
Output size: 8.34MiB
On-chip memory used for caching model parameters: 6.08MiB
On-chip memory remaining for caching model parameters: 0.00B
Off-chip memory used for streaming uncached model parameters: 1.70MiB
Number of Edge TPU subgraphs: 2
Total number of operations: 65
Operation log: out/net_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU. A percentage
"""
_NUMBERS = """Number of operations that will run on Edge TPU: 64
Number of operations that will run on CPU: 1
"""
_STDOUT = (
    "Edge TPU Compiler version 16.0.384591198\n"
    "Started a compilation timeout timer of 180 seconds.\n"
    + _BLOCK
    + _NUMBERS
    + _ROWS
    + "Compilation child process completed within timeout period.\nCompilation succeeded! \n"
)


def test_every_number_of_a_printed_report_is_read() -> None:
    report = parse_compiler_log(_STDOUT)
    (model,) = report.models
    assert report.version == "16.0.384591198"
    assert report.time_ms == 3173
    assert not report.failures
    assert model.input == "a b/net.tflite"
    assert model.output == "out/net_edgetpu.tflite"
    assert model.input_bytes == round(961.05 * 1024)
    assert model.on_chip_bytes == round(6.08 * 1024**2)
    assert model.on_chip_remaining_bytes == 0
    assert model.streamed_bytes == round(1.70 * 1024**2)
    assert (model.num_subgraphs, model.num_operators, model.num_mapped) == (2, 65, 64)
    assert [(row.opcode, row.count, row.mapped) for row in model.operators] == [
        ("CONV_2D", 62, True),
        ("TRANSPOSE", 1, False),
        ("TRANSPOSE", 2, True),
    ]


def test_values_missing_in_a_log_are_none_and_not_zero() -> None:
    log = f"Edge TPU Compiler version 1.0.249710469\nInput: a.tflite\nOutput: b.tflite\n{_ROWS}"
    (model,) = parse_compiler_log(log).models
    assert (model.num_mapped, model.num_operators) == (64, 65)
    assert model.on_chip_bytes is None
    assert model.streamed_bytes is None
    assert model.num_subgraphs is None


def test_without_a_table_all_operations_are_mapped_unless_the_log_states_otherwise() -> None:
    start = _BLOCK[: _BLOCK.index("Model successfully")]
    end = "See the operation log file for individual operation details.\n"
    (model,) = parse_compiler_log(start + end).models
    assert (model.num_mapped, model.num_operators) == (65, 65)


def test_a_truncated_report_does_not_state_that_all_is_mapped() -> None:
    (model,) = parse_compiler_log(_BLOCK).models
    assert model.num_mapped is None
    (model,) = parse_compiler_log(_BLOCK[: _BLOCK.index("Operation log")]).models
    assert model.num_mapped is None


@pytest.mark.parametrize(
    "line",
    [
        "Edge TPU Compiler revision 17",
        "Number of Edge TPU subgraphs: many",
        "On-chip memory used for caching model parameters: 6.08 megabytes",
        "Total number of operations: 1,000",
        "Model compiled well.",
        "the kettle boils",
    ],
)
def test_an_unknown_line_is_an_error_that_shows_it(line: str) -> None:
    with pytest.raises(CompilerLogError) as raised:
        parse_compiler_log(f"{_BLOCK}{line}\n", "a.log")
    assert line in raised.value.what
    assert f"line {len(_BLOCK.splitlines()) + 1} " in raised.value.what
    assert raised.value.where == "a.log"
    assert raised.value.exit_status == 5


def test_an_unknown_status_is_an_error_that_shows_it() -> None:
    with pytest.raises(CompilerLogError, match="Operation dislikes Mondays"):
        parse_compiler_log(_ROWS + "CONV_2D   1   Operation dislikes Mondays\n")


def test_a_row_without_a_status_is_an_error() -> None:
    with pytest.raises(CompilerLogError, match="CONV_2D"):
        parse_compiler_log(_ROWS + "CONV_2D                        1\n")


def test_numbers_that_contradict_each_other_are_an_error() -> None:
    with pytest.raises(CompilerLogError, match="will run on CPU: 7"):
        parse_compiler_log(_BLOCK + _NUMBERS.replace("CPU: 1", "CPU: 7"))


def test_an_empty_log_is_an_error() -> None:
    with pytest.raises(CompilerLogError, match="empty"):
        parse_compiler_log("")


def test_a_successful_search_removes_the_failures_before_it() -> None:
    failed = (
        "Edge TPU Compiler version 16.0.384591198\nSearching for valid delegate with step 10\n"
        "Try to compile segment with 322 ops\nStarted a compilation timeout timer of 180 seconds.\n"
        "ERROR: Restored original execution plan after delegate application failure.\n"
        "Compilation failed: Compilation failed due to large activation tensors in model.\n"
        "Compilation child process completed within timeout period.\nCompilation failed! \n"
    )
    again = "Try to compile segment with 312 ops\nIntermediate tensors: a,b;c\n"
    report = parse_compiler_log(failed + again)
    assert report.attempts == (322, 312)
    assert not report.failures
    assert parse_compiler_log(failed).failures[-1] == "Compilation failed!"
    assert parse_compiler_log(failed + again + _BLOCK).models[0].num_subgraphs == 2


def test_segments_and_models_compiled_together_have_a_report_each() -> None:
    models = parse_compiler_log(_STDOUT + _BLOCK + _NUMBERS + _ROWS).models
    assert [model.num_mapped for model in models] == [64, 64]


def test_line_ends_of_windows_are_accepted() -> None:
    assert parse_compiler_log(_STDOUT.replace("\n", "\r\n")) == parse_compiler_log(_STDOUT)


@given(st.integers(0, len(_STDOUT)))
def test_a_log_truncated_anywhere_never_gains_a_number(end: int) -> None:
    whole = parse_compiler_log(_STDOUT).models[0]
    try:
        cut = parse_compiler_log(_STDOUT[:end])
    except CompilerLogError:
        return
    for model in cut.models:
        assert model.num_mapped in {None, 64, 6, sum(r.count for r in model.operators if r.mapped)}
        assert model.num_subgraphs in {None, whole.num_subgraphs}
        assert len(model.operators) <= len(whole.operators)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(CompilerLogError):
        parse_compiler_log(text)


@pytest.mark.corpus
def test_every_recorded_log_is_parsed(corpus: Path) -> None:
    logs = [*corpus.glob("compiled/*/*.log"), *(corpus.parent / "reference" / "logs").glob("*.log")]
    versions = set()
    for log in logs:
        report = parse_compiler_log(log.read_text(), log.name)
        versions.add(".".join(report.version.split(".")[:2]))
        assert report.models or report.failures, log.name
        assert bool(report.failures) == any(
            word in log.name for word in ("_fail", "_d_search", "_n2_")
        ), log.name
        for model in report.models:
            assert model.num_operators, log.name
            assert model.num_mapped is not None, log.name
            if "truncated" not in log.name and model.operators:
                assert sum(row.count for row in model.operators) == model.num_operators, log.name
    assert len(logs) >= 45
    assert versions >= {"1.0", "2.0", "2.1", "14.1", "15.0", "16.0"}
