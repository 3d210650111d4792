# SPDX-License-Identifier: Apache-2.0
"""The complete demo: four conversions, evaluated, benchmarked, drawn, and compiled if possible."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.building.demo import demo, load_digits, load_mnist
from edgekit.errors import DataError, OutputError, UsageError

pytestmark = [pytest.mark.host, pytest.mark.slow]


def test_the_demo_writes_all_its_files(run_pages: Callable[[str], Path]) -> None:
    """The demo that the quick start runs."""
    folder = run_pages("quick-start") / "docs" / "quick-start.md" / "demo-out"
    result = json.loads((folder / "results.json").read_text())
    models = {model["mode"]: model for model in result["models"]}
    assert list(models) == ["float", "dynamic", "float-fallback", "int8"]
    assert [models[mode]["edge_tpu"] for mode in models] == [False, False, False, True]
    assert all(models[mode]["reason"] for mode in models if mode != "int8")
    assert models["int8"]["ratio"] > 3.4
    assert models["int8"]["input_dtype"] == models["int8"]["output_dtype"] == "uint8"
    assert result["accuracy"]["metrics"]["top1"] > 0.93
    assert result["accuracy"]["against"]["agreement"] > 0.98
    assert result["compiled"] == "demo-out/digits_edgetpu.tflite"
    assert (result["compiler"], result["not_compiled"]) == ("edgekit", None)
    assert (folder / "digits_edgetpu.tflite").is_file()
    for mode in models:
        path = folder.parent / models[mode]["path"]
        assert path.stat().st_size == models[mode]["bytes"]
    statuses = {step["name"]: step["status"] for step in result["build"]["steps"]}
    assert set(statuses.values()) == {"done"}
    for name in statuses:
        document = json.loads((folder / f"{name}.json").read_text())
        assert document["schema"].startswith("edgekit.")
    assert (folder / "edgekit.toml").is_file()
    assert result["report"] == "demo-out/report.html"
    page = (folder / "report.html").read_text()
    assert "The compiler maps 7 of 7 operators" in page
    assert page.count("data:image/png") == 1
    with Image.open(folder / "answers.png") as picture:
        assert picture.size[0] > 800


def test_the_digits_are_disjoint_halves_of_the_set() -> None:
    digits = load_digits()
    assert digits.x_train.shape == (1437, 28, 28)
    assert digits.x_test.shape == (360, 28, 28)
    assert digits.x_train.dtype == np.uint8
    train = {image.tobytes() for image in digits.x_train}
    assert not train & {image.tobytes() for image in digits.x_test}


def test_a_file_that_is_not_mnist_is_a_data_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="not MNIST"):
        load_mnist(tmp_path / "m.npz")
    with pytest.raises(DataError, match="does not exist"):
        load_mnist(tmp_path / "none.npz")


def test_wrong_arguments_end_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no data set"):
        demo(tmp_path, dataset="cifar")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        demo(tmp_path / "file")


class _TrainingError(Exception):
    pass


@pytest.mark.corpus
def test_mnist_is_trained_for_five_epochs_by_default(corpus: Path, tmp_path: Path) -> None:
    def stop(step: str) -> None:
        if step.startswith("training"):
            raise _TrainingError(step)

    with pytest.raises(_TrainingError, match=r"^training on 60000 images, 5 epochs$"):
        demo(tmp_path, mnist=corpus / "mnist" / "mnist.npz", on_step=stop)


@pytest.mark.corpus
def test_mnist_loses_at_most_a_tenth_of_a_point(corpus: Path, tmp_path: Path) -> None:
    result = demo(tmp_path, mnist=corpus / "mnist" / "mnist.npz", epochs=2)
    assert (result.num_test, result.epochs) == (10_000, 2)
    assert result.accuracy["metrics"]["top1"] > 0.97
    assert result.accuracy["against"]["difference"]["top1"] >= -0.0010
    assert {model.mode: model.ratio for model in result.models}["int8"] >= 3.4
