# SPDX-License-Identifier: Apache-2.0
"""A short ladder, and a libedgetpu that answers as the emulator does, with faults on command."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
import pytest

from edgekit.chip.emulator.machine import EdgeTpu
from edgekit.confirm import ConfirmOptions
from edgekit.confirm.ladder import Rung, make_rung, write_ladder
from edgekit.confirm.run import run_ladder
from edgekit.doctor.machine import Machine
from edgekit.formats.darwinn import read_packages
from edgekit.formats.libedgetpu import LIBRARY_VARIABLE
from edgekit.formats.tflite import is_edgetpu_operator, read_model
from tests.runtime.edgetpu.conftest import Build, build

__all__ = ["build"]

# Two rungs inside the vocabulary and three with forms that are new.
NUMBERS = (12, 13, 29, 30, 31)
# As libedgetpu's builds report themselves.
GOOGLES = "BuildLabel(COMPILER=6.3.0 20170516,DATE=redacted,TIME=redacted), RuntimeVersion(14)"


@dataclass(frozen=True)
class Short:
    """A ladder of `NUMBERS` in a folder, and the stand-in's answers to it."""

    folder: Path
    answers: Path
    rungs: Sequence[Rung]

    def program(self, index: int) -> str:
        """The stand-in's name of a rung's program, for STANDIN_AT."""
        return f"{fnv1a(_options(self.rungs[index])):016x}"


def fnv1a(content: bytes) -> int:
    """The 64-bit hash of the stand-in."""
    value = 0xCBF29CE484222325
    for byte in content:
        value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return value


def _options(rung: Rung) -> bytes:
    (operator,) = filter(is_edgetpu_operator, read_model(rung.content).main.operators)
    return bytes(operator.custom_options)


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Short:
    """See `Short`."""
    place = tmp_path_factory.mktemp("ladder")
    made = Short(place / "rungs", place / "answers", [make_rung(number) for number in NUMBERS])
    write_ladder(made.rungs, made.folder)
    made.answers.mkdir()
    for index, rung in enumerate(made.rungs):
        model = read_model(rung.content)
        chip = EdgeTpu(read_packages(model)[0].package)
        names = [
            [model.main.tensors[i].name for i in ends]
            for ends in (model.main.inputs, model.main.outputs)
        ]
        for values in rung.arrays:
            outputs = chip.invoke({names[0][0]: values})
            name = f"{made.program(index)}-{fnv1a(values.tobytes()):016x}"
            (made.answers / name).write_bytes(np.ascontiguousarray(outputs[names[1][0]]).tobytes())
    return made


@pytest.fixture
def library(
    build: Build,
    short: Short,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """An honest stand-in; the loader gives a copy a new state."""
    return _use_library(build, short, tmp_path, monkeypatch)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that lists a USB Accelerator."""
    return _machine_with_usb(tmp_path / "root")


@pytest.fixture(scope="session")
def honest(
    build: Build,
    short: Short,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The report of a chip that matched on all rungs."""
    folder = tmp_path_factory.mktemp("honest")
    output, options = folder / "report.json", ConfirmOptions(ladder=short.folder)
    with pytest.MonkeyPatch.context() as patch:
        _use_library(build, short, folder, patch)
        run_ladder(output, options, machine=_machine_with_usb(folder / "root"))
    return output.read_text()


def _use_library(
    build: Build,
    short: Short,
    folder: Path,
    patch: pytest.MonkeyPatch,
) -> Path:
    path = folder / "libedgetpu.so.1"
    shutil.copyfile(str(build(version=GOOGLES)), str(path))
    patch.setenv(LIBRARY_VARIABLE, str(path))
    patch.setenv("STANDIN_ANSWERS", str(short.answers))
    return path


def _machine_with_usb(root: Path) -> Machine:
    folder = root / "sys" / "bus" / "usb" / "devices" / "2-1"
    folder.mkdir(parents=True)
    for name, value in (("idVendor", "18d1"), ("idProduct", "9302"), ("speed", "5000")):
        (folder / name).write_text(f"{value}\n")
    return Machine(root)
