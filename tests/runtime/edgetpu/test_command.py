# SPDX-License-Identifier: Apache-2.0
"""The commands on an Edge TPU as a user runs them; pycoral, if it is Google's."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.bundle import bundle
from edgekit.formats.libedgetpu import LIBRARY_VARIABLE
from edgekit.formats.model_file import read_model_file
from edgekit.runtime.edgetpu import EdgeTpuBackend
from edgekit.runtime.options import RunnerOptions
from tests.command import edgekit
from tests.runtime.edgetpu.conftest import Build, Models

_CRASHES = "__attribute__((constructor)) static void f(void) { __builtin_trap(); }\n"


def _edgekit(*words: object, **env: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the JSON document of a command."""
    done = edgekit(*words, "--json", env=env)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """One input."""
    path = tmp_path / "x.npy"
    np.save(str(path), np.array([[1, 20, 30, -40]], np.float32))
    return path


@pytest.mark.usefixtures("library")
def test_run_reports_device_library_and_kernel(models: Models, sample: Path) -> None:
    words = ("run", models.compiled, sample, "--device", "usb:0", "--task", "classification")
    status, document = _edgekit(*words)
    assert status == 0
    assert [each["score"] for each in document["answers"][0]["top"]] == [31, 21, 1]
    assert document["device"] == "usb:0"
    assert {"libedgetpu", "kernel", "python"} <= set(document["versions"])
    assert document["thermal"]["max_celsius"] is None
    assert "not measured" in document["thermal"]["note"]


@pytest.mark.usefixtures("library")
def test_a_compiled_model_in_a_bundle_runs_with_its_class_names(
    models: Models, sample: Path, tmp_path: Path
) -> None:
    """Labels and normalization are in both models of the bundle."""
    (tmp_path / "names.txt").write_text("cat\ndog\nhorse\n")
    bundle(
        models.plain,
        compiled=models.compiled,
        labels=tmp_path / "names.txt",
        preprocess="raw",
        output=tmp_path / "net.edgekit",
    )
    with zipfile.ZipFile(tmp_path / "net.edgekit") as archive:
        archive.extract("model_edgetpu.tflite", tmp_path)
    status, document = _edgekit("run", tmp_path / "model_edgetpu.tflite", sample, "--device", "usb")
    assert status == 0
    assert [each["label"] for each in document["answers"][0]["top"]] == ["horse", "dog", "cat"]
    assert document["preprocess"].startswith("raw")


@pytest.mark.parametrize(
    ("version", "usable"),
    [("RuntimeVersion(14)", True), ("RuntimeVersion(13)", False), ("", None)],
)
def test_verify_compares_what_a_bundle_needs_with_the_library_here(
    models: Models, build: Build, tmp_path: Path, version: str, usable: bool | None
) -> None:
    """An old library is not an error of the bundle: another machine may have a newer one."""
    output = tmp_path / "net.edgekit"
    bundle(models.plain, compiled=models.compiled, output=output)
    library = str(build(version=version))
    status, document = _edgekit("verify", output, **{LIBRARY_VARIABLE: library})
    assert status == 0
    fits = {each["what"]: each for each in document["here"]}
    assert fits["edgetpu_runtime"]["usable"] is usable
    assert "runtime 14" in fits["edgetpu_runtime"]["needs"]
    assert fits["edgekit"]["usable"] is fits["tensorflow_lite"]["usable"] is True


@pytest.mark.parametrize(("version", "status"), [(14, "ok"), (13, "failed")])
def test_the_doctor_runs_a_model_like_run(
    models: Models, build: Build, version: int, status: str
) -> None:
    library = str(build(version=f"RuntimeVersion({version})"))
    words = ("doctor", "--model", models.compiled)
    document = _edgekit(*words, **{LIBRARY_VARIABLE: library})[1]
    (check,) = (each for each in document["checks"] if each["code"] == "inference.model")
    assert check["status"] == status
    assert ("needs Edge TPU runtime 14" in check["seen"]) is (status == "failed")


