# SPDX-License-Identifier: Apache-2.0
"""A cut keeps the work in the head, moves few bytes, and does not change the outputs."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.cli.main import main
from edgekit.data.describe import with_notes
from edgekit.errors import GateError, UnsupportedModelError, UsageError
from edgekit.files import sha256_hex
from edgekit.fix import split
from edgekit.fix.cut import best_head, crossing_tensors, num_bytes
from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    read_model,
    write_model,
)
from edgekit.formats.tflite_metadata import Notes, read_notes
from edgekit.runtime import Runner

_EMPTY = np.empty(0, np.uint8)
_SCALE = Quantization((0.05,), (0,))
_WIDE = {"fused_activation_function": "NONE", "pot_scale_int16": True}


def _tensor(name: str, width: int) -> Tensor:
    return Tensor(name, (1, width), "INT8", 0, _SCALE)


def _model(outputs: tuple[int, ...] = (5,)) -> Model:
    """X -> dense (8) -> RELU -> concatenated with itself (16) -> ABS -> ADD."""
    weights = np.arange(-16, 16, dtype=np.int8)
    tensors = (
        _tensor("x", 4),
        _tensor("dense", 8),
        _tensor("relu", 8),
        _tensor("wide", 16),
        _tensor("table", 16),
        _tensor("sum", 16),
        Tensor("weights", (8, 4), "INT8", 1, Quantization((0.01,), (0,))),
    )
    options = {"fused_activation_function": "NONE", "weights_format": 0, "keep_num_dims": False}
    join = {"axis": 1, "fused_activation_function": "NONE"}
    operators = (
        Operator("FULLY_CONNECTED", 4, (0, 6, -1), (1,), options, "FullyConnectedOptions"),
        Operator("RELU", 2, (1,), (2,)),
        Operator("CONCATENATION", 2, (2, 1), (3,), join, "ConcatenationOptions"),
        Operator("LEAKY_RELU", 1, (3,), (4,), {"alpha": 0.5}, "LeakyReluOptions"),
        Operator("ADD", 2, (4, 3), (5,), _WIDE, "AddOptions"),
    )
    graph = Subgraph(tensors, (0,), outputs, operators, "main")
    return Model((graph,), (_EMPTY, weights.view(np.uint8)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "net.tflite"
    found.write_bytes(write_model(_model()))
    return found


def test_head_and_tail_in_sequence_equal_the_whole(path: Path, tmp_path: Path) -> None:
    result = split(path, tmp_path / "parts")
    assert result.identical
    assert result.tail is not None
    assert result.kernels == "reference"
    x = np.array([[1, -20, 90, 127]], np.int8)
    with Runner(path, kernels="reference") as whole, Runner(
        result.head.path, kernels="reference"
    ) as head, Runner(result.tail.path, kernels="reference") as tail:
        middle = dict(zip((each.name for each in head.outputs), head.invoke(x)))
        answer = tail.invoke(*(middle[each.name] for each in tail.inputs))
        np.testing.assert_array_equal(answer[0], whole.invoke(x)[0])


def test_preprocessing_stays_with_the_head_and_labels_with_the_tail(
    path: Path, tmp_path: Path
) -> None:
    names = tuple("abcdefghijklmnop")
    path.write_bytes(with_notes(path.read_bytes(), Notes("tf,resize=pad", names)))
    result = split(path, tmp_path / "parts")
    assert result.tail is not None
    head, tail = (Path(part.path).read_bytes() for part in (result.head, result.tail))
    assert (read_notes(head).preprocess, read_notes(head).labels) == ("tf,resize=pad", ())
    assert (read_notes(tail).preprocess, read_notes(tail).labels) == ("", names)
    assert result.tail.sha256 == sha256_hex(tail)


def test_mapped_operators_are_in_the_head_and_few_bytes_cross(path: Path, tmp_path: Path) -> None:
    """RELU and CONCATENATION also map, but double the bytes across the cut."""
    result = split(path, tmp_path / "parts")
    assert result.head.num_operators == result.head.num_mapped == 1
    assert result.crossing_bytes == 8
    assert result.macs_share == 1.0


def test_a_cut_by_hand_is_at_the_given_tensor(path: Path, tmp_path: Path) -> None:
    result = split(path, tmp_path / "parts", at=["relu"])
    assert [each.name for each in result.crossing] == ["dense", "relu"]
    assert result.head.num_operators == 2


def test_the_error_for_a_missing_tensor_suggests_similar_names(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="relu") as caught:
        split(path, tmp_path / "parts", at=["relo"])
    assert "relu" in caught.value.fix
    with pytest.raises(UsageError, match="nothing after the cut"):
        split(path, tmp_path / "parts", at=["sum"])


def test_an_output_of_the_head_is_reported_as_its_output(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(write_model(_model(outputs=(2, 5))))
    result = split(path, tmp_path / "parts", at=["relu"])
    assert result.identical
    assert [part for part, _ in result.outputs] == ["head", "tail"]
    index = result.outputs[0][1]
    assert result.head.outputs[index].name == "relu"


def test_a_model_that_maps_has_no_tail(tmp_path: Path) -> None:
    model = _model()
    graph = Subgraph(model.main.tensors, (0,), (3,), model.main.operators[:3])
    path = tmp_path / "net.tflite"
    path.write_bytes(write_model(Model((graph,), model.buffers)))
    result = split(path, tmp_path / "parts")
    assert result.tail is None
    assert not (tmp_path / "parts" / "net_tail.tflite").exists()


def test_a_model_of_which_nothing_maps_has_no_head(tmp_path: Path) -> None:
    tensors = (_tensor("x", 4), _tensor("y", 4))
    operator = Operator("LEAKY_RELU", 1, (0,), (1,), {"alpha": 0.5}, "LeakyReluOptions")
    path = tmp_path / "net.tflite"
    path.write_bytes(write_model(Model((Subgraph(tensors, (0,), (1,), (operator,)),), (_EMPTY,))))
    with pytest.raises(GateError):
        split(path, tmp_path / "parts")
    assert not (tmp_path / "parts").exists()


def test_unknown_dimensions_are_refused(tmp_path: Path) -> None:
    tensors = (
        Tensor("x", (1, 4), "INT8", 0, _SCALE, shape_signature=(-1, 4)),
        Tensor("y", (1, 4), "INT8", 0, _SCALE, shape_signature=(-1, 4)),
    )
    graph = Subgraph(tensors, (0,), (1,), (Operator("RELU", 2, (0,), (1,)),))
    path = tmp_path / "net.tflite"
    path.write_bytes(write_model(Model((graph,), (_EMPTY,))))
    with pytest.raises(UnsupportedModelError, match="unknown before run time"):
        split(path, tmp_path / "parts")


def test_the_command_prints_json(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["split", str(path), "-o", str(tmp_path / "parts"), "--json"])
    assert not caught.value.code
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "edgekit.split/1"
    assert document["identical"] is True


@st.composite
def _drawn(draw: st.DrawFn) -> tuple[Model, list[bool], list[int]]:
    """A random graph without meaning: the cut depends only on edges and sizes."""
    count = draw(st.integers(1, 7))
    tensors = [Tensor("x", (1, draw(st.integers(1, 9))), "INT8", 0)]
    operators = []
    for number in range(count):
        inputs = draw(st.lists(st.integers(0, number), min_size=1, max_size=2, unique=True))
        tensors.append(Tensor(f"t{number}", (1, draw(st.integers(1, 9))), "INT8", 0))
        operators.append(Operator("ADD", 1, tuple(inputs), (number + 1,)))
    graph = Subgraph(tuple(tensors), (0,), (count,), tuple(operators))
    own = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    mapped: list[bool] = []
    for op, maps in zip(operators, own):  # an operator maps only after mapped ones
        mapped.append(maps and all(i == 0 or mapped[i - 1] for i in op.inputs))
    macs = draw(st.lists(st.sampled_from((0, 0, 5)), min_size=count, max_size=count))
    return Model((graph,), (_EMPTY,)), mapped, macs


def _cost(model: Model, head: set[int]) -> int:
    graph = model.main
    crossing = set(crossing_tensors(graph, head))
    crossing.update(
        i for number in head for i in graph.operators[number].outputs if i in graph.outputs
    )
    return sum(num_bytes(graph.tensors[i]) for i in crossing)


@settings(max_examples=200, deadline=None)
@given(drawn=_drawn())
def test_no_other_cut_with_as_much_work_has_fewer_bytes(
    drawn: tuple[Model, list[bool], list[int]],
) -> None:
    model, mapped, macs = drawn
    operators = model.main.operators
    head = best_head(model, mapped, macs)
    wanted = [i for i, maps in enumerate(mapped) if maps]
    most = sum(macs[i] for i in wanted)
    if not most or len(wanted) == len(operators):
        assert head == set(wanted)
        return
    costs = []
    for size in range(len(wanted) + 1):
        for chosen in itertools.combinations(wanted, size):
            closed = all(
                i == 0 or i - 1 in chosen for number in chosen for i in operators[number].inputs
            )
            if closed and sum(macs[i] for i in chosen) == most:
                costs.append((_cost(model, set(chosen)), -size))
    assert (_cost(model, head), -len(head)) == min(costs)
    assert sum(macs[i] for i in head) == most


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "num_head"),
    [("movenet_single_pose_lightning_ptq", 99), ("split_concat", None)],
)
def test_a_real_model_gives_the_same_outputs_in_two_parts(
    corpus: Path, tmp_path: Path, name: str, num_head: int | None
) -> None:
    source = corpus / "compiled" / "google-coral__test_data" / f"{name}.tflite"
    result = split(source, tmp_path, num_random=2)
    assert result.identical
    if num_head is None:
        assert result.tail is None
    else:
        assert result.head.num_operators == num_head
        assert len(read_model(Path(result.head.path)).main.operators) == num_head
