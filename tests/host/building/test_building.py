# SPDX-License-Identifier: Apache-2.0
"""All steps in one command: its files, and which steps run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.building import BuildGates, BuildResult, build
from edgekit.cli.main import main
from edgekit.errors import DataError, InputError, UnsupportedModelError, UsageError
from edgekit.files import sha256_hex

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]

_OWN: dict[str, dict[str, Any]] = {"compile": {"compiler": "edgekit"}, "benchmark": {"num_runs": 3}}


@pytest.fixture
def place(tmp_path: Path, float_path: Path) -> Path:
    """A folder with a float network and labelled samples."""
    random = np.random.default_rng(3)
    for name in ("calibration", "test"):
        images = random.random((40, 8, 8, 1)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=images, y=np.arange(40) % 5)
    float_path.rename(tmp_path / "net.tflite")
    return tmp_path


def _build(place: Path, **changes: Any) -> BuildResult:  # noqa: ANN401
    given = {
        "data": place / "calibration.npz",
        "eval_data": place / "test.npz",
        "output": place / "out",
        "options": _OWN,
    }
    return build(place / "net.tflite", **{**given, **changes})


def _statuses(result: BuildResult) -> dict[str, str]:
    return {step.name: step.status for step in result.steps}


def test_a_build_writes_every_result_and_a_file_that_repeats_it(place: Path) -> None:
    result = _build(place)
    out = place / "out"
    done = _statuses(result)
    assert set(done) - {"debug"} == {
        *("convert", "check", "compile", "evaluate", "benchmark", "estimate", "bundle", "report"),
    }
    assert set(done.values()) == {"done"}
    for name in ("net_float.tflite", "float.json"):  # the source is the float model
        assert not (out / name).exists()
    for step in result.steps:
        assert all((out / name).stat().st_size for name in step.outputs)
        assert json.loads((out / f"{step.name}.json").read_text())["schema"].startswith("edgekit.")
    readme = (out / "README.md").read_text()
    assert "| net_edgetpu.tflite |" in readme
    assert "edgekit run net_edgetpu.tflite" in readme
    again = build(out / "edgekit.toml", output=place / "copy")
    assert set(_statuses(again).values()) == {"done"}
    for name in ("net.tflite", "net_edgetpu.tflite"):
        assert (place / "copy" / name).read_bytes() == (out / name).read_bytes()


def test_only_what_changed_is_done_again(place: Path) -> None:
    first = _build(place)
    times = {path: path.stat().st_mtime_ns for path in (place / "out").glob("*.tflite")}
    kept = _build(place)
    assert set(_statuses(kept).values()) == {"kept"}
    assert [step.says for step in kept.steps] == [step.says for step in first.steps]
    assert {path: path.stat().st_mtime_ns for path in times} == times
    np.savez(place / "test.npz", x=np.zeros((10, 8, 8, 1), np.float32), y=np.zeros(10, int))
    changed = _statuses(_build(place))
    assert [name for name, status in changed.items() if status == "done"] == [
        *("evaluate", *(["debug"] if "debug" in changed else []), "bundle", "report")
    ]
    (place / "out" / "check.json").write_text("{}")
    assert _statuses(_build(place))["check"] == "done"
    forced = _build(place, is_forced=True)
    assert set(_statuses(forced).values()) == {"done"}


def test_a_copied_file_with_the_same_content_is_no_change(place: Path) -> None:
    _build(place)
    content = (place / "net.tflite").read_bytes()
    (place / "net.tflite").unlink()
    (place / "net.tflite").write_bytes(content)
    assert set(_statuses(_build(place)).values()) == {"kept"}


def test_what_a_step_wrote_goes_if_it_cannot_be_done_any_more(place: Path) -> None:
    _build(place)
    assert (place / "out" / "net_edgetpu.tflite").exists()
    given = dict(_OWN, compile={"compiler": str(place / "no-compiler")})
    result = _build(place, options=given)
    step = next(each for each in result.steps if each.name == "compile")
    assert (step.status, step.outputs) == ("not done", ())
    assert step.says
    assert not (place / "out" / "net_edgetpu.tflite").exists()
    assert not (place / "out" / "compile.json").exists()
    assert "net_edgetpu" not in (place / "out" / "README.md").read_text()


def test_an_interrupted_build_goes_on_where_it_ended(place: Path) -> None:
    def stop(step: Any) -> None:  # noqa: ANN401
        if step.name == "check":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _build(place, on_step=stop)
    statuses = _statuses(_build(place))
    assert [name for name, status in statuses.items() if status == "kept"] == ["convert", "check"]


def test_a_quantized_model_needs_no_calibration_data(place: Path, int8_path: Path) -> None:
    result = build(int8_path, output=place / "out", eval_data=place / "test.npz", options=_OWN)
    assert next(iter(_statuses(result).items())) == ("fix", "done")
    without = build(int8_path, output=place / "out", options=_OWN)
    assert _statuses(without)["evaluate"] == "not done"
    assert not (place / "out" / "evaluate.json").exists()


def test_a_recipe_is_searched_for_on_request(place: Path) -> None:
    options = {**_OWN, "tune": {"max_trials": 2, "max_drop": 100}}
    result = _build(place, options=options)
    assert list(_statuses(result))[:2] == ["tune", "convert"]
    out = place / "out"
    assert (out / "net.recipe.toml").exists()
    assert not (out / ".net.tflite").exists()
    assert set(_statuses(build(out / "edgekit.toml")).values()) == {"kept"}
    with pytest.raises(UsageError, match="other samples"):
        _build(place, options=options, eval_data=None)


def test_only_options_that_name_files_are_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that happens to be called like the compiler is none of the build's inputs."""
    monkeypatch.chdir(place)
    (place / "edgekit").mkdir()
    _build(place)
    (place / "edgekit" / "changed").touch()
    assert set(_statuses(_build(place)).values()) == {"kept"}


