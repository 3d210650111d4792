# SPDX-License-Identifier: Apache-2.0
"""The audit: numbers do not matter to it; forms, level patterns and orders do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.chip.isa import Instruction, decode, encode_one
from edgekit.chip.isa.table import LAYOUTS
from edgekit.chip.vocabulary import (
    EVIDENCE_VARIABLE,
    Audit,
    AuditFinding,
    Entry,
    Evidence,
    EvidenceReport,
    Kind,
    UserEvidence,
    Vocabulary,
    audit,
    evidence_file,
    read_evidence,
    texts_of,
)
from edgekit.chip.vocabulary.entries import document
from edgekit.chip.vocabulary.rules import rules_id
from edgekit.chip.vocabulary.signature import form_of, form_text, pattern_of, tiles_kind
from edgekit.errors import InputError
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import read_model

OP, SEND, FENCE, TO_WIDE, NORTH, INFEED = 0x01, 0x10, 0x1A, 0x13, 0x17, 0x26


def made(opcode: int, **fields: int) -> Instruction:
    return decode(encode_one(opcode, fields))[0]


def known(*programs: list[Instruction]) -> Vocabulary:
    """A vocabulary of exactly these programs."""
    return Vocabulary(Entry(text, 1, 1, "example") for text in texts_of(*programs))


def without_orders(found: Audit) -> list[AuditFinding]:
    return [each for each in found.findings if each.kind is not Kind.ORDER]


SMALL_OP = {"tiles": 1, "cfg2": 7, "in_inc0": 1, "in_cnt0": 3, "in_levels": 1, "mult": 0x3F800000}


@pytest.mark.parametrize(
    ("field", "value"),
    [("in_base", 64), ("in_cnt0", 200), ("in_inc0", 7), ("in_inc0", -1), ("seq", 9),
     ("mult", 0x3F000000), ("tiles", 0xFFFF), ("out_zp", 128), ("loop0", 12), ("sync0", 0x7FFF),
     ("cfg1", 0x300)],
)  # fmt: skip
def test_a_number_does_not_make_an_instruction_unseen(field: str, value: int) -> None:
    vocabulary = known([made(OP, **SMALL_OP)])
    assert audit(vocabulary, [made(OP, **{**SMALL_OP, field: value})]).is_seen


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [("cfg2", 6, Kind.FORM), ("bias", 1, Kind.FORM), ("gate", 1, Kind.FORM),
     ("par_rows", 9, Kind.FORM), ("sync1", 0x4000, Kind.FORM), ("cfg1", 0x0F, Kind.FORM),
     ("in_levels", 3, Kind.PATTERN), ("reduce", 1, Kind.PATTERN), ("cfg0", 0x40, Kind.PATTERN),
     ("in_inc0", 0, Kind.PATTERN)],
)  # fmt: skip
def test_a_field_that_selects_something_is_found_by_its_name(
    field: str, value: int, kind: Kind
) -> None:
    vocabulary = known([made(OP, **SMALL_OP)])
    found = audit(vocabulary, [made(OP, **{**SMALL_OP, field: value})])
    (finding,) = without_orders(found)
    assert finding.kind is kind
    part = "in" if field == "in_inc0" else field
    assert [each.part for each in finding.differences] == [part]
    assert finding.example == "example"
    assert not found.is_seen
    assert found.seen_share == 0


def test_a_bit_outside_every_field_is_unseen() -> None:
    plain = made(FENCE, tiles=1)
    odd = decode(encode_one(FENCE, {"tiles": 1}, 1 << 120))[0]
    (finding,) = without_orders(audit(known([plain]), [odd]))
    assert [each.part for each in finding.differences] == ["unnamed"]


def test_a_finding_says_what_differs_and_what_that_decides() -> None:
    vocabulary = known([made(OP, **SMALL_OP)])
    (finding,) = without_orders(audit(vocabulary, [made(OP, **{**SMALL_OP, "cfg2": 0x16})]))
    assert "cfg2 (the width of activations and weights): 0x16, seen 7" in str(finding)
    assert "op tiles=0001" in str(finding)


def test_the_same_unseen_form_is_one_finding_with_its_first_place() -> None:
    program = [made(FENCE, tiles=1), *(made(FENCE, tiles=1, caching=1, seq=k) for k in range(3))]
    vocabulary = known([made(FENCE, tiles=1), made(FENCE, tiles=1)])
    found = without_orders(audit(vocabulary, program))
    assert [(each.index, each.times) for each in found] == [(1, 3)]


def test_the_nearest_form_has_the_fewest_differences() -> None:
    vocabulary = known(
        [made(OP, **SMALL_OP, bias=1, per_channel=1, nlu=1)], [made(OP, **SMALL_OP, bias=1)]
    )
    (finding,) = without_orders(audit(vocabulary, [made(OP, **SMALL_OP, bias=1, cfg3=7)]))
    assert [each.part for each in finding.differences] == ["cfg3"]


def test_an_instruction_that_nothing_is_like_has_no_nearest() -> None:
    (finding,) = without_orders(audit(known([made(FENCE)]), [made(OP, **SMALL_OP)]))
    assert (finding.nearest, finding.differences) == ("", ())


def test_an_unseen_neighbour_is_found() -> None:
    fence, move = made(FENCE, tiles=1, units=0x3FF), made(TO_WIDE, tiles=1)
    vocabulary = known([fence, move], [move, move])
    assert audit(vocabulary, [fence, move, move]).is_seen
    (finding,) = audit(vocabulary, [move, fence]).findings
    assert finding.kind is Kind.ORDER
    assert finding.signature == "issue: n2w -> fence(drain)"


def test_kinds_that_never_met_in_one_queue_are_an_unseen_order() -> None:
    """A drain between them makes it another order; so do tiles that they do not share."""
    plain, transposing = made(TO_WIDE, tiles=1), made(TO_WIDE, tiles=1, transpose=1)
    elsewhere = made(TO_WIDE, tiles=2, transpose=1)
    drain = made(FENCE, tiles=1, units=0x3FF)
    vocabulary = known(
        [plain, drain, transposing], [plain, elsewhere], [plain, plain], [drain, transposing]
    )
    assert audit(vocabulary, [plain, drain, transposing]).is_seen
    assert audit(vocabulary, [plain, elsewhere]).is_seen
    found = audit(vocabulary, [plain, transposing]).findings
    assert [each.signature for each in found] == ["n2w: n2w -> n2w(transposing)"]


def test_a_partial_drain_empties_only_its_tiles() -> None:
    plain, transposing = made(TO_WIDE, tiles=3), made(TO_WIDE, tiles=3, transpose=1)
    drain = made(FENCE, tiles=1, units=0x3FF)
    vocabulary = known([made(TO_WIDE, tiles=1), drain, made(TO_WIDE, tiles=1, transpose=1)])
    found = audit(vocabulary, [plain, drain, transposing]).findings
    assert [each.signature for each in found] == ["n2w: n2w -> n2w(transposing)"]


def test_receivers_of_packets_belong_to_the_pattern() -> None:
    one, row = made(SEND, dest=0x0010), made(SEND, dest=0x00F0)
    (finding,) = without_orders(audit(known([one]), [row]))
    assert [(d.part, d.here, d.seen) for d in finding.differences] == [("dest", "row", "one")]


@pytest.mark.parametrize(
    ("mask", "kind"),
    [(0, "none"), (0x0020, "one"), (0x00F0, "row"), (0x0030, "row"), (0x1110, "column"),
     (0x0033, "block"), (0xFFFF, "all"), (0x8001, "scattered")],
)  # fmt: skip
def test_a_set_of_tiles_has_a_kind(mask: int, kind: str) -> None:
    assert tiles_kind(mask) == kind


def test_a_walk_has_a_letter_for_each_level() -> None:
    """Level 1 repeats the address; level 3 holds the way back, so it is not in use."""
    move = made(
        NORTH,
        i_inc0=1, i_cnt0=3, i_inc1=-3, i_cnt1=1, i_inc2=-7, i_cnt2=0, i_inc3=-3,
    )  # fmt: skip
    assert pattern_of(move)[1] == ("", "+=+")
    assert pattern_of(made(INFEED, inc0=1, cnt0=9, inc1=-9, inc2=-9))[1] == ("+", "none")


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    layout = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]
    fields = {}
    for field in draw(st.lists(st.sampled_from(layout.fields[5:] or layout.fields), max_size=4)):
        low = -1 << field.width - 1 if field.signed else 0
        fields[field.name] = draw(st.integers(low, low + (1 << field.width) - 1))
    return decode(encode_one(layout.opcode, fields))[0]


@given(instructions(), instructions())
def test_two_instructions_have_one_text_exactly_if_they_have_one_form(
    one: Instruction, other: Instruction
) -> None:
    forms = form_of(one), form_of(other)
    assert (forms[0] == forms[1]) == (form_text(forms[0]) == form_text(forms[1]))


@given(st.lists(instructions(), max_size=6))
def test_a_program_is_inside_its_own_vocabulary(program: list[Instruction]) -> None:
    found = audit(known(program), program)
    assert found.is_seen
    assert (found.num_seen, found.num_unseen) == (len(program), 0)


def test_the_packaged_vocabulary_was_made_under_the_present_rules() -> None:
    assert document()["rules"] == rules_id()
    assert len(Vocabulary.load().entries) > 2000


@pytest.mark.corpus
@pytest.mark.parametrize(
    "model",
    ["google-coral__test_data/mobilenet_v1_0.25_128_quant_edgetpu.tflite",
     "google-coral__edgetpu/032412d__mobilenet_v1_0.75_192_quant_edgetpu.tflite",
     "Jorgitou98__EdgeTPU-QuantRL-Evaluation/N120-nMACs544112640_quant_edgetpu.tflite"],
)  # fmt: skip
def test_programs_of_google_are_wholly_seen(corpus: Path, model: str) -> None:
    content = (corpus / "compiled" / model).read_bytes()
    package = read_packages(read_model(content))[0].package
    programs = [
        [
            each
            for chunk in executable.instruction_bitstreams
            for each in decode(chunk.bitstream.tobytes())
        ]
        for executable in package.executables
    ]
    found = audit(Vocabulary.load(), *programs)
    assert found.is_seen
    assert found.num_instructions == sum(map(len, programs)) > 100


@pytest.mark.corpus
@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 10), reason="scripts need Python 3.10")
def test_the_vocabulary_is_that_of_the_corpus(corpus: Path) -> None:
    from scripts.make_vocabulary import read_models  # noqa: PLC0415

    folders = [corpus / "compiled", corpus.parent / "programs"]
    texts = {text for model in read_models(folders) for text in model.texts}
    assert texts == set(Vocabulary.load().entries)


SOURCE = EvidenceReport("ab" * 32, "2026-11-30T10:00:00+00:00", "usb:0", "", ("a",))


def test_what_a_chip_confirms_is_no_longer_unseen() -> None:
    program = [made(FENCE, tiles=1, caching=1)]
    evidence = UserEvidence(rules_id()).with_report(SOURCE, texts_of(program), ())
    vocabulary = Vocabulary((), evidence.confirmed)
    found = audit(vocabulary, program)
    assert found.is_seen
    assert (found.num_confirmed, found.num_seen) == (1, 0)
    assert vocabulary.evidence("fence caching=1") is Evidence.CONFIRMED


def test_an_instruction_is_confirmed_only_with_its_order() -> None:
    fence = made(FENCE, tiles=1)
    vocabulary = Vocabulary(
        (Entry(text, 1, 1, "example") for text in texts_of([fence, fence])), texts_of([fence])
    )
    found = audit(vocabulary, [fence, fence])
    assert (found.num_confirmed, found.num_seen) == (1, 1)


def test_evidence_is_read_as_it_was_written(tmp_path: Path) -> None:
    evidence = UserEvidence(rules_id()).with_report(SOURCE, ("fence",), ("op cfg2=1",))
    file = tmp_path / "evidence.json"
    file.write_text(evidence.to_json())
    assert read_evidence(file) == evidence


def test_a_report_counts_once() -> None:
    evidence = UserEvidence(rules_id()).with_report(SOURCE, ("fence",), ())
    assert evidence.with_report(SOURCE, ("fence",), ()) == evidence


def test_what_one_report_confirms_and_another_suspects_is_not_trusted() -> None:
    """Whichever comes first, both are kept."""
    other = EvidenceReport("cd" * 32, SOURCE.date, "usb:1", "", ("b",))
    empty = UserEvidence(rules_id())
    for first, second in ((SOURCE, other), (other, SOURCE)):
        found = empty.with_report(first, ("fence", "op"), ()).with_report(second, (), ("fence",))
        assert found.confirmed["fence"] == (first.sha256,)
        assert found.suspects["fence"] == (second.sha256,)
        assert found.trusted == {"op"}


def test_evidence_of_two_files_is_joined() -> None:
    other = EvidenceReport("cd" * 32, SOURCE.date, "usb:1", "", ("b",))
    empty = UserEvidence(rules_id())
    first = empty.with_report(SOURCE, ("fence", "op"), ())
    second = empty.with_report(other, ("halt",), ("op",)).with_report(SOURCE, ("fence", "op"), ())
    both = first.with_evidence(second)
    assert both.reports == (SOURCE, other)
    assert both.confirmed["fence"] == (SOURCE.sha256,)
    assert both.trusted == {"fence", "halt"}


def test_a_variable_names_the_file_of_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "of-the-team.json"
    monkeypatch.setenv(EVIDENCE_VARIABLE, str(file))
    assert not read_evidence().trusted
    file.write_text(UserEvidence(rules_id()).with_report(SOURCE, ("fence",), ()).to_json())
    assert evidence_file() == file
    assert read_evidence().trusted == {"fence"}


def test_evidence_under_other_rules_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    file.write_text(UserEvidence("of old", confirmed={"fence": ("x",)}).to_json())
    assert not read_evidence(file).confirmed


def test_without_a_file_there_is_no_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(EVIDENCE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert evidence_file() == tmp_path / "edgekit" / "evidence.json"
    assert not read_evidence().confirmed


@pytest.mark.parametrize(
    "content",
    ["[]", "{", json.dumps({"schema": "edgekit.evidence/2"}),
     json.dumps({"schema": "edgekit.evidence/1", "rules": "x", "reports": [1],
                 "confirmed": {}, "suspects": {}})],
)  # fmt: skip
def test_a_file_that_is_no_evidence_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "evidence.json"
    file.write_text(content)
    with pytest.raises(InputError, match="evidence"):
        read_evidence(file)
