# SPDX-License-Identifier: Apache-2.0
"""Libraries that crash, hang, refuse, are too old or not a delegate: each a clear error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgekit.errors import DeviceError
from edgekit.formats.libedgetpu import LIBRARY_VARIABLE
from edgekit.formats.model_file import read_model_file
from edgekit.runtime import Runner
from edgekit.runtime.edgetpu import EdgeTpuBackend
from edgekit.runtime.options import RunnerOptions
from tests.runtime.edgetpu.conftest import Build, Models


def _refused(models: Models) -> DeviceError:
    with pytest.raises(DeviceError) as refused:
        Runner(models.compiled, "usb")
    return refused.value


@pytest.mark.parametrize(
    ("step", "doing"),
    [
        ("load", "loading libedgetpu"),
        ("create", "opening the device and preparing the model"),
        ("prepare", "opening the device and preparing the model"),
        ("invoke", "running the model"),
    ],
)
def test_a_crash_reports_the_step_both_versions_and_a_pair_that_works(
    models: Models, library: Path, monkeypatch: pytest.MonkeyPatch, step: str, doing: str
) -> None:
    monkeypatch.setenv("STANDIN_CRASH", step)
    error = _refused(models)
    assert error.what == f"the Edge TPU's library was ended by SIGSEGV while {doing}"
    assert str(library) in error.where
    assert ("runtime 14" if step != "load" else "of unknown version") in error.why
    with Runner(models.plain) as runner:
        distribution, version = next(iter(runner.environment.versions.items()))
    assert f"with {distribution} {version}" in error.why
    assert "2.11.1" in error.why
    wanted = "tflite-runtime==2.11.0" if sys.version_info < (3, 10) else "16.0tf2.17.1"
    assert wanted in error.fix


@pytest.mark.parametrize(
    ("step", "doing"),
    [
        ("load", "loading libedgetpu"),
        ("create", "opening the device and preparing the model"),
        ("invoke", "running the model"),
        ("destroy", "closing the device"),
    ],
)
def test_a_library_that_hangs_is_abandoned(
    models: Models, library: Path, monkeypatch: pytest.MonkeyPatch, step: str, doing: str
) -> None:
    """The limit is for the call into the library: starting Python is not counted."""
    assert library.is_file()
    monkeypatch.setenv("STANDIN_HANG", step)
    options = RunnerOptions(device="usb", timeout_s=0.5)
    with pytest.raises(DeviceError) as refused:
        EdgeTpuBackend(read_model_file(models.compiled), options)
    error = refused.value
    assert error.code == "device.hung"
    assert error.what == f"the Edge TPU did not respond within 0.5 s: {doing} was abandoned"
    assert "was ended, so nothing of this command holds the device" in error.why
    assert "edgekit doctor" in error.fix


def test_a_library_without_a_device_is_not_a_crash(
    models: Models, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_NO_DEVICE", "1")
    error = _refused(models)
    assert error.what == "libedgetpu is installed but does not find a device"
    assert "Failed to load delegate" in error.why


def test_a_library_that_is_too_old_is_reported_before_it_opens_the_device(
    models: Models, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = build(version="BuildLabel(stand-in), RuntimeVersion(13)")
    monkeypatch.setenv(LIBRARY_VARIABLE, str(old))
    monkeypatch.setenv("STANDIN_LOG", str(tmp_path / "events"))
    error = _refused(models)
    assert error.what == "the model needs Edge TPU runtime 14, libedgetpu here is runtime 13"
    assert "--min-runtime-version 13" in error.fix
    assert "create" not in (tmp_path / "events").read_text()


def test_a_library_that_does_not_report_its_version_is_tried(
    models: Models, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, str(build(version="")))
    with Runner(models.compiled, "usb") as runner:
        assert runner.environment.versions["libedgetpu"] == "of unknown version"


def test_a_library_that_is_not_a_delegate_is_refused(
    models: Models, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, str(build("int nothing(void) { return 0; }\n")))
    assert _refused(models).what == "the library is not a TensorFlow Lite delegate"


def test_a_library_that_ends_the_process_is_reported(
    models: Models, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "#include <stdlib.h>\n__attribute__((constructor)) void f(void) { exit(3); }\n"
    monkeypatch.setenv(LIBRARY_VARIABLE, str(build(source)))
    assert "ended with exit status 3 while loading libedgetpu" in _refused(models).what


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.so", None, "cannot open shared object file"),
        ("page.so", b"<html>Not Found</html>" * 9, "invalid ELF header"),
    ],
)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these are the words of Linux")
def test_a_library_that_cannot_be_loaded_is_reported(
    models: Models,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes | None,
    said: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    monkeypatch.setenv(LIBRARY_VARIABLE, str(tmp_path / name))
    assert said in _refused(models).why


def test_without_a_library_the_missing_package_is_named(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, "libedgetpu-absent.so.1")
    assert _refused(models).exit_status == 6
