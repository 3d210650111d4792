# SPDX-License-Identifier: Apache-2.0
"""compile with an edgetpu_compiler that succeeds, fails, crashes, hangs or misreports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit.bundle import bundle
from edgekit.data.describe import with_notes
from edgekit.errors import (
    GateError,
    InputError,
    ModelFormatError,
    OutputError,
    UnsupportedModelError,
    UsageError,
)
from edgekit.explain import CODES
from edgekit.files import sha256_hex
from edgekit.formats.tflite import read_model, write_model
from edgekit.formats.tflite_metadata import Notes, read_notes
from edgekit.host.compiler.errors import CompilerError, ways_to_get_it
from edgekit.host.compiler.log import CompilerLogError
from edgekit.host.compiler.options import CompilerOptions
from edgekit.host.compiler.run import compile as run_compile
from edgekit.host.compiler.run import compile_commands, compile_model
from tests.command import edgekit
from tests.host.compiler.conftest import StandIn, compiled_model


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def _is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _cli(*words: str) -> list[str]:
    return [sys.executable, "-m", "edgekit", "compile", *words]


def test_compile_returns_the_model_its_log_and_all_numbers(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    stand_in.will(stand_in.success("net"))
    result = run_compile([model], out_dir=out, compiler=stand_in.path)
    assert sorted(path.name for path in out.iterdir()) == ["net_edgetpu.log", "net_edgetpu.tflite"]
    assert result.outputs == (str(out / "net_edgetpu.tflite"), str(out / "net_edgetpu.log"))
    assert result.compiler_version == "16.0.384591198"
    (compiled,) = result.models
    assert (compiled.num_mapped, compiled.num_operators) == (2, 3)
    assert compiled.on_chip_bytes == round(2.27 * 1024**2)
    assert compiled.streamed_bytes == 0
    assert [row.opcode for row in compiled.operators] == ["CONV_2D", "GATHER"]
    document = json.loads(result.to_json())
    assert document["schema"] == "edgekit.compile/1"
    assert {"outputs", "compiler_version", "models", "disagreements", "log"} <= set(document)
    assert "compiled successfully" in document["log"]


def test_a_compiled_model_keeps_the_metadata_of_its_source(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    notes = Notes("mean=123.7,std=58", ("cat", "dog"))
    model.write_bytes(with_notes(model.read_bytes(), notes))
    stand_in.will(stand_in.success("net"))
    result = run_compile([model], out_dir=out, compiler=stand_in.path)
    kept = read_notes(Path(result.outputs[0]).read_bytes())
    assert (kept.preprocess, kept.labels) == (notes.preprocess, notes.labels)


def test_the_compiler_gets_the_model_in_a_bundle(
    stand_in: StandIn, model: Path, out: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "packed.edgekit"
    bundle(model, output=packed)
    stand_in.will(stand_in.success("packed"))
    result = run_compile([packed], out_dir=out, compiler=stand_in.path)
    assert stand_in.calls[0]["heads"] == ["TFL3"]
    assert stand_in.calls[0]["words"][-1].endswith("/packed.tflite")
    (compiled,) = result.models
    assert (compiled.model, compiled.output) == (str(packed), str(out / "packed_edgetpu.tflite"))
    assert compiled.sha256 == sha256_hex(model.read_bytes())
    stand_in.will(stand_in.success("packed", mapped=0))
    with pytest.raises(GateError) as caught:
        run_compile([packed], out_dir=out, compiler=stand_in.path)
    assert caught.value.where == str(packed)
    with pytest.raises(UsageError, match="unpacked"):
        compile_commands([packed], compiler=stand_in.path)


@pytest.mark.parametrize(
    "version",
    [
        "1.0.249710469",
        "2.0.267685300",
        "2.1.302470888",
        "14.1.317412892",
        "15.0.340273435",
        "16.0.384591198",
    ],
)
def test_every_version_is_supported(
    stand_in: StandIn, model: Path, out: Path, version: str
) -> None:
    stand_in.version = version
    stand_in.will(stand_in.success("net"))
    result = run_compile([model], out_dir=out, compiler=stand_in.path)
    assert result.compiler_version == version
    assert result.models[0].num_mapped == 2


def test_options_are_passed_to_the_compiler_under_its_own_names(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    stand_in.will(stand_in.success("net"))
    options = CompilerOptions(
        min_runtime_version=13,
        intermediate_tensors="a,b",
        search_delegate=True,
        delegate_search_step=10,
        timeout_sec=60,
        enable_multiple_subgraphs=True,
    )
    run_compile([model], out_dir=out, options=options, compiler=stand_in.path)
    (call,) = stand_in.calls
    words = " ".join(call["words"])
    for part in (
        "--show_operations",
        "--min_runtime_version 13",
        "--intermediate_tensors a,b",
        "--search_delegate",
        "--delegate_search_step 10",
        "--timeout_sec 60",
        "--enable_multiple_subgraphs",
    ):
        assert part in words
    assert words.endswith(str(model))


def test_models_of_one_call_are_compiled_together_in_order(
    stand_in: StandIn, model: Path, tmp_path: Path, out: Path
) -> None:
    second = tmp_path / "two words.tflite"
    second.write_bytes(model.read_bytes())
    stand_in.will(stand_in.success("two words", "net"))
    result = run_compile([second, model], out_dir=out, compiler=stand_in.path)
    assert [Path(each.model).name for each in result.models] == ["two words.tflite", "net.tflite"]
    assert stand_in.calls[0]["words"][-2:] == [str(second), str(model)]


def test_segments_become_files_each_with_its_uncompiled_part(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    stems = ("net_segment_0_of_2", "net_segment_1_of_2")
    run = stand_in.success(*stems)
    run["files"] |= {f"{stem}.tflite": str(model) for stem in stems}
    stand_in.will(run)
    options = CompilerOptions(num_segments=2)
    result = run_compile([model], out_dir=out, options=options, compiler=stand_in.path)
    assert [Path(each.output).stem for each in result.models] == [f"{s}_edgetpu" for s in stems]
    assert len(list(out.iterdir())) == 6


def test_a_segment_that_is_missing_is_an_error(stand_in: StandIn, model: Path, out: Path) -> None:
    stand_in.will(stand_in.success("net_segment_0_of_2"))
    options = CompilerOptions(num_segments=2)
    with pytest.raises(CompilerError, match="segment_1_of_2") as raised:
        run_compile([model], out_dir=out, options=options, compiler=stand_in.path)
    assert raised.value.code == "compiler.damaged_output"
    assert not list(out.iterdir())


FAILURES = [
    ("compiler.not_quantized", "Invalid model: net.tflite\nModel not quantized\n", ""),
    (
        "compiler.op_version",
        "",
        "ERROR: Didn't find op for builtin opcode 'EXP' version '2'\nERROR: Registration failed.\n",
    ),
    (
        "compiler.large_activations",
        "Compilation failed: Compilation failed due to large activation tensors in model.\n"
        "Compilation child process completed within timeout period.\nCompilation failed! \n",
        "",
    ),
    (
        "compiler.silent",
        "Compilation child process completed within timeout period.\nCompilation failed! \n",
        "",
    ),
]


@pytest.mark.parametrize(("code", "stdout", "stderr"), FAILURES, ids=[f[0] for f in FAILURES])
@pytest.mark.parametrize("status", [0, 1])
def test_a_failure_becomes_its_cause_and_its_fix(
    stand_in: StandIn, model: Path, out: Path, code: str, stdout: str, stderr: str, status: int
) -> None:
    head = "Edge TPU Compiler version 16.0.384591198\n"
    stand_in.will({"stdout": head + stdout, "stderr": stderr, "status": status})
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path)
    assert raised.value.code == code
    assert raised.value.why
    assert raised.value.fix
    assert raised.value.exit_status == 5
    assert not list(out.iterdir())
    assert len(stand_in.calls) == 1


def test_a_random_crash_is_tried_again(stand_in: StandIn, model: Path, out: Path) -> None:
    crash = {"stdout": "Edge TPU Compiler version 14.1.317412892\n\n", "status": 1}
    crash["stdout"] = f"{crash['stdout']}Internal compiler error. Aborting! \n"
    stand_in.will(crash, {"signal": signal.SIGSEGV}, stand_in.success("net"))
    result = run_compile([model], out_dir=out, compiler=stand_in.path)
    assert result.num_attempts == 3
    assert "attempt 3" in result.warnings[-1]


def test_a_repeated_crash_is_an_error_that_counts_the_attempts(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    stand_in.will({"stdout": "Internal compiler error. Aborting! \n", "status": 1})
    with pytest.raises(CompilerError, match="in 3 attempts") as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, retries=2)
    assert raised.value.code == "compiler.abort"
    assert len(stand_in.calls) == 3
    assert not list(out.iterdir())


def test_a_signal_is_named(stand_in: StandIn, model: Path, out: Path) -> None:
    stand_in.will({"signal": signal.SIGKILL})
    with pytest.raises(CompilerError, match="SIGKILL") as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path)
    assert "memory" in raised.value.fix
    assert len(stand_in.calls) == 1


def test_an_unknown_line_stops_and_is_shown(stand_in: StandIn, model: Path, out: Path) -> None:
    run = stand_in.success("net")
    run["stdout"] += "Number of elves: 7\n"
    stand_in.will(run)
    with pytest.raises(CompilerLogError, match="Number of elves: 7"):
        run_compile([model], out_dir=out, compiler=stand_in.path)
    assert not list(out.iterdir())


def test_garbage_is_an_error_that_shows_it(stand_in: StandIn, model: Path, out: Path) -> None:
    stand_in.will({"stdout": "\x00\x01 gibberish\n", "status": 0})
    with pytest.raises(CompilerLogError, match="gibberish"):
        run_compile([model], out_dir=out, compiler=stand_in.path)
    stand_in.will({"stdout": "gibberish\n", "status": 9})
    with pytest.raises(CompilerError, match="status 9") as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path)
    assert "gibberish" in raised.value.why


def test_a_compiler_without_output_is_an_error(stand_in: StandIn, model: Path, out: Path) -> None:
    stand_in.will({})
    with pytest.raises(CompilerError, match="for an unknown reason") as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path)
    assert raised.value.code == "compiler.failed"


@pytest.mark.parametrize("cut", [0, 20, 200])
def test_a_file_that_is_half_written_is_refused(
    stand_in: StandIn, model: Path, out: Path, cut: int
) -> None:
    stand_in.will({**stand_in.success("net"), "cut": cut})
    with pytest.raises(CompilerError, match=r"net_edgetpu\.tflite is damaged") as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path)
    assert raised.value.code == "compiler.damaged_output"
    assert not list(out.iterdir())


def test_a_file_without_the_part_for_the_edge_tpu_is_refused(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    run = stand_in.success("net")
    run["files"] = {"net_edgetpu.tflite": str(model)}
    stand_in.will(run)
    with pytest.raises(CompilerError, match="does not contain the operator edgetpu-custom-op"):
        run_compile([model], out_dir=out, compiler=stand_in.path)


def test_a_log_file_that_contradicts_the_output_is_refused(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    run = stand_in.success("net")
    run["logs"] = stand_in.success("net", mapped=1)["logs"]
    stand_in.will(run)
    with pytest.raises(CompilerError, match="has 1 of 3 operations"):
        run_compile([model], out_dir=out, compiler=stand_in.path)


def test_success_with_nothing_mapped_is_an_error(stand_in: StandIn, model: Path, out: Path) -> None:
    stand_in.will(stand_in.success("net", mapped=0))
    with pytest.raises(GateError, match="0 of 3 operations") as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path)
    assert "3 GATHER: Operation not supported" in raised.value.why
    assert raised.value.exit_status == 4
    assert not list(out.iterdir())
    assert run_compile([model], out_dir=out, compiler=stand_in.path, min_mapped=0).outputs


def test_a_share_that_is_too_small_writes_nothing(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    stand_in.will(stand_in.success("net"))
    with pytest.raises(GateError, match="2 of 3 operations"):
        run_compile([model], out_dir=out, compiler=stand_in.path, min_mapped=0.7)
    assert not list(out.iterdir())
    result = run_compile([model], out_dir=out, compiler=stand_in.path, min_mapped=0.6)
    assert result.models[0].mapped_share == pytest.approx(2 / 3)


def test_earlier_files_are_kept_after_a_failure(stand_in: StandIn, model: Path, out: Path) -> None:
    before = out / "net_edgetpu.tflite"
    before.write_bytes(b"the one before")
    stand_in.will({"status": 1})
    with pytest.raises(CompilerError):
        run_compile([model], out_dir=out, compiler=stand_in.path)
    assert before.read_bytes() == b"the one before"


def test_the_deadline_ends_the_compiler_and_its_children(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    stand_in.will({"stdout": "Edge TPU Compiler version 16.0.384591198\n", "hang": True})
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, deadline_s=3)
    assert raised.value.code == "compiler.deadline"
    assert "Edge TPU Compiler version" in raised.value.why
    assert not _is_alive(stand_in.child_pid)
    assert not _is_alive(stand_in.calls[0]["pid"])
    assert not list(out.iterdir())


def test_edgekits_deadline_applies_to_an_old_compiler_without_a_timer(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    stand_in.version = "2.1.302470888"
    stand_in.will({"hang": True})
    options = CompilerOptions(timeout_sec=2)
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, options=options, compiler=stand_in.path)
    assert raised.value.code == "compiler.deadline"
    assert "--timeout_sec" not in stand_in.calls[0]["words"]


def test_an_option_that_the_compiler_is_too_old_for_is_refused(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    stand_in.version = "15.0.340273435"
    stand_in.will(stand_in.success("net"))
    options = CompilerOptions(search_delegate=True)
    with pytest.raises(UsageError, match=r"--search-delegate needs compiler 16\.0, this one is 15"):
        run_compile([model], out_dir=out, options=options, compiler=stand_in.path)


def test_ctrl_c_ends_all_processes_and_leaves_no_file(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    stand_in.will({"hang": True})
    words = _cli(str(model), "-o", str(out), "--compiler", stand_in.path)
    child = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not stand_in.child_pid and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert not _is_alive(stand_in.child_pid)
    assert not list(out.iterdir())


def test_bad_models_and_folders_are_found_before_the_compiler_runs(
    stand_in: StandIn, model: Path, tmp_path: Path, out: Path
) -> None:
    stand_in.will(stand_in.success("net"))
    with pytest.raises(InputError, match="No such file"):
        run_compile([tmp_path / "none.tflite"], out_dir=out, compiler=stand_in.path)
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(model.read_bytes()[:100])
    with pytest.raises(ModelFormatError):
        run_compile([cut], out_dir=out, compiler=stand_in.path)
    done = tmp_path / "done.tflite"
    done.write_bytes(write_model(compiled_model()))
    with pytest.raises(UnsupportedModelError, match="already"):
        run_compile([done], out_dir=out, compiler=stand_in.path)
    with pytest.raises(OutputError, match="does not exist"):
        run_compile([model], out_dir=tmp_path / "no", compiler=stand_in.path)
    assert not (stand_in.folder / "calls.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (CompilerOptions(min_runtime_version=9), "no Edge TPU runtime 9"),
        (CompilerOptions(delegate_search_step=3), "without --search-delegate"),
        (CompilerOptions(intermediate_tensors="a:0"), "2 lists for 1 models"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    stand_in: StandIn, model: Path, options: CompilerOptions, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_compile([model], options=options, compiler=stand_in.path)


def test_segments_of_several_models_and_equal_names_are_refused(
    stand_in: StandIn, model: Path, tmp_path: Path
) -> None:
    other = tmp_path / "sub" / "net.tflite"
    other.parent.mkdir()
    other.write_bytes(model.read_bytes())
    with pytest.raises(UsageError, match="named net"):
        run_compile([model, other], compiler=stand_in.path)
    options = CompilerOptions(num_segments=2)
    with pytest.raises(UsageError, match="needs exactly one model"):
        run_compile([model, tmp_path / "b.tflite"], options=options, compiler=stand_in.path)


def test_the_compiler_is_found_on_path_and_by_the_environment(
    stand_in: StandIn, model: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.will(stand_in.success("net"))
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    monkeypatch.setenv("PATH", f"{stand_in.folder}{os.pathsep}{os.environ['PATH']}")
    assert compile_model(model, out) == out / "net_edgetpu.tflite"
    monkeypatch.setenv("PATH", os.environ["PATH"].split(os.pathsep, 1)[1])
    monkeypatch.setenv("EDGETPU_COMPILER", stand_in.path)
    assert compile_model(model, out) == out / "net_edgetpu.tflite"
    # The compiler runs in another folder: a relative path must not break it.
    monkeypatch.chdir(stand_in.folder)
    monkeypatch.setenv("EDGETPU_COMPILER", "./edgetpu_compiler")
    assert compile_model(model, out) == out / "net_edgetpu.tflite"


def test_without_a_compiler_the_ways_to_one_are_shown(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompilerError, match="no edgetpu_compiler on PATH") as raised:
        run_compile([model])
    assert raised.value.code == "compiler.missing"
    for way in ("--via ssh://", "--via docker:", "Colab"):
        assert way in raised.value.fix
    with pytest.raises(CompilerError, match="at /no/compiler"):
        run_compile([model], compiler="/no/compiler")


def test_a_compiler_for_another_machine_is_an_error(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    Path(stand_in.path).write_bytes(b"\x7fELF of another machine")
    with pytest.raises(CompilerError, match="Exec format error") as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path)
    assert raised.value.code == "compiler.missing"
    assert "--via ssh://" in raised.value.fix


def test_the_first_way_to_a_compiler_fits_the_machine() -> None:
    assert "apt-get install" in ways_to_get_it("Linux", "x86_64", has_apt=True)[0]
    assert "container" in ways_to_get_it("Linux", "x86_64", has_apt=False)[0]
    for system, machine in (("Linux", "aarch64"), ("Darwin", "arm64"), ("Windows", "AMD64")):
        ways = ways_to_get_it(system, machine, has_apt=system == "Linux")
        assert f"this is {system} on {machine}" in ways[0]
        assert not any("apt-get" in way for way in ways)
        assert any("ssh://" in way for way in ways)


def test_a_dry_run_shows_a_command_that_makes_the_files_by_itself(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    stand_in.will(stand_in.success("net"))
    options = CompilerOptions(min_runtime_version=13)
    planned = compile_commands([model], out_dir=out, options=options, compiler=stand_in.path)
    assert not (stand_in.folder / "calls.jsonl").exists()
    (command,) = planned.commands
    assert command[0] == stand_in.path
    subprocess.run(command, check=True, capture_output=True, cwd="/")
    assert read_model(out / "net_edgetpu.tflite").main.operators[0].label == "edgetpu-custom-op"


def test_a_dry_run_needs_no_compiler(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compile_commands([model]).commands[0][0] == "edgetpu_compiler"


def test_the_command_line_prints_the_table_the_json_and_the_code(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        words = (str(model), "-o", str(out), "--compiler", stand_in.path, *words)
        return edgekit("compile", *words)

    stand_in.will(stand_in.success("net"))
    done = run("--min_runtime_version", "13")
    assert done.returncode == 0, done.stderr
    assert "2 of 3 operations (66.7%)" in done.stdout
    assert re.search(r"^GATHER +1 +Operation not supported$", done.stdout, re.MULTILINE)
    document = json.loads(run("--json").stdout)
    assert document["models"][0]["num_mapped"] == 2
    gate = run("--min-mapped", "1", "--json")
    assert gate.returncode == 4
    assert json.loads(gate.stdout)["code"] == "gate.min_mapped"
    stand_in.will({"stdout": "Model not quantized\n", "status": 1})
    failed = run()
    assert failed.returncode == 5
    assert failed.stderr.rstrip().endswith(
        "code: compiler.not_quantized (edgekit explain compiler.not_quantized)"
    )
    dry = run("--dry-run", "--json")
    assert json.loads(dry.stdout)["commands"][0][0] == stand_in.path


def test_a_disagreement_with_check_is_shown_with_a_request(
    stand_in: StandIn, model: Path, out: Path
) -> None:
    """The model has a LOGISTIC, which maps; the stand-in reports convolutions."""
    stand_in.will(stand_in.success("net"))
    result = run_compile([model], out_dir=out, compiler=stand_in.path)
    assert [
        (each.opcode, each.compiler_mapped, each.check_mapped) for each in result.disagreements
    ] == [("CONV_2D", 2, 0), ("LOGISTIC", 0, 1)]
    cut = CompilerOptions(intermediate_tensors="a")
    assert not run_compile([model], out_dir=out, options=cut, compiler=stand_in.path).disagreements
    shown = edgekit("compile", model, "-o", out, "--compiler", stand_in.path).stdout
    assert "the compiler maps 2 CONV_2D, edgekit check 0" in shown
    assert "please report it" in shown


def test_every_code_that_compile_raises_has_a_page() -> None:
    source = "\n".join(
        path.read_text()
        for path in (Path(__file__).parents[3] / "edgekit" / "host" / "compiler").glob("*.py")
    )
    codes = set(re.findall(r'code(?:: str)? ?= ?"([\w.]+)"', source))
    assert len(codes) >= 5
    assert codes <= set(CODES)


@pytest.mark.corpus
def test_recorded_failures_become_their_causes(
    stand_in: StandIn, model: Path, out: Path, corpus: Path
) -> None:
    logs = sorted((corpus.parent / "reference" / "logs").glob("*_fail_*.log"))
    for log in logs:
        stand_in.will({"stdout": log.read_text(), "status": 1})
        with pytest.raises(CompilerError) as raised:
            run_compile([model], out_dir=out, compiler=stand_in.path, retries=0)
        assert raised.value.code in CODES, log.name
        assert raised.value.code != "compiler.failed", log.name
    assert len(logs) >= 12


@pytest.mark.corpus
def test_real_compiled_files_pass_with_their_logs(
    stand_in: StandIn, out: Path, corpus: Path
) -> None:
    """A recorded log and the file that it belongs to, replayed with a report made from the log."""
    num = 0
    for log in sorted(corpus.glob("compiled/*/*_edgetpu.log")):
        compiled = log.with_suffix(".tflite")
        source = Path(str(compiled).replace("_edgetpu.tflite", ".tflite"))
        if not (compiled.is_file() and source.is_file()):
            continue
        rows = log.read_text().splitlines()
        start = next(i for i, line in enumerate(rows) if line.startswith("Operator "))
        stem = source.stem
        stdout = (
            f"{rows[0]}\n\nModel compiled successfully in 1 ms.\n\nInput model: {stem}.tflite\n"
            f"Output model: ./{stem}_edgetpu.tflite\nNumber of Edge TPU subgraphs: 1\n"
        )
        table = "\n".join(rows[start:])
        stand_in.will(
            {
                "stdout": f"{stdout}\n{table}\n",
                "files": {f"{stem}_edgetpu.tflite": str(compiled)},
                "logs": {f"{stem}_edgetpu.log": log.read_text()},
            }
        )
        result = run_compile([source], out_dir=out, compiler=stand_in.path)
        assert result.models[0].num_mapped
        assert not result.disagreements, log.name
        num += 1
    assert num >= 9