@pytest.mark.parametrize("source", ["int nothing(void) { return 0; }\n", _CRASHES])
def test_verify_works_without_a_library_that_loads(
    models: Models, build: Build, tmp_path: Path, source: str
) -> None:
    output = tmp_path / "net.edgekit"
    bundle(models.plain, compiled=models.compiled, output=output)
    status, document = _edgekit("verify", output, **{LIBRARY_VARIABLE: str(build(source))})
    assert status == 0
    assert document["here"][-1]["has"].startswith("no libedgetpu here: ")
    assert document["here"][-1]["usable"] is None


@pytest.mark.usefixtures("library")
def test_benchmark_waits_for_a_slow_device(models: Models) -> None:
    words = ("benchmark", models.compiled, "--device", "usb", "--num-runs", 5)
    status, document = _edgekit(*words, STANDIN_SLOW_MS="20")
    assert status == 0
    assert document["latency_ms"]["min"] >= 20


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("command", ["evaluate", "benchmark"])
def test_inferences_that_become_slower_are_reported_as_a_lowered_clock(
    models: Models, tmp_path: Path, command: str
) -> None:
    """A device on USB does not have a temperature sensor."""
    np.savez(str(tmp_path / "d.npz"), x=np.zeros((60, 4), np.float32), y=np.zeros(60, np.int64))
    options = {
        "evaluate": ("--data", tmp_path / "d.npz"),
        "benchmark": ("--num-runs", 60, "--warmup-runs", 0),
    }
    words = (command, models.compiled, *options[command], "--device", "usb")
    slow = {"STANDIN_SLOW_MS": "40", "STANDIN_SLOW_AFTER": "30"}
    assert _edgekit(*words, **slow)[1]["thermal"]["throttled"] is True
    # Much longer than the delay of a busy machine.
    assert _edgekit(*words, STANDIN_SLOW_MS="40")[1]["thermal"]["throttled"] is False


@pytest.mark.usefixtures("library")
def test_a_crash_is_exit_status_6(models: Models, sample: Path) -> None:
    words = ("run", models.compiled, sample, "--device", "usb")
    status, document = _edgekit(*words, STANDIN_CRASH="prepare")
    assert status == 6
    assert (document["schema"], document["code"]) == ("edgekit.error/1", "device")


@pytest.mark.usefixtures("library")
def test_a_lost_device_is_exit_status_6(models: Models) -> None:
    words = ("benchmark", models.compiled, "--device", "usb")
    status, document = _edgekit(*words, STANDIN_LOST_AFTER="4")
    assert (status, document["code"]) == (6, "device.lost")
    status, document = _edgekit(*words, "--recover", STANDIN_LOST_AFTER="4")
    assert (status, document["runs"]) == (0, 50)


@pytest.mark.usefixtures("library")
def test_a_device_that_hangs_during_a_run_is_abandoned(models: Models, tmp_path: Path) -> None:
    samples = np.ones((20, 4), np.float32)
    np.savez(str(tmp_path / "d.npz"), x=samples, y=np.zeros(20, np.int64))
    hangs = {"STANDIN_SLOW_MS": "600000", "STANDIN_SLOW_AFTER": "3"}
    for words in (("benchmark", models.compiled), ("evaluate", models.compiled, "--data", "d.npz")):
        given = [tmp_path / word if word == "d.npz" else word for word in words]
        status, document = _edgekit(*given, "--device", "usb", "--timeout-sec", 1, **hangs)
        assert (status, document["code"]) == (6, "device.hung")
        assert "plug" in document["fix"]
        assert "nothing of this command holds the device" in document["why"]


@pytest.mark.usefixtures("library")
def test_a_device_that_responds_in_time_runs_as_without_a_limit(
    models: Models, sample: Path
) -> None:
    words = ("run", models.compiled, sample, "--device", "usb", "--task", "classification")
    status, document = _edgekit(*words, "--timeout-sec", 60)
    assert status == 0
    assert [each["score"] for each in document["answers"][0]["top"]] == [31, 21, 1]
    assert "in a process of its own because of the time limit" in document["kernels_note"]


