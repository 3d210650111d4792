# SPDX-License-Identifier: Apache-2.0
"""A recipe's file, and what `convert` makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import InputError, UsageError
from edgekit.formats.tflite import write_model
from edgekit.host.convert import convert
from edgekit.host.convert.recipe import Recipe, read_recipe
from tests.host.convert.improve.float_graph import FloatGraph

RECIPES = [
    Recipe(),
    Recipe(improvements=()),
    Recipe(num_samples=7, improvements=("equalize", "dense"), ranges="percentile:99.9"),
    Recipe(tensors=(('a/b:0 "x"', "mse"), ("c", "percentile:99")), sample_set=2),
    Recipe(round_weights=True, correct_biases=True),
    Recipe(clip_logits=True, replace_activations="gelu=relu6,elu=mappable"),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_recipe_is_read_as_it_was_written(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml())
    assert read_recipe(path) == recipe


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("schema = ", "not TOML"),
        ("num_samples = 3\n", "schema is None"),
        ('schema = "edgekit.recipe/1"\nspeed = 3\n', "unknown field speed"),
        ('schema = "edgekit.recipe/1"\nnum_samples = true\n', "num_samples of the recipe is True"),
        ('schema = "edgekit.recipe/1"\nnum_samples = 0\n', "num_samples of the recipe is 0"),
        ('schema = "edgekit.recipe/1"\nclip_logits = 1\n', "clip_logits of the recipe is 1"),
        ('schema = "edgekit.recipe/1"\nranges = "wide"\n', "'wide' is unknown"),
        ('schema = "edgekit.recipe/1"\ntensors = 3\n', "expected a table of texts"),
        ('schema = "edgekit.recipe/1"\n[tensors]\na = "wide"\n', "'wide' is unknown"),
        ('schema = "edgekit.recipe/1"\nimprovements = ["all"]\n', "expected a list of these"),
    ],
)
def test_another_file_is_refused(text: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=named) as caught:
        read_recipe(path)
    assert caught.value.where == str(path)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A float network with its samples beside it."""
    g = FloatGraph((1, 8, 8, 4), 1)
    x = g.conv(g.depthwise(g.input), 8, 1, "RELU")
    path = tmp_path / "float.tflite"
    path.write_bytes(write_model(g.model(g.dense(x, 4))))
    samples = g.random.normal(size=(60, 8, 8, 4)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=samples)
    return path


@pytest.mark.host
@pytest.mark.usefixtures("kept_converter")
def test_a_recipe_gives_the_bytes_of_the_options_that_it_states(
    network: Path, tmp_path: Path
) -> None:
    data = network.with_name("samples.npz")
    rule = "percentile:99.9"
    first = convert(network, data=data, output=tmp_path / "a.tflite", num_samples=20, ranges=rule)
    path = tmp_path / "recipe.toml"
    path.write_text(Recipe(num_samples=20, ranges=rule).to_toml())
    second = convert(network, data=data, output=tmp_path / "b.tflite", recipe=path)
    default = convert(network, data=data, output=tmp_path / "c.tflite")
    assert second.sha256 == first.sha256 != default.sha256
    assert second.asked == {"--recipe": str(path)}


@pytest.mark.host
@pytest.mark.usefixtures("kept_converter")
def test_a_named_improvement_is_applied_without_a_trial(network: Path, tmp_path: Path) -> None:
    data = network.with_name("samples.npz")
    recipe = Recipe(improvements=("equalize",))
    made = convert(network, data=data, output=tmp_path / "a.tflite", recipe=recipe)
    assert [each.name for each in made.improvements] == ["equalize"]


@pytest.mark.host
@pytest.mark.usefixtures("kept_converter")
def test_an_option_that_the_recipe_states_is_refused(network: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--ranges and --recipe contradict"):
        convert(network, output=tmp_path / "a.tflite", data="x", ranges="mse", recipe=Recipe())
    with pytest.raises(UsageError, match="--recipe has no effect in --mode float"):
        convert(network, output=tmp_path / "a.tflite", mode="float", recipe=Recipe())
