# SPDX-License-Identifier: Apache-2.0
"""One inference: images, arrays and labels in, named results out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.data import read_labels
from edgekit.errors import DataError, InputError, UsageError
from edgekit.evaluate import run
from edgekit.evaluate.live import LiveOptions
from edgekit.runtime import Runner
from tests.evaluate.conftest import linear


def test_an_image_an_array_and_both_files_give_the_same_answer(
    int8_path: Path, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(str(tmp_path / "i.png"))
    np.save(str(tmp_path / "i.npy"), pixels)
    np.savez(str(tmp_path / "i.npz"), image=pixels)
    real = pixels.astype(np.float32)[None, :, :, None] / np.float32(255)
    inputs: list[Any] = [tmp_path / "i.png", tmp_path / "i.npy", tmp_path / "i.npz", real]
    result = run(int8_path, inputs)
    tops = [answer.top for answer in result.answers]
    assert tops[0] == tops[1] == tops[2] == tops[3]
    with Runner(int8_path) as runner:
        (scores,) = runner.predict(real)
    assert tops[0][0].index == scores.argmax()
    best_first = sorted(scores[0].tolist(), reverse=True)
    assert [each.score for each in tops[0]] == pytest.approx(best_first, rel=1e-7)


def test_a_file_of_samples_is_run_sample_by_sample(int8_path: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 256, (3, 8, 8), np.uint8)
    np.savez(str(tmp_path / "set.npz"), x=pixels, y=np.arange(3))
    np.savez(str(tmp_path / "split.npz"), x_train=pixels[:1], x_test=pixels, y_test=np.arange(3))
    np.save(str(tmp_path / "set.npy"), pixels[..., None])
    apart = run(int8_path, [each[..., None] for each in pixels])
    assert all(each.top for each in apart.answers)
    for name in ("set.npz", "split.npz", "set.npy"):
        together = run(int8_path, [tmp_path / name])
        assert [each.top for each in together.answers] == [each.top for each in apart.answers]
        sources = [f"{tmp_path / name}[{index}]" for index in range(3)]
        assert [each.source for each in together.answers] == sources
    whole = run(int8_path, [pixels])
    assert [each.top for each in whole.answers] == [each.top for each in apart.answers]


def test_labels_name_the_classes(int8_path: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0 zero\n1  one\n2 two\n3 three\n4 four\n")
    np.save(str(tmp_path / "x.npy"), np.zeros((8, 8), np.uint8))
    result = run(int8_path, [tmp_path / "x.npy"], labels=tmp_path / "labels.txt", top=2)
    names = ["zero", "one", "two", "three", "four"]
    assert [each.label for each in result.answers[0].top] == [
        names[each.index] for each in result.answers[0].top
    ]
    assert len(result.answers[0].top) == 2


def test_a_few_numbers_without_names_are_listed_as_they_are() -> None:
    """They are not probabilities: logits of a classifier or values of a regression."""
    rng = np.random.default_rng(3)
    weights, sample = rng.normal(size=(3, 16)), rng.normal(size=(4, 4)).astype(np.float32)
    model = linear(weights, (1, 4, 4))
    result = run(model, [sample])
    assert result.task == "regression"
    assert "--task classification" in result.recognized_by
    expected = weights @ sample.reshape(16)
    assert result.answers[0].values == pytest.approx(expected.tolist(), rel=1e-5)
    named = run(model, [sample], labels=["a", "b", "c"])
    best = "abc"[int(expected.argmax())]
    assert (named.task, named.answers[0].top[0].label) == ("classification", best)
    many = run(linear(rng.normal(size=(5, 16)), (1, 4, 4)), [sample])
    assert many.task == "classification"


def test_only_the_first_frame_of_an_animation_is_run_with_a_warning(
    int8_path: Path, tmp_path: Path
) -> None:
    frames = [Image.new("L", (8, 8), grey) for grey in (10, 200)]
    frames[0].save(str(tmp_path / "two.gif"), save_all=True, append_images=frames[1:])
    frames[0].save(str(tmp_path / "one.gif"))
    both = run(int8_path, [tmp_path / "two.gif", tmp_path / "one.gif"])
    assert both.answers[0].top == both.answers[1].top != ()
    (warning,) = both.warnings
    assert warning.startswith(f"{tmp_path / 'two.gif'} has several frames: only the first")


def test_the_requested_options_are_in_the_result(int8_path: Path, tmp_path: Path) -> None:
    np.save(str(tmp_path / "x.npy"), np.zeros((8, 8), np.uint8))
    names = tmp_path / "labels.txt"
    names.write_text("zero\none\ntwo\nthree\nfour\n")
    assert run(int8_path, [tmp_path / "x.npy"]).asked == {}
    asked = run(int8_path, [tmp_path / "x.npy"], labels=names, top=2).asked
    assert asked == {"--labels": str(names), "--top": "2"}


def test_labels_of_another_model_are_an_error(int8_path: Path) -> None:
    with pytest.raises(DataError, match="3 labels for 5 classes"):
        run(int8_path, [np.zeros((8, 8), np.uint8)], labels=["a", "b", "c"])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a\nb c\n\n", ["a", "b c"]),
        ("0 x\n2 y z\n", ["x", "", "y z"]),
        ("0: x\n1: y\n", ["x", "y"]),
    ],
)
def test_label_files_can_have_two_forms(tmp_path: Path, text: str, names: list[str]) -> None:
    (tmp_path / "l.txt").write_text(text)
    assert read_labels(tmp_path / "l.txt") == names


def test_errors_name_the_input(int8_path: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    np.save(str(tmp_path / "wide.npy"), np.zeros((3, 3, 3), np.float32))
    for name in ("bad.png", "wide.npy"):
        with pytest.raises(DataError) as caught:
            run(int8_path, [tmp_path / name])
        assert name in caught.value.where
    with pytest.raises(InputError, match="does not exist"):
        run(int8_path, [tmp_path / "none.png"])


def test_nothing_to_run_on_is_a_usage_error(int8_path: Path) -> None:
    with pytest.raises(UsageError):
        run(int8_path, [])


@pytest.mark.parametrize("name", ["drawn.png", "drawn.MP4"])
def test_a_file_name_is_refused_as_the_folder(int8_path: Path, tmp_path: Path, name: str) -> None:
    image = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(str(image))
    with pytest.raises(UsageError, match="is a folder") as refused:
        run(int8_path, [image], output=tmp_path / name)
    assert refused.value.fix == f"-o {tmp_path / 'drawn'}"
    with pytest.raises(UsageError, match="is a folder"):
        LiveOptions(output=tmp_path / name).check()
    assert list(tmp_path.glob("drawn*")) == []
    (tmp_path / name).mkdir()
    assert run(int8_path, [image], output=tmp_path / name).answers[0].picture


def test_pictures_never_replace_the_inputs(int8_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.bmp", "a.png", "b.png"):
        Image.new("L", (8, 8), len(name)).save(str(folder / name))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for inputs in ([folder], [folder / "b.png"], [folder / "a.bmp", folder / "a.png"]):
        with pytest.raises(UsageError, match="would overwrite"):
            run(int8_path, inputs, output=folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
