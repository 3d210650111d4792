# SPDX-License-Identifier: Apache-2.0
"""`explain` on texts, logs and codes; unknown lines are listed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import InputError
from edgekit.explain import (
    CODES,
    KNOWN_TEXTS,
    STATUSES,
    KnownText,
    compiler_cause,
    explain,
    explain_text,
    may_be_random,
)

_OP_VERSION = (
    "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'. An older version of this "
    "builtin might be supported.\n\nERROR: Registration failed.\n\n"
    "Invalid model: m.tflite\nModel could not be parsed\n"
)


_SEARCH = """Edge TPU Compiler version 16.0.384591198
Searching for valid delegate with step 1
Try to compile segment with 21 ops
Started a compilation timeout timer of 180 seconds.
Compilation child process completed within timeout period.
Compilation failed!\x20
Try to compile segment with 20 ops
Intermediate tensors: net/head/concat
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 912 ms.

Input model: net.tflite
On-chip memory used for caching model parameters: 3.86MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 3
Total number of operations: 21

Number of operations that will run on Edge TPU: 18
Number of operations that will run on CPU: 3

Operator                       Count      Status

PAD                            5          Mapped to Edge TPU
CONCATENATION                  2          More than one subgraph is not supported
ADD                            1          More than one subgraph is not supported
CONV_2D                        13         Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!\x20
"""


@pytest.mark.parametrize("known", KNOWN_TEXTS, ids=lambda known: known.code)
def test_each_known_text_is_recognized_only_as_itself(known: KnownText) -> None:
    result = explain_text(known.example)
    assert [each.code for each in result.matches] == [known.code]
    assert not result.unknown


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_a_title_a_cause_and_a_fix(code: str) -> None:
    (match,) = explain(code).matches
    assert match.code == code
    assert match.title
    assert match.cause
    assert match.fix
    assert "{" not in match.cause + match.fix


def test_a_large_log_of_short_lines_names_each_unknown_line_once() -> None:
    text = "ab\nerror 7\n" * 300_000 + "Operation not supported\n"
    result = explain_text(text)
    assert [match.code for match in result.matches] == ["status.not_supported"]
    assert result.unknown == ("error 7",)


def test_numbers_of_the_text_are_in_its_explanation() -> None:
    (match,) = explain_text(_OP_VERSION).matches
    assert match.code == "compiler.op_version"
    assert match.cause.startswith("CONV_2D has version 6")
    assert "'CONV_2D' version '6'" in match.text


def test_consequences_of_a_cause_are_not_listed_next_to_it() -> None:
    assert compiler_cause(_OP_VERSION) == explain_text(_OP_VERSION).matches[0]
    alone = explain_text("Invalid model: m.tflite\nModel could not be parsed\n")
    assert [each.code for each in alone.matches] == ["compiler.not_parsed"]


def test_an_operator_number_becomes_its_name() -> None:
    (match,) = explain_text("ERROR: Op builtin_code out of range: 150. Are you").matches
    assert "GELU" in match.cause


def test_the_runtime_version_to_compile_for_is_in_the_fix() -> None:
    text = (
        "Failed precondition: Package requires runtime version (14), which is newer than this "
        "runtime version (12).Node number 0 (edgetpu-custom-op) failed to prepare."
    )
    (match,) = explain_text(text).matches
    assert "--min-runtime-version 12" in match.fix


def test_rows_of_one_status_are_one_explanation() -> None:
    status = "Operation not supported"
    rows = [f"{name:31}{2:<11}{status}" for name in ("ELU", "EXP", "GATHER", "CAST", "TILE", "DIV")]
    (match,) = explain_text("\n".join(rows)).matches
    assert match.code == "status.not_supported"
    assert match.text.splitlines()[0].startswith("ELU")
    assert match.text.splitlines()[-1] == "and 1 more lines"


def test_a_status_without_an_explanation_is_unknown() -> None:
    row = f"{'CONV_2D':31}{1:<11}Operation dislikes Mondays"
    result = explain_text(f"{row}\n{'ADD':31}{1:<11}Mapped to Edge TPU\n")
    assert not result.matches
    assert result.unknown == (" ".join(row.split(" ")),)


def test_an_unknown_text_is_reported_as_unknown() -> None:
    result = explain_text("the kettle boils")
    assert not result.recognized
    assert result.unknown == ("the kettle boils",)


def test_unknown_failures_next_to_known_ones_are_listed() -> None:
    result = explain_text("Model not quantized\nERROR: the moon is full\n")
    assert [each.code for each in result.matches] == ["compiler.not_quantized"]
    assert result.unknown == ("ERROR: the moon is full",)


def test_windows_line_ends_are_read() -> None:
    result = explain_text("Invalid model: m.tflite\r\nModel not quantized\r\n")
    assert [each.code for each in result.matches] == ["compiler.not_quantized"]


def test_a_file_is_read_and_a_binary_one_refused(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("Internal compiler error. Aborting! \n")
    assert explain(str(log)).matches[0].code == "compiler.abort"
    log.write_bytes("Model not quantized\n".encode("utf-16"))
    assert explain(str(log)).matches[0].code == "compiler.not_quantized"
    model = tmp_path / "m.tflite"
    model.write_bytes(b"\x1c\0\0\0TFL3")
    with pytest.raises(InputError, match="not a text"):
        explain(str(model))
    with pytest.raises(InputError, match="folder"):
        explain(str(tmp_path))


def test_an_unknown_word_is_bad_input_with_a_suggestion() -> None:
    with pytest.raises(InputError) as raised:
        explain("compiler.op_versoin")
    assert "compiler.op_version" in raised.value.fix
    with pytest.raises(InputError, match="not a code, a file"):
        explain("missing.log")
    with pytest.raises(InputError, match="nothing to explain"):
        explain(" \n")


def test_only_crashes_without_a_reason_count_as_random() -> None:
    assert may_be_random("Internal compiler error. Aborting! ")
    certain = "terminating with uncaught exception of type std::out_of_range: vector\n"
    assert not may_be_random(certain + "\nInternal compiler error. Aborting!")
    assert not may_be_random(_OP_VERSION)


def test_a_search_that_ends_well_is_not_a_failure() -> None:
    result = explain_text(_SEARCH)
    assert [each.code for each in result.matches] == ["compiler.result", "status.one_subgraph"]
    summary = result.matches[0]
    assert summary.title == "Compiled: 18 of 21 operations map to the Edge TPU"
    assert "3 separate parts" in summary.cause
    assert "16.0" in summary.cause
    assert "The search ended" in summary.fix
    assert compiler_cause(_SEARCH) is None
    assert not may_be_random(_SEARCH)


def test_a_search_that_ends_with_a_failure_is_one() -> None:
    end = _SEARCH.index("\nModel compiled successfully")
    text = _SEARCH[:end] + "Compilation child process completed within timeout period.\n"
    (match,) = explain_text(text + "Compilation failed! \n").matches
    assert match.code == "compiler.silent"


def test_few_mapped_operators_are_not_called_a_good_compilation() -> None:
    text = (
        "Edge TPU Compiler version 16.0.384591198\n\nModel compiled successfully in 900 ms.\n\n"
        "Input model: m.tflite\nOn-chip memory used for caching model parameters: 6.00MiB\n"
        "Off-chip memory used for streaming uncached model parameters: 10.00MiB\n"
        "Number of Edge TPU subgraphs: 1\nTotal number of operations: 368\n\n"
        "Number of operations that will run on Edge TPU: 15\n"
        "Number of operations that will run on CPU: 353\n\n"
        "Operator                       Count      Status\n\n"
        "CONV_2D                        15         Mapped to Edge TPU\n"
        "LEAKY_RELU                     20         Operation not supported\n"
        "CONV_2D                        333        More than one subgraph is not supported\n"
    )
    summary = explain_text(text).matches[0]
    assert summary.title.startswith("Compiled, but most of the network stays on the CPU: 15 of 368")
    assert "10.00 MiB stream" in summary.cause
    assert "LEAKY_RELU (20 operations, and 333 after it would map too)" in summary.fix


def test_a_version_that_the_log_does_not_show_is_not_claimed() -> None:
    old = explain_text(
        "Edge TPU Compiler version 14.1.317412892\n\nCompilation failed: Internal error\n"
    )
    assert "14.1.317412892 does not have --search-delegate" in old.matches[0].fix
    unknown = explain_text("Compilation failed: Internal error\n").matches[0]
    assert "compiler 16" not in unknown.cause + unknown.title
    assert unknown.fix.startswith("With compiler 16, try --search-delegate; with an older one")


def test_the_reason_of_an_internal_error_comes_instead_of_it() -> None:
    text = (
        "Edge TPU Compiler version 14.1.317412892\n"
        "ERROR: :334 bias->type != kTfLiteInt32 (INT8 != INT32)\n"
        "ERROR: Node number 2 (CONV_2D) failed to prepare.\n\n"
        "Compilation failed: Internal error\n\nInternal compiler error. Aborting!\n"
    )
    assert [each.code for each in explain_text(text).matches] == ["interpreter.bias_type"]
    cause = compiler_cause(text)
    assert cause is not None
    assert cause.code == "interpreter.bias_type"


@pytest.mark.parametrize(
    ("text", "program", "layer"),
    [
        ("apex 0000:03:00.0: error: the moon is full", "the kernel driver gasket/apex", "driver"),
        ("F driver/usb/usb_driver.cc:99] the moon failed", "libedgetpu", "device"),
        ("edgetpu_compiler: error: the moon is full", "edgetpu_compiler", "compiler"),
        ("error: 'tfl.moon' op failed", "TensorFlow's converter", "converter"),
        ("E: the moon cannot be fetched", "apt or dpkg", "installation"),
        (
            '  File "/opt/frigate/frigate/app.py", line 3, in run\nMoonError: the moon failed',
            "Frigate",
            "application",
        ),
        ("the moon failed", "", ""),
    ],
)
def test_an_unknown_failure_says_which_program_it_is_from(
    text: str, program: str, layer: str
) -> None:
    (origin,) = explain_text(text).origins
    assert (origin.program, origin.layer) == (program, layer)
    assert origin.lines == explain_text(text).unknown


@given(st.text())
def test_any_text_gives_an_explanation_or_bad_input(text: str) -> None:
    try:
        result = explain(text)
    except InputError:
        return
    assert result.matches or result.unknown or text.strip()
    result.to_json()


@pytest.mark.corpus
def test_every_recorded_failure_has_a_cause(corpus: Path) -> None:
    logs = sorted((corpus.parent / "reference" / "logs").glob("*_fail_*.log"))
    assert len(logs) >= 12
    for log in logs:
        result = explain(str(log))
        assert result.matches, log.name
        assert not result.unknown, log.name


@pytest.mark.corpus
def test_every_recorded_status_is_known(corpus: Path) -> None:
    logs = [*corpus.glob("compiled/*/*.log"), *(corpus.parent / "reference" / "logs").glob("*.log")]
    assert len(logs) >= 40
    for log in logs:
        assert not explain(str(log)).unknown, log.name
    assert len(STATUSES) >= 9
