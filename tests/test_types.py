# SPDX-License-Identifier: Apache-2.0
"""A user's file under ``mypy --strict`` sees edgekit's types, as they are installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy is not installed")

# Expression -> its revealed type.
_RIGHT = {
    'edgekit.convert("net.keras", data="photos", output="net.tflite")': (
        "edgekit.host.convert.result.ConvertResult"
    ),
    "converted.output": "str",
    "converted.agreement": "edgekit.evaluate.outputs.Agreement | None",
    'edgekit.check("net.keras", batch_size=2)': "edgekit.edgetpu.report.CheckReport",
    "report.mapped_share": "float",
    "report.operators": "tuple[edgekit.edgetpu.support.OperatorVerdict, ...]",
    'edgekit.Runner("net.tflite", "cpu", num_threads=2)': "edgekit.runtime.runner.Runner",
    "runner.inputs[0].shape": "tuple[int, ...]",
    "runner.predict(image)": "tuple[numpy.ndarray[tuple[Any, ...], numpy.dtype[Any]], ...]",
    'edgekit.evaluate("net.tflite", "photos")': "edgekit.evaluate.result.EvaluateResult",
    "result.metrics": "typing.Mapping[str, float]",
    "result.against": "edgekit.evaluate.result.Comparison | None",
    'edgekit.run("net.tflite", ["a.png"])': "edgekit.evaluate.run.RunResult",
    'edgekit.emulate("net.tflite", [image], top=3)': "edgekit.evaluate.emulate.EmulateResult",
    'edgekit.benchmark("net.tflite")': "edgekit.evaluate.benchmark.BenchmarkResult",
    'edgekit.tune("net.keras", data="a", eval_data="b", output="t.tflite", max_drop=1)': (
        "edgekit.host.tune.result.TuneResult"
    ),
    "tuned.trials[0].score": "edgekit.host.tune.score.Score | None",
    'edgekit.train("net.keras", data="a", eval_data="b", output="t.tflite", train_batch=8)': (
        "edgekit.host.train.result.TrainResult"
    ),
    'edgekit.build("net.keras", data="a", output="out", is_forced=True)': (
        "edgekit.building.result.BuildResult"
    ),
    "built.steps[0].outputs": "tuple[str, ...]",
    'edgekit.plan("net.tflite", num_tpus=3)': "edgekit.opencompiler.plan.PlanResult",
    'edgekit.debug("net.keras", "net.tflite", "photos")': "edgekit.debug.result.DebugResult",
    'edgekit.compile("net.tflite")': ("edgekit.opencompiler.result.CompileResult"),
    'edgekit.fix("net.tflite", output="f.tflite")': "edgekit.fix.result.FixResult",
    'edgekit.estimate("net.tflite")': "edgekit.edgetpu.estimate.Estimate",
    'edgekit.inspect("net.tflite")': "edgekit.inspect.result.InspectResult",
    'edgekit.bundle("net.tflite", output="n.edgekit")': "edgekit.bundle.pack.BundleResult",
    'edgekit.verify("n.edgekit")': "edgekit.bundle.verify.VerifyResult",
    'edgekit.deploy("n.edgekit", "board")': "edgekit.fleet.result.DeployResult",
    'edgekit.explain("invalid value")': "edgekit.explain.explain.ExplainResult",
    "edgekit.doctor()": "edgekit.doctor.result.DoctorResult",
    "edgekit.__version__": "str",
}
_HEAD = """
import numpy as np

import edgekit

image = np.zeros((1, 8, 8, 1), np.float32)
converted = edgekit.convert("net.keras", data="photos", output="net.tflite", num_samples=10)
report = edgekit.check("net.tflite")
result = edgekit.evaluate("net.tflite", "photos", against="float.tflite")
tuned = edgekit.tune("net.keras", data="a", eval_data="b", output="t.tflite")
built = edgekit.build("net.keras", data="a", output="out")
with edgekit.Runner("net.tflite") as runner:
    runner.invoke(image)
try:
    runner.reset()
except edgekit.EdgeKitError as error:
    print(error.code)
"""
# A wrong line -> the code of mypy's error.
_WRONG = {
    'edgekit.convert("net.keras", data="photos")': "call-arg",
    'edgekit.convert("net.keras", output="net.tflite", num_samples="all")': "arg-type",
    'edgekit.check("net.tflite", target="14")': "arg-type",
    'edgekit.tune("net.keras", data="a", output="t.tflite")': "call-arg",
    'edgekit.train("net.keras", data="a", eval_data="b", output="t", epochs="2")': "arg-type",
    'edgekit.build("net.keras", datas="a", output="out")': "call-arg",
    'edgekit.plan("net.tflite", num_tpus="2")': "arg-type",
    'edgekit.debug("a.tflite", "b.tflite", "photos", batch="1")': "call-arg",
    'edgekit.check("net.keras", input_shap="1,2")': "call-arg",
    'edgekit.check("net.keras", batch_size="2")': "arg-type",
    "edgekit.Runner(3)": "arg-type",
    'edgekit.Runner("net.tflite", threads=3)': "call-arg",
    'runner.predict(image, keep="yes")': "call-arg",
    'edgekit.evaluate("net.tflite", "photos", num_samples="all")': "arg-type",
    'edgekit.evaluate("net.tflite")': "call-arg",
    'edgekit.emulate("net.tflite", [image], tops=3)': "call-arg",
    "result.metric": "attr-defined",
    'result.metrics["top1"].lower()': "attr-defined",
    "edgekit.convrt": "attr-defined",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The messages of mypy for each line of a user's file."""
    folder = tmp_path_factory.mktemp("user")
    lines = [*_HEAD.splitlines(), *(f"reveal_type({each})" for each in _RIGHT), *_WRONG]
    (folder / "user.py").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder), "user.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for number, text in re.findall(r"^user\.py:(\d+): (.*)$", done.stdout, re.MULTILINE):
        found.setdefault(lines[int(number) - 1], []).append(text)
    return found


@pytest.mark.parametrize("expression", _RIGHT)
def test_each_function_returns_its_type(said: dict[str, list[str]], expression: str) -> None:
    assert said[f"reveal_type({expression})"] == [f'note: Revealed type is "{_RIGHT[expression]}"']


@pytest.mark.parametrize("line", _WRONG)
def test_a_wrong_argument_or_name_is_an_error(said: dict[str, list[str]], line: str) -> None:
    errors = [each for each in said.get(line, ()) if each.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].endswith(f"[{_WRONG[line]}]")


def test_the_type_checker_reports_no_other_errors(said: dict[str, list[str]]) -> None:
    """In particular not the message of a missing py.typed, that edgekit does not have types."""
    assert not set(said) - set(_WRONG) - {f"reveal_type({each})" for each in _RIGHT}


def test_the_marker_of_the_types_is_next_to_the_code() -> None:
    import edgekit  # noqa: PLC0415 - its folder only

    assert (Path(edgekit.__file__).parent / "py.typed").is_file()
