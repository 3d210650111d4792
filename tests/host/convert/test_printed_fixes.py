# SPDX-License-Identifier: Apache-2.0
"""Every command that an error or a result prints is run as printed, and does what it promises."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.checking import check
from edgekit.cli.main import main
from edgekit.formats.tflite import read_model, write_model
from edgekit.host.convert import ConvertResult, convert
from edgekit.host.convert.outcome_lines import render_outcome
from edgekit.rewrite.edit import Edit
from scripts.follow_fixes import commands_in

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]
_SHAPE = (16, 16, 8)


def _exit_status(words: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words)
    return int(caught.value.code or 0)


def run(command: str, model: Path, output: Path, capsys: Any) -> tuple[int, str]:  # noqa: ANN401
    """Run a printed command, with files for its stand-ins (MODEL, DATA); return what it prints."""
    words = shlex.split(command)[1:]
    stand_ins = {"MODEL": str(model), "DATA": "random", "OUT": str(model), "FOLDER": str(output)}
    words = [stand_ins.get(word, word) for word in words]
    if words[0] == "convert" and not "".join(words[1:2]).endswith((".tflite", ".keras")):
        words.insert(1, str(model))
    elif words[1] == "FLOAT.tflite":
        words[1] = str(output.with_name("FLOAT.tflite"))
    if words[-1] == "FLOAT.tflite":
        output = output.with_name("FLOAT.tflite")
    if words[0] == "convert" and "float" not in words:
        words += [] if "--data" in words else ["--data", "random"]
        words += ["--num-samples", "8"]
    if "-o" in words:
        words[words.index("-o") + 1] = str(output)
    else:
        words += ["-o", str(output)]
    code = _exit_status(words)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.fixture(scope="module")
def networks(keras: Any) -> dict[str, Callable[[Any], Any]]:  # noqa: ANN401
    """Name -> what is between two convolutions."""
    layers, ops = keras.layers, keras.ops
    return {
        "gelu": lambda x: keras.activations.gelu(x, approximate=False),
        "gelu-tanh": lambda x: keras.activations.gelu(x, approximate=True),
        "elu": layers.ELU(),
        "hard-swish": layers.Activation("hard_silu"),
        "leaky-relu": layers.LeakyReLU(0.2),
        "prelu": layers.PReLU(alpha_initializer="random_normal"),
        "exp": lambda x: ops.exp(-ops.relu(x)),
        "sqrt": lambda x: ops.sqrt(ops.relu(x) + 1.0),
        "selu": layers.Activation("selu"),
        "softplus": layers.Activation("softplus"),
        "layer-norm": layers.LayerNormalization(),
        "group-norm": layers.GroupNormalization(4),
        "top-k": lambda x: ops.top_k(x, 8)[0],
        "gelu-and-exp": lambda x: ops.exp(keras.activations.gelu(x)),
    }


def _network(keras: Any, middle: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    layers = keras.layers
    image = keras.Input(_SHAPE)
    x = middle(layers.Conv2D(8, 3, padding="same")(image))
    return keras.Model(image, layers.Conv2D(8, 3, padding="same")(x))


def _float_tflite(network: Any, path: Path) -> Path:  # noqa: ANN401
    samples = list(np.zeros((1, *_SHAPE), np.float32))
    convert(network, data=samples, output=path, mode="float")
    return path


def _texts_of_success(output: Path, result: dict[str, Any]) -> Iterator[str]:
    outcome = result["outcome"]
    for each in outcome["unmapped"]:
        yield from each["options"]
    if outcome["with_fix"] is not None:
        yield f"edgekit fix {output} -o FIXED.tflite"


_TFLITE = ("gelu-tanh", "elu", "leaky-relu", "prelu", "exp", "selu", "softplus", "group-norm")
_KERAS = ("gelu", "hard-swish", "prelu", "sqrt", "layer-norm", "top-k", "gelu-and-exp")


@pytest.mark.parametrize(
    ("kind", "name"),
    [*((".tflite", each) for each in _TFLITE), *((".keras", each) for each in _KERAS)],
)
def test_every_command_that_convert_prints_works(
    kind: str,
    name: str,
    keras: Any,  # noqa: ANN401
    networks: dict[str, Callable[[Any], Any]],
    tmp_path: Path,
    capsys: Any,  # noqa: ANN401
) -> None:
    source, output = tmp_path / f"source{kind}", tmp_path / "made.tflite"
    network = _network(keras, networks[name])
    if kind == ".keras":
        network.save(source)
    else:
        _float_tflite(network, source)
    words = ["convert", str(source), "--data", "random", "--num-samples", "8", "-o", str(output)]
    code = _exit_status([*words, "--json"])
    result = json.loads(capsys.readouterr().out)
    if code:
        texts, made = result["fix"].splitlines(), source
        assert code == 3
        assert len({issue["where"] for issue in result["issues"]}) == len(result["issues"])
    else:
        texts, made = list(_texts_of_success(output, result)), output
    commands = list(dict.fromkeys(found for text in texts for found in commands_in(text)))
    if code:
        assert any("--outputs" in each for each in commands)  # all of these can be cut
    for number, command in enumerate(commands):
        is_source = command.startswith("edgekit convert")
        to = tmp_path / f"{number}.tflite"
        if "--mode float" in command:
            assert run(command, source, to, capsys)[0] == 0
            continue
        followed, printed = run(command, source if is_source else made, to, capsys)
        if "--replace-activations" in command and len(result.get("issues", ())) > 1:
            # One of several reasons is gone; the others were named at once.
            left = [issue for issue in result["issues"] if "GELU" not in issue["where"]]
            assert followed == 3
            assert all(issue["message"].split(" ")[0] in printed for issue in left)
            continue
        assert followed == 0, (command, printed)
        assert check(to.read_bytes()).num_mapped > 0, command
        if "--outputs" not in command:
            report = check(to.read_bytes())
            assert report.num_mapped == report.num_operators, command


def test_a_printed_cut_keeps_the_options_of_the_source(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
    capsys: Any,  # noqa: ANN401
) -> None:
    """Without --input-shape the network has unknown dimensions."""
    layers = keras.layers
    image = keras.Input((None, None, 8))
    x = keras.ops.sqrt(keras.ops.relu(layers.Conv2D(8, 3)(image)))
    source = tmp_path / "open.keras"
    keras.Model(image, x).save(source)
    words = ["convert", str(source), "--data", "random", "--num-samples", "8", "--io", "int8"]
    words += ["--input-shape", "1x16x16x8", "-o", str(tmp_path / "m.tflite")]
    assert _exit_status([*words, "--json"]) == 3
    fix = json.loads(capsys.readouterr().out)["fix"]
    (command,) = [each for each in commands_in(fix) if "--outputs" in each]
    code, printed = run(command, source, tmp_path / "part.tflite", capsys)
    assert code == 0, printed
    assert read_model(tmp_path / "part.tflite").main.tensors[0].shape == (1, 16, 16, 8)
    assert "--io int8" in command


def test_what_does_not_map_at_the_end_is_cut_as_printed(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
    capsys: Any,  # noqa: ANN401
) -> None:
    layers = keras.layers
    parts = [keras.Input((128, 128, 3)), layers.Conv2D(8, 3, padding="same")]
    network = keras.Sequential([*parts, layers.Permute((3, 1, 2))])
    samples = list(np.random.default_rng(1).random((8, 128, 128, 3)).astype(np.float32))
    result = convert(network, data=samples, output=tmp_path / "m.tflite")
    assert result.outcome is not None
    lines = render_outcome(result.outcome, result.output)
    assert lines[-2][0] == "at the end"
    assert not any(label == "blocked by" for label, _ in lines)
    (command,) = commands_in(lines[-1][1])
    code, printed = run(command, tmp_path / "m.tflite", tmp_path / "cut", capsys)
    assert code == 0, printed
    head = check(next((tmp_path / "cut").glob("*head*.tflite")))
    assert head.num_mapped == head.num_operators


def test_every_command_that_check_prints_of_a_file_works(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
    capsys: Any,  # noqa: ANN401
) -> None:
    layers = keras.layers
    for number, middle in enumerate(
        (layers.Dense(8), layers.Activation("hard_silu"), layers.LeakyReLU())
    ):
        made = tmp_path / f"{number}.tflite"
        samples = list(np.random.default_rng(1).random((8, *_SHAPE)).astype(np.float32))
        convert(_network(keras, middle), data=samples, output=made, fix=False, plain=True)
        before = check(made)
        texts = [issue.fix for issue in before.issues]
        commands = {each for text in texts for each in commands_in(text) if " fix " in each}
        assert commands, texts
        for command in commands:
            code, printed = run(command, made, tmp_path / "fixed.tflite", capsys)
            assert code == 0, printed
            after = check(tmp_path / "fixed.tflite")
            assert after.num_mapped == after.num_operators


def test_an_operator_of_a_newer_runtime_in_a_float_file_is_replaced_before_it_is_refused(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
    capsys: Any,  # noqa: ANN401
) -> None:
    """RELU_0_TO_1, as onnx2tf writes a hard sigmoid."""
    source = _float_tflite(
        _network(keras, keras.layers.Activation("relu6")), tmp_path / "relu6.tflite"
    )
    edit = Edit(read_model(source))
    for place, op in enumerate(edit.operators):
        if op.options.get("fused_activation_function") == "RELU6":
            options = {**op.options, "fused_activation_function": "NONE"}
            like = edit.tensors[op.outputs[0]]
            x = edit.activation(like, "before")
            conv = edit.operator(op.opcode, op.inputs, (x,), options, op.options_type)
            edit.operators[place : place + 1] = [
                conv,
                edit.operator("RELU_0_TO_1", (x,), op.outputs),
            ]
            break
    changed = tmp_path / "hard.tflite"
    changed.write_bytes(write_model(edit.build()))
    assert "RELU_0_TO_1" in read_model(changed).operator_counts()
    code, printed = run("edgekit convert", changed, tmp_path / "m.tflite", capsys)
    assert code == 0, printed
    report = check(tmp_path / "m.tflite")
    assert report.num_mapped == report.num_operators


def test_a_network_that_maps_prints_no_fix(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    samples = list(np.random.default_rng(1).random((8, *_SHAPE)).astype(np.float32))
    network = _network(keras, keras.layers.ReLU())
    result: ConvertResult = convert(network, data=samples, output=tmp_path / "m.tflite")
    assert result.outcome is not None
    count = result.outcome.now.num_operators
    lines = render_outcome(result.outcome, result.output)
    assert lines[0] == ("maps", f"{count} of {count} operators, 100 % of the work")
    assert [label for label, _ in lines] == ["maps", "estimated"]
