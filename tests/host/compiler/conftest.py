# SPDX-License-Identifier: Apache-2.0
"""A program named edgetpu_compiler that follows a plan, because Google's is not available.

Its texts follow the documented format.
"""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor, write_model
from tests.sshd import server

__all__ = ["server"]

NEWEST = "16.0.384591198"
_SOURCE = """#!{python}
import json, os, pathlib, signal, subprocess, sys, time

home = pathlib.Path(__file__).resolve().parent
plan = json.loads((home / "plan.json").read_text())
words = sys.argv[1:]
if "--version" in words:
    print("Edge TPU Compiler version", plan["version"])
    sys.exit(0)
calls = home / "calls.jsonl"
with calls.open("a") as stream:
    heads = [pathlib.Path(w).read_bytes()[4:8].decode("latin1") for w in words if os.path.isfile(w)]
    call = {{"words": words, "cwd": os.getcwd(), "pid": os.getpid(), "heads": heads}}
    stream.write(json.dumps(call) + "\\n")
number = len(calls.read_text().splitlines()) - 1
run = plan["runs"][min(number, len(plan["runs"]) - 1)]
out = pathlib.Path(words[words.index("--out_dir") + 1])
for name, path in run.get("files", {{}}).items():
    (out / name).write_bytes(pathlib.Path(path).read_bytes()[: run.get("cut")])
for name, text in run.get("logs", {{}}).items():
    (out / name).write_text(text)
sys.stdout.write(run.get("stdout", ""))
sys.stdout.flush()
sys.stderr.write(run.get("stderr", ""))
sys.stderr.flush()
if run.get("hang"):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (home / "child.pid").write_text(str(child.pid))
    child.wait()
if run.get("signal"):
    os.kill(os.getpid(), run["signal"])
sys.exit(run.get("status", 0))
"""


@dataclass
class StandIn:
    """The program and its plan; ``runs`` are its calls, the last one also for all later calls."""

    folder: Path
    version: str = NEWEST

    @property
    def path(self) -> str:
        return str(self.folder / "edgetpu_compiler")

    def will(self, *runs: dict[str, Any]) -> None:
        plan = {"version": self.version, "runs": list(runs)}
        (self.folder / "plan.json").write_text(json.dumps(plan))

    @property
    def calls(self) -> list[dict[str, Any]]:
        calls = self.folder / "calls.jsonl"
        return [json.loads(line) for line in calls.read_text().splitlines()]

    @property
    def child_pid(self) -> int:
        note = self.folder / "child.pid"
        return int(note.read_text()) if note.exists() and note.read_text() else 0

    def success(self, *stems: str, mapped: int = 2, total: int = 3) -> dict[str, Any]:
        """A run that compiles ``stems``, each with ``mapped`` of ``total`` operations."""
        compiled = self.folder / "compiled.bin"
        compiled.write_bytes(write_model(compiled_model() if mapped else plain_model()))
        return {
            "stdout": printed(self.version, stems, mapped, total),
            "files": {f"{stem}_edgetpu.tflite": str(compiled) for stem in stems},
            "logs": {
                f"{stem}_edgetpu.log": logged(self.version, stem, mapped, total) for stem in stems
            },
        }


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "edgetpu_compiler"
    program.write_text(_SOURCE.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return StandIn(folder)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small integer-only .tflite named net.tflite."""
    path = tmp_path / "net.tflite"
    path.write_bytes(write_model(plain_model()))
    return path


def table_rows(mapped: int, total: int) -> str:
    rows = ["", "Operator                       Count      Status", ""]
    if mapped:
        rows.append(f"{'CONV_2D':31}{mapped:<11}Mapped to Edge TPU")
    if total > mapped:
        rows.append(f"{'GATHER':31}{total - mapped:<11}Operation not supported")
    return "\n".join(rows) + "\n"


def logged(version: str, stem: str, mapped: int, total: int) -> str:
    head = f"Edge TPU Compiler version {version}\nInput: {stem}.tflite\n"
    return head + f"Output: ./{stem}_edgetpu.tflite\n" + table_rows(mapped, total)


def printed(version: str, stems: tuple[str, ...], mapped: int, total: int) -> str:
    newest = version.startswith("16.")
    lines = [f"Edge TPU Compiler version {version}"]
    if newest:
        lines.append("Started a compilation timeout timer of 180 seconds.")
    lines += ["", f"Model{'s' * (len(stems) > 1)} compiled successfully in 524 ms.", ""]
    for stem in stems:
        lines += [
            f"Input model: {stem}.tflite",
            "Input size: 1.91MiB",
            f"Output model: ./{stem}_edgetpu.tflite",
            "Output size: 2.52MiB",
            *(["On-chip memory available for caching model parameters: 7.62MiB"] * (not newest)),
            "On-chip memory used for caching model parameters: 2.27MiB",
            *(["On-chip memory remaining for caching model parameters: 1.07MiB"] * newest),
            "Off-chip memory used for streaming uncached model parameters: 0.00B",
            "Number of Edge TPU subgraphs: 1",
            f"Total number of operations: {total}",
            f"Operation log: ./{stem}_edgetpu.log",
        ]
        if mapped < total:
            lines += [
                "",
                "Model successfully compiled but not all operations are supported by the Edge TPU.",
                f"Number of operations that will run on Edge TPU: {mapped}",
                f"Number of operations that will run on CPU: {total - mapped}",
            ]
        lines += [table_rows(mapped, total)]
    if newest:
        lines.append("Compilation child process completed within timeout period.")
        lines.append("Compilation succeeded! ")
    return "\n".join(lines) + "\n"


def plain_model() -> Model:
    return _model(Operator("LOGISTIC", 2, (0,), (1,), builtin_code=14))


def compiled_model() -> Model:
    custom = "edgetpu-custom-op"
    return _model(Operator("CUSTOM", 1, (0,), (1,), custom_code=custom, custom_options=b"\1" * 64))


def _model(operator: Operator) -> Model:
    quantization = Quantization((1 / 256,), (-128,))
    tensors = tuple(Tensor(name, (1, 8), "INT8", 0, quantization) for name in ("in", "out"))
    subgraph = Subgraph(tensors, (0,), (1,), (operator,), "main")
    return Model(subgraphs=(subgraph,), buffers=(np.empty(0, np.uint8),))
