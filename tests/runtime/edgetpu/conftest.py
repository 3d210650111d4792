# SPDX-License-Identifier: Apache-2.0
"""A compiled model, the plain one it belongs to, and a libedgetpu that runs it without a chip."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from edgekit.formats.darwinn import read_package, write_custom_options, write_package
from edgekit.formats.libedgetpu import LIBRARY_VARIABLE
from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor, write_model
from tests.formats.darwinn.conftest import package_of

_WEIGHTS = np.array([[1, 0, 0, 0], [1, 1, 1, 1], [1, -1, 1, -1]], np.int8)
_BIAS = np.array([0, 10, -20], np.int32)
_ONE = Quantization((1.0,), (0,))
_SOURCE = Path(__file__).with_name("delegate.c")
VERSION_14 = "BuildLabel(stand-in), RuntimeVersion(14)"


def _model(operator: Operator, constants: tuple[Tensor, ...] = ()) -> Model:
    ends = (Tensor("x", (1, 4), "INT8", 0, _ONE), Tensor("y", (1, 3), "INT8", 0, _ONE))
    buffers = (np.empty(0, np.uint8), _WEIGHTS.view(np.uint8).ravel(), _BIAS.view(np.uint8))
    graph = Subgraph((*ends, *constants), (0,), (1,), (operator,))
    return Model((graph,), buffers if constants else buffers[:1])


def plain_model() -> Model:
    """A dense layer of 4 to 3 int8 values, all scales 1."""
    options = {"fused_activation_function": "NONE"}
    dense = Operator("FULLY_CONNECTED", 4, (0, 2, 3), (1,), options, "FullyConnectedOptions")
    weights = Tensor("w", (3, 4), "INT8", 1, _ONE)
    return _model(dense, (weights, Tensor("b", (3,), "INT32", 2, _ONE)))


def compiled_model() -> Model:
    """The same as one edgetpu-custom-op; its package needs runtime 14 and contains the weights."""
    parameters = (_WEIGHTS.view(np.uint8) ^ 0x80).tobytes() + bytes(52)
    package = read_package(package_of([0], parameters=parameters))
    return _model(
        Operator(
            "CUSTOM",
            1,
            (0,),
            (1,),
            custom_code="edgetpu-custom-op",
            custom_options=write_custom_options(write_package(package)),
        )
    )


@dataclass(frozen=True)
class Models:
    """Both models as files beside each other, named as the compiler names them."""

    compiled: Path
    plain: Path


@pytest.fixture
def models(tmp_path: Path) -> Models:
    """See `Models`."""
    found = Models(tmp_path / "net_edgetpu.tflite", tmp_path / "net.tflite")
    found.compiled.write_bytes(write_model(compiled_model()))
    found.plain.write_bytes(write_model(plain_model()))
    return found


Build = Callable[..., Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """``build(source=.., version=..)`` compiles a shared library, once for the same words."""
    gcc = shutil.which("gcc")
    if gcc is None or not sys.platform.startswith("linux"):
        pytest.skip("gcc builds the stand-in for libedgetpu, for Linux, and is not here")
    built: dict[tuple[str, str], Path] = {}

    def make(source: str = "", version: str = VERSION_14) -> Path:
        if (source, version) not in built:
            folder = tmp_path_factory.mktemp("library")
            code = folder / "library.c"
            code.write_text(source or _SOURCE.read_text())
            words = [f'-DVERSION="{version}"'] if version else []
            target = folder / "libedgetpu.so.1"
            command = [str(gcc), "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", *words]
            subprocess.run([*command, "-o", str(target), str(code)], check=True)
            built[source, version] = target
        return built[source, version]

    return make


@pytest.fixture
def library(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the working stand-in, set for edgekit; the loader gives a copy a new state."""
    path = tmp_path / "libedgetpu.so.1"
    shutil.copyfile(str(build()), str(path))
    monkeypatch.setenv(LIBRARY_VARIABLE, str(path))
    return path
