# SPDX-License-Identifier: Apache-2.0
"""`explain` on texts, logs and codes; unknown lines are listed."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize("known", KNOWN_TEXTS, ids=lambda known: known.code)
def test_the_quick_search_for_words_hides_no_match(known: KnownText) -> None:
    for alternative in {known.example, *known.words}:
        for text in (alternative, f"CONV_2D 3 {alternative} and more"):
            without = re.finditer(known.pattern, text, re.MULTILINE)
            assert [m.span() for m in known.matches(text)] == [m.span() for m in without]


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