@pytest.mark.usefixtures("library")
def test_a_device_that_hangs_when_it_is_closed_does_not_lose_the_result(
    models: Models, sample: Path, tmp_path: Path
) -> None:
    hangs = {"STANDIN_HANG": "destroy", "STANDIN_ARMED": str(tmp_path / "armed")}
    words = ("run", models.compiled, sample, "--device", "usb", "--task", "classification")
    done = edgekit(*words, "--timeout-sec", 0.5, "--json", env=hangs)
    assert done.returncode == 0
    assert [each["score"] for each in json.loads(done.stdout)["answers"][0]["top"]] == [31, 21, 1]
    assert "warning: the Edge TPU did not respond within 0.5 s: closing it" in done.stderr


@pytest.mark.usefixtures("library")
def test_a_bundle_has_both_models(models: Models, sample: Path, tmp_path: Path) -> None:
    bundle(models.plain, compiled=models.compiled, output=tmp_path / "net.edgekit")
    words = ("run", tmp_path / "net.edgekit", sample, "--task", "classification", "--device")
    answers = {}
    for device in ("usb", "cpu", "auto"):
        status, document = _edgekit(*words, device)
        assert status == 0
        answers[document["device"]] = document["answers"][0]["top"]
    assert answers["usb"] == answers["cpu"] == answers["edgetpu"] != []
    status, document = _edgekit(*words, "usb", "--fallback", STANDIN_NO_DEVICE="1")
    assert (status, document["device"]) == (0, "cpu")
    status, document = _edgekit(*words, "usb", STANDIN_NO_DEVICE="1")
    assert status == 6
    assert "--fallback runs the plain model of the bundle" in document["fix"]


def test_temperatures_of_a_card_are_recorded(models: Models, library: Path, tmp_path: Path) -> None:
    assert library.is_file()
    card = tmp_path / "sys" / "class" / "apex" / "apex_1"
    card.mkdir(parents=True)
    (card / "temp").write_text("48300\n")
    (card / "trip_point0_temp").write_text("85000\n")
    options = RunnerOptions(device="pci:1")
    backend = EdgeTpuBackend(read_model_file(models.compiled), options, sysfs=tmp_path / "sys")
    (card / "temp").write_text("91000\n")
    thermal = backend.environment.thermal
    backend.close()
    assert thermal is not None
    assert (thermal.start_celsius, thermal.max_celsius) == (48.3, 91.0)
    assert thermal.throttled


_PYCORAL = """
import os
from tflite_runtime.interpreter import Interpreter, load_delegate
def make_interpreter(path_or_content, device=None, delegate=None):
    delegate = load_delegate(os.environ["STANDIN_LIBRARY"], {"device": device} if device else {})
    return Interpreter(model_content=path_or_content, experimental_delegates=[delegate])
"""


def test_googles_pycoral_opens_the_model_if_it_is_installed(
    models: Models, library: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules that stand in for pycoral, and for tflite_runtime if LiteRT is installed."""
    packages = tmp_path / "packages"
    (packages / "pycoral" / "utils").mkdir(parents=True)
    (packages / "pycoral" / "__init__.py").write_text('__version__ = "2.0.0"\n')
    (packages / "pycoral" / "utils" / "__init__.py").write_text("")
    (packages / "pycoral" / "utils" / "edgetpu.py").write_text(_PYCORAL)
    if importlib.util.find_spec("tflite_runtime") is None:
        (packages / "tflite_runtime").mkdir()
        (packages / "tflite_runtime" / "__init__.py").write_text('__version__ = "2.17.1"\n')
        (packages / "tflite_runtime" / "interpreter.py").write_text(
            "from ai_edge_litert.interpreter import *\n"
        )
    monkeypatch.delenv(LIBRARY_VARIABLE)
    status, document = _edgekit(
        *("run", models.compiled, sample, "--device", "pci:1"),
        PYTHONPATH=str(packages),
        LD_LIBRARY_PATH=str(library.parent),
        STANDIN_LIBRARY=str(library),
        STANDIN_LOG=str(tmp_path / "events"),
    )
    assert status == 0
    assert document["runtime"] == "tflite-runtime"
    assert document["versions"]["pycoral"] == "2.0.0"
    assert (tmp_path / "events").read_text().count("option device=pci:1") == 2
