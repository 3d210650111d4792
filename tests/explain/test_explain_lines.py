# SPDX-License-Identifier: Apache-2.0
"""Every known text is recognized in a line as its program prints it, in logs of all kinds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator

import pytest

from edgekit.explain import KNOWN_TEXTS, STATUSES, explain_text
from edgekit.explain.known import Searched

_FOLDER = Path(__file__).parent / "lines"
_PREFIXES = (
    "[    3.123456] ",
    "Nov 30 12:00:01 nas kernel: ",
    "Nov 30 12:00:01 nas frigate[812]: ",
    "frigate-1  | ",
    "frigate  | [2024-02-11 13:15:03] frigate.detectors.plugins.edgetpu_tfl ERROR   : ",
    "2024-02-11 13:15:03.916344122  ",
    "2024-02-11T13:15:03.916344Z stderr F ",
    "8/11/2024, 1:52:20 PM ",
    "06:28:22:objectdetection_coral_adapter.py: ",
    "E0000 00:00:1725651435.903531 2938881 file.cc:67] ",
    "\x1b[31m",
)
_NOISE = [
    "2024-02-11 13:15:03 frigate.app INFO : Camera processor started for yard: 271",
    "[    2.100000] usb 2-1: new SuperSpeed USB device number 3 using xhci_hcd",
    "Collecting numpy",
    "Downloading numpy-1.26.4-cp311-cp311-linux_x86_64.whl (18.3 MB)",
    "Traceback (most recent call last):",
    '  File "/opt/frigate/frigate/object_detection.py", line 102, in run_detector',
    "    self.run()",
    "INFO: all fine",
]


def _lines() -> Iterator[tuple[str, str]]:
    """Yield (code, line) of every example."""
    for path in sorted(_FOLDER.glob("*.txt")):
        for line in path.read_text("utf-8").splitlines():
            if line and not line.startswith("#"):
                code, _, text = line.partition(" | ")
                yield code, text


_LINES = tuple(_lines())
_codes = pytest.mark.parametrize(("code", "line"), _LINES, ids=[code for code, _ in _LINES])


def _first(text: str) -> str:
    matches = explain_text(text).matches
    return matches[0].code if matches else ""


def test_every_entry_has_a_line_of_its_program() -> None:
    entries = {known.code for known in KNOWN_TEXTS if known.code not in _status_codes()}
    assert {code for code, _ in _LINES} == entries
    assert sum(len(known.texts) for known in KNOWN_TEXTS) >= 250


def _status_codes() -> set[str]:
    return {known.code for known in STATUSES.values()}


@_codes
def test_a_line_of_its_program_is_recognized(code: str, line: str) -> None:
    result = explain_text(line)
    assert result.matches[0].code == code
    assert line.strip()[-30:] in result.matches[0].text
    assert not result.unknown


@_codes
def test_what_other_programs_put_in_front_of_it_does_not_matter(code: str, line: str) -> None:
    assert {_first(prefix + line) for prefix in _PREFIXES} == {code}


@_codes
def test_line_breaks_do_not_matter(code: str, line: str) -> None:
    at_words = re.sub(r"(\S+ \S+) ", "\\1\n", line)
    in_words = "\n".join(line[start : start + 40] for start in range(0, len(line), 40))
    assert (_first(at_words), _first(in_words)) == (code, code)


@_codes
def test_it_is_found_between_other_lines(code: str, line: str) -> None:
    noise = "\n".join(_NOISE * 20)
    codes = [each.code for each in explain_text(f"{noise}\n{line}\n{noise}\n").matches]
    assert codes[0] == code


@pytest.mark.parametrize("known", KNOWN_TEXTS, ids=lambda known: known.code)
def test_two_entries_claim_the_same_text_only_if_one_is_more_specific(known: object) -> None:
    for template in known.texts:  # type: ignore[attr-defined] # a KnownText
        searched = Searched(template.example)
        found = [match for each in KNOWN_TEXTS for match in each.matches(searched)]
        best = max(match.template.specificity for match in found)
        codes = {m.known.code for m in found if m.template.specificity == best}
        assert codes == {known.code}, template.text  # type: ignore[attr-defined] # as above


@pytest.mark.parametrize("known", KNOWN_TEXTS, ids=lambda known: known.code)
def test_no_field_of_a_cause_or_fix_is_empty(known: object) -> None:
    for template in known.texts:  # type: ignore[attr-defined] # a KnownText
        (match,) = explain_text(template.example).matches
        for text in (match.cause, match.fix):
            assert not re.search(r" \(\)|: [;,.]|  |\{", text), text


def test_a_large_log_is_searched_and_its_end_counts() -> None:
    line = "2024-02-11 13:15:{:02d} frigate.video INFO : frame {} received\n"
    log = "".join(line.format(index % 60, index) for index in range(100_000))
    text = f"{log}apex 0000:03:00.0: RAM did not enable within timeout (12000 ms)\n{log}"
    assert len(text) > 1 << 23
    result = explain_text(text)
    assert [each.code for each in result.matches] == ["driver.chip_silent"]
    assert not result.unknown
