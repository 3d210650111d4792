# SPDX-License-Identifier: Apache-2.0
"""The report shows the content of the folder, partial or complete, and never fails on it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgekit.edgetpu import check_model
from edgekit.errors import InputError, OutputError
from edgekit.formats.tflite import Model, write_model
from edgekit.report.evidence import gather
from edgekit.report.node import Node
from edgekit.report.page import MAX_BYTES, ReportResult, report
from edgekit.report.provenance import commands
from tests.report.conftest import debug_document, write_json

pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra report)")

_VOID = {"meta", "link", "br", "img", "input"}


class _Reading(HTMLParser):
    """Checks the nesting, and collects headings, ids, links and the data."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.titles = 0
        self.text: dict[str, str] = {}
        self.data = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        self._note(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.attributes += known.items()
        self.ids += [known["id"]] if "id" in known else []
        self.links += [known["href"]] if tag == "a" else []
        self.titles += tag == "title" and "svg" in self.open

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.data += data
        elif self.open and self.open[-1] != "style":
            section = "svg" if "svg" in self.open else "page"
            self.text[section] = self.text.get(section, "") + " " + data


def read(path: Path) -> _Reading:
    """The parsed report."""
    parser = _Reading()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.close()
    assert parser.open == []
    return parser


def _made(folder: Path) -> tuple[ReportResult, _Reading]:
    result = report(folder)
    return result, read(Path(result.output))


def test_everything_found_has_its_section(run_folder: Path) -> None:
    result, page = _made(run_folder)
    write_json(run_folder / "debug.json", debug_document(result.sha256))
    result, page = _made(run_folder)
    text = " ".join(page.text["page"].split())
    assert result.missing == ()
    assert result.bytes == Path(result.output).stat().st_size < MAX_BYTES
    assert [number.evidence for number in result.verdict.numbers] == [
        "predicted",
        "measured",
        "estimated",
    ]
    assert "On an Edge TPU: not measured." in text
    assert "16.0.384591198" in text
    assert "operator 3 CONV_2D layer3: range. Clip." in text
    assert page.titles > 40  # hover texts of marks
    assert "dB" in page.text["svg"]


def test_the_page_fetches_nothing_and_has_no_scripts(run_folder: Path) -> None:
    _, page = _made(run_folder)
    for name, value in page.attributes:
        if name in {"src", "href"}:
            assert value.startswith(("#", "data:")), (name, value)
        assert not name.startswith("on")
        assert not re.search(r"url\((?!#)", value)
    html = (run_folder / "report.html").read_text()
    assert "@import" not in html
    assert re.findall(r"<script[^>]*>", html) == [
        '<script type="application/json" id="edgekit-data">'
    ]


def test_links_have_targets_and_ids_are_unique(run_folder: Path) -> None:
    _, page = _made(run_folder)
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_the_page_contains_the_same_data_as_json(run_folder: Path) -> None:
    result, page = _made(run_folder)
    data = json.loads(page.data)
    assert data["documents"]["evaluate.json"] == json.loads(
        (run_folder / "evaluate.json").read_text()
    )
    assert data["report"]["verdict"] == result.to_dict()["verdict"]
    kinds = {document["schema"] for document in data["documents"].values()}
    assert {"edgekit.check/1", "edgekit.estimate/1", "edgekit.benchmark/2"} <= kinds


def test_an_operator_without_a_measurement_is_shown_as_not_measured(run_folder: Path) -> None:
    document = debug_document(report(run_folder).sha256)
    del document["operators"][2]["isolated_snr_db"]
    document["operators"][4]["isolated_snr_db"] = "much"
    write_json(run_folder / "debug.json", document)
    _, page = _made(run_folder)
    text = " ".join(page.text["page"].split())
    assert "2 CONV_2D layer2 not measured 20.0 dB" in text
    assert "4 CONV_2D layer4 not measured 10.0 dB" in text


@pytest.mark.corpus
def test_a_compiled_file_alone_shows_its_cpu_operators(corpus: Path, tmp_path: Path) -> None:
    name = "deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite"
    source = corpus / "compiled/google-coral__test_data" / name
    (tmp_path / name).write_bytes(source.read_bytes())
    result, page = _made(tmp_path)
    assert "leaves 8 operators to the CPU" in result.verdict.text
    assert "CPU: 8" in page.text["page"]
    assert "parameters: 748.75 KiB of 7.75 MiB" in " ".join(page.text["page"].split())


def test_a_second_report_on_the_same_folder_is_the_same(run_folder: Path) -> None:
    first = Path(report(run_folder).output).read_bytes()
    assert Path(report(run_folder).output).read_bytes() == first


def test_a_model_alone_is_checked_and_estimated(tmp_path: Path, int8_path: Path) -> None:
    result, page = _made(tmp_path)
    assert result.model == int8_path.name
    assert result.verdict.numbers[0].value == "100.0 %"
    assert [each.path for each in result.documents] == ["computed for this report"] * 2
    assert set(result.missing) >= {"accuracy", "layer_errors", "pictures", "compiler_log"}
    assert page.text["page"].count("not measured") > 3


def test_a_saved_check_is_not_computed_again(tmp_path: Path, int8_path: Path) -> None:
    saved = check_model(int8_path)
    write_json(tmp_path / "check.json", saved.to_dict())
    result = report(tmp_path)
    schemas = [each.schema_name for each in result.documents]
    assert schemas.count("edgekit.check/1") == 1


def test_the_compilers_report_has_priority(run_folder: Path) -> None:
    sha256 = report(run_folder).sha256
    model = {"sha256": sha256, "num_mapped": 5, "num_operators": 6, "on_chip_bytes": 4096}
    compiled = {"schema": "edgekit.compile/1", "models": [model], "log": "the log"}
    write_json(run_folder / "compile.json", compiled)
    verdict = report(run_folder).verdict
    assert verdict.level == "partly"
    assert verdict.numbers[0].value == "83.3 %"
    assert verdict.numbers[0].evidence == "recorded"


def test_the_open_compilers_program_is_reported_as_verified_only_in_the_emulator(
    run_folder: Path,
) -> None:
    sha256 = report(run_folder).sha256
    verification = {"inputs": ["random"], "num_values": 40}
    model = {
        "sha256": sha256,
        "num_mapped": 6,
        "num_operators": 6,
        "verification": verification,
    }
    compiled = {
        "schema": "edgekit.compile/1",
        "models": [model],
        "compiler": "edgekit",
        "compiler_version": "edgekit 9.9 open compiler",
    }
    write_json(run_folder / "compile.json", compiled)
    result, page = _made(run_folder)
    assert "verified in the emulator, not on a chip" in result.verdict.text
    text = " ".join(page.text["page"].split())
    assert "compiler edgekit 9.9 open compiler" in text
    assert "edgetpu_compiler edgekit" not in text


def test_a_benchmark_on_a_device_is_the_latency(run_folder: Path) -> None:
    document = json.loads((run_folder / "benchmark_int8.json").read_text())
    document["device"] = "usb:0"
    document["latency_ms"]["p50"] = 2.5
    write_json(run_folder / "tpu.json", document)
    number = report(run_folder).verdict.numbers[2]
    assert (number.value, number.evidence) == ("2.50 ms", "measured")


def test_classes_of_a_detector_have_bars(tmp_path: Path) -> None:
    per_class = {f"class <{i}> $x$": {"map": i / 40, "map50": 0.5} for i in range(40)}
    evaluation = {
        "schema": "edgekit.evaluate/1",
        "task": "detection",
        "metrics": {"map": 0.4, "map50": 0.6},
        "per_class": per_class,
        "num_samples": 64,
    }
    write_json(tmp_path / "evaluate.json", evaluation)
    result, page = _made(tmp_path)
    assert result.verdict.numbers[1].value == "40.00 %"
    assert "class <0> $x$: mAP 50:95 0.0%" in page.text["svg"]


@pytest.mark.parametrize(
    ("num_classes", "names"),
    [(2, ["sky, blue", "$sea$"]), (2, ["only one"]), (2, None), (10**15, ["one"])],
)
def test_mistakes_are_shown_by_the_names_of_the_classes(
    tmp_path: Path, num_classes: int, names: list[str] | None
) -> None:
    evaluation = {
        "schema": "edgekit.evaluate/1",
        "task": "segmentation",
        "metrics": {"miou": 0.5},
        "num_classes": num_classes,
        "class_names": names,
        "confusion": [[0, 0, 2_000_000], [0, 1, 1_234_567]],
    }
    write_json(tmp_path / "evaluate.json", evaluation)
    _, page = _made(tmp_path)
    true, answer = names if names and len(names) == num_classes else ("0", "1")
    cells = page.text["page"].split("Most frequent mistakes")[1].split()
    assert " ".join(cells).startswith(f"truth answer times {true} {answer} 1,234,567")
    if num_classes == 2:
        assert f"{true} answered as {answer}: 1,234,567 of 3,234,567" in page.text["svg"]
        assert " 1.2M " in page.text["svg"]  # in its cell


def test_the_commands_contain_the_options_and_the_outputs(tmp_path: Path) -> None:
    asked = {"--labels": "my names.txt", "--label-offset": "-1", "evil": "; rm"}
    data = {"source": "pictures", "preprocess": "unit"}
    evaluation = {"schema": "edgekit.evaluate/1", "model": "m.tflite", "data": data}
    write_json(tmp_path / "evaluate.json", {**evaluation, "device": "usb:0", "asked": asked})
    lines = [each.line for each in commands(gather(tmp_path))]
    assert lines == [
        "edgekit evaluate m.tflite --data pictures --preprocess unit --device usb:0 "
        f"--labels 'my names.txt' --label-offset -1 --json > {tmp_path / 'evaluate.json'}"
    ]


def test_several_estimates_are_distinguished(tmp_path: Path) -> None:
    latency = {"low": 1.0, "mid": 2.0, "high": 3.0}
    for name in ("plain", "compiled"):
        guess = {"schema": "edgekit.estimate/1", "model": f"a/{name}.tflite", "device": "usb3"}
        write_json(tmp_path / f"{name}.json", {**guess, "latency_ms": latency})
    _, page = _made(tmp_path)
    for name in ("plain", "compiled"):
        assert f"{name}.tflite on usb3: 2.00 ms" in page.text["page"]


def test_a_thousand_classes_and_large_pictures_stay_below_the_limit(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    confusion = random.integers(0, 1000, (60_000, 3)).tolist()
    evaluation = {"schema": "edgekit.evaluate/1", "metrics": {"top1": 0.5}, "num_classes": 1000}
    write_json(tmp_path / "evaluate.json", {**evaluation, "confusion": confusion})
    for number in range(12):
        noise = random.integers(0, 256, (700, 900, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    times = {"schema": "edgekit.benchmark/1", "times_ms": random.random(20_000).tolist()}
    write_json(tmp_path / "benchmark.json", times)
    write_json(tmp_path / "run.json", {"schema": "edgekit.compile/1", "log": "x" * 3_000_000})
    result = report(tmp_path)
    assert result.bytes < MAX_BYTES


def test_of_several_models_one_can_be_chosen(tmp_path: Path, int8_model: Model) -> None:
    for name, description in (("a", "one"), ("b", "another")):
        model = replace(int8_model, description=description)
        (tmp_path / f"{name}.tflite").write_bytes(write_model(model))
    result = report(tmp_path)
    assert result.model == "a.tflite"
    assert result.remarks == ("1 more integer models, b.tflite: choose one with --model",)
    chosen = report(tmp_path, model="b.tflite")
    assert (chosen.model, chosen.remarks) == ("b.tflite", ())
    with pytest.raises(InputError, match=r"no model c\.tflite"):
        report(tmp_path, model="c.tflite")


def test_what_cannot_be_read_is_named(run_folder: Path) -> None:
    (run_folder / "cut.json").write_text('{"schema": "edgekit.eva')
    (run_folder / "cut.tflite").write_bytes((run_folder / "int8.tflite").read_bytes()[:300])
    (run_folder / "bad.png").write_bytes(b"\x89PNG")
    write_json(run_folder / "newer.json", {"schema": "edgekit.check/2"})
    write_json(run_folder / "others.json", {"schema": 7, "package": "of another program"})
    remarks = "\n".join(report(run_folder).remarks)
    for name in ("cut.json", "cut.tflite", "bad.png", "newer.json"):
        assert name in remarks
    assert "others.json" not in remarks


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    operator = {"index": 0, "opcode": bad, "verdict": "cpu", "reason": bad, "layer": bad + "\ud800"}
    check = {"schema": "edgekit.check/1", "model": bad, "operators": [operator], "num_mapped": 0}
    write_json(tmp_path / "check.json", {**check, "num_operators": 1, "blocker": operator})
    _, page = _made(tmp_path)
    assert ("src", "x") not in page.attributes


@pytest.mark.parametrize("content", [None, "{}", "[1, 2]"])
def test_a_folder_with_nothing_to_report_is_an_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "some.json").write_text(content)
    with pytest.raises(InputError, match="nothing to report on"):
        report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_the_current_folder_has_a_name_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "evaluate.json", {"schema": "edgekit.evaluate/1", "num_samples": 1})
    monkeypatch.chdir(tmp_path)
    _, page = _made(Path())
    assert f"{tmp_path.name}: edgekit report" in page.text["page"]


def test_a_missing_folder_and_an_impossible_output_are_errors(
    tmp_path: Path, int8_model: Model
) -> None:
    with pytest.raises(InputError, match="does not exist"):
        report(tmp_path / "none")
    (tmp_path / "m.tflite").write_bytes(write_model(int8_model))
    with pytest.raises(OutputError):
        report(tmp_path, tmp_path / "none" / "r.html")


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(_JSON)
def test_reading_any_value_of_any_json_never_fails(value: Any) -> None:  # noqa: ANN401
    node = Node(value)
    node.at("a", 0, "b")
    assert isinstance(node.text("a"), str)
    node.number("a", 1)
    node.interval("a")
    for name, entry in node.fields():
        assert isinstance(name, str)
        entry.entries()