def test_samples_of_a_function_are_read_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "some_samples.py").write_text(
        "import numpy as np\n"
        "def samples():\n"
        "    yield from np.random.default_rng(0).random((40, 8, 8, 1)).astype('float32')\n"
    )
    monkeypatch.syspath_prepend(str(place))
    _build(place, data="some_samples:samples")
    statuses = _statuses(_build(place, data="some_samples:samples"))
    assert statuses["convert"] == "done"
    assert statuses["check"] == "kept"  # the new model is the same as the old one


def test_gates_are_judged_at_the_end(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gates = BuildGates(min_mapped=1, max_drop=100, min_agreement=0, min_snr_db=0)
    assert _build(place, gates=gates).failures == ()
    words = ["build", str(place / "net.tflite"), "--data", str(place / "calibration.npz")]
    words += ["--eval", str(place / "test.npz"), "-o", str(place / "out")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--compiler", "edgekit", "--num-runs", "3", "--min-snr-db", "200"])
    assert ended.value.code == 4
    printed = capsys.readouterr()
    assert "--min-snr-db is 200" in printed.err
    assert "again" in printed.out
    assert (place / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source = [", "not TOML"),
        ('data = "x"', "source is missing"),
        ('source = "net.tflite"\nwhat = 1', "'what'"),
        ('source = "net.tflite"\n[convert]\nwhat = 1', "'what'"),
        ('source = "net.tflite"\n[convert]\nnum_samples = [1]', "num_samples"),
        ('source = "net.tflite"\n[convert]\nnum_samples = "many"', "num_samples"),
        ('source = "net.tflite"\n[convert]\nclip_logits = 1', "clip_logits"),
        ('source = "net.tflite"\n[evaluate]\nnum_threads = "x"', "num_threads"),
        ('source = "net.tflite"\n[gates]\nmin_mapped = 2', "min-mapped"),
        ('source = "net.tflite"\n[gates]\nwhat = 2', "'what'"),
    ],
)
def test_a_file_that_does_not_describe_a_build_is_refused(
    place: Path, text: str, message: str
) -> None:
    (place / "edgekit.toml").write_text(text)
    with pytest.raises((InputError, UsageError), match=message):
        build(place / "edgekit.toml")


def test_bad_arguments_are_refused_before_anything_is_written(place: Path) -> None:
    with pytest.raises(InputError, match="cannot read the model"):
        build(place / "missing.tflite", data=place / "test.npz", output=place / "out")
    with pytest.raises(DataError, match="do not exist"):
        _build(place, data=place / "missing.npz")
    with pytest.raises(UsageError, match="folder"):
        _build(place, output=None)
    with pytest.raises(UsageError, match="calibration data"):
        _build(place, data=None)
    with pytest.raises(UsageError, match="contains the data"):
        build(place / "edgekit.toml", data=place / "test.npz")
    assert not (place / "out" / "build.json").exists()


def test_what_belongs_to_others_stays(place: Path) -> None:
    """A README that build did not write, and an earlier plan if this one is refused."""
    (place / "out").mkdir()
    (place / "out" / "README.md").write_text("# My robot\n")
    _build(place)
    assert (place / "out" / "README.md").read_text() == "# My robot\n"
    plan = (place / "out" / "edgekit.toml").read_text()
    with pytest.raises(UsageError, match="calibration data"):
        _build(place, data=None)
    assert (place / "out" / "edgekit.toml").read_text() == plan


def test_a_compiled_model_is_refused(place: Path) -> None:
    _build(place)
    compiled = place / "out" / "net_edgetpu.tflite"
    with pytest.raises(UnsupportedModelError, match="compiled"):
        build(compiled, output=place / "other")


def test_the_model_in_the_folder_may_be_the_source_only_under_another_name(place: Path) -> None:
    content = (place / "net.tflite").read_bytes()
    (place / "out").mkdir()
    (place / "out" / "net.tflite").write_bytes(content)
    with pytest.raises(UsageError, match="overwrite"):
        build(
            place / "out" / "net.tflite",
            data=place / "calibration.npz",
            output=place / "out",
            options=_OWN,
        )
    assert sha256_hex((place / "out" / "net.tflite").read_bytes()) == sha256_hex(content)


def test_a_build_from_inside_its_folder_keeps_everything(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    build("net.tflite", data="calibration.npz", eval_data="test.npz", output="out", options=_OWN)
    monkeypatch.chdir(place / "out")
    assert set(_statuses(build("edgekit.toml")).values()) == {"kept"}


def test_changed_names_of_classes_are_a_change_of_the_evaluation(place: Path) -> None:
    labels = place / "names.txt"
    labels.write_text("a\nb\nc\nd\ne\n")
    options = {**_OWN, "evaluate": {"labels": str(labels)}}
    _build(place, options=options)
    labels.write_text("a\nb\nc\nd\nf\n")
    changed = _statuses(_build(place, options=options))
    assert (changed["convert"], changed["evaluate"]) == ("kept", "done")


def test_the_readme_has_commands_that_can_be_pasted(place: Path) -> None:
    (place / "net.tflite").rename(place / "my net.tflite")
    given = dict(_OWN, compile={"compiler": str(place / "no-compiler")})
    build(place / "my net.tflite", data=place / "test.npz", output=place / "my out", options=given)
    readme = (place / "my out" / "README.md").read_text()
    assert "edgekit run 'my net.tflite' INPUT\n" in readme
    assert "nothing is compiled" in readme
    with pytest.raises(UsageError, match="folder of an earlier build") as caught:
        build(place / "my out")
    assert f"'{place}/my out/edgekit.toml'" in caught.value.fix


def test_a_pool_is_no_option_of_a_file(place: Path) -> None:
    with pytest.raises(UsageError, match="does not have an option 'pool'"):
        _build(place, options={**_OWN, "evaluate": {"pool": "x"}})
