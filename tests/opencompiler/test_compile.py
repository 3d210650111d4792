# SPDX-License-Identifier: Apache-2.0
"""`edgekit compile --compiler edgekit`: files in, compiled files out, or nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.chip.emulator.machine import EdgeTpu
from edgekit.chip.emulator.program import make_plan
from edgekit.data.describe import with_notes
from edgekit.errors import GateError, OutputError, UnsupportedModelError, UsageError
from edgekit.formats.darwinn import Package, read_packages
from edgekit.formats.model_file import read_model_file
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.formats.tflite_metadata import Notes, read_compiler_note
from edgekit.opencompiler import NotCompiledError, VerificationError, compile_open, compile_program
from edgekit.opencompiler.schedule import schedule_of
from edgekit.opencompiler.verify import verify, verify_together
from edgekit.runtime import Runner


def test_a_compiled_file_gives_the_models_answers_in_the_emulator(
    int8_path: Path, tmp_path: Path
) -> None:
    result = compile_open([int8_path], out_dir=tmp_path)
    (made,) = result.models
    assert (made.num_mapped, made.num_operators) == (6, 6)
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1)).astype(np.uint8)
    with Runner(int8_path, device="cpu") as cpu, Runner(made.output, device="emulator") as tpu:
        assert tpu.invoke(image)[0].tolist() == cpu.invoke(image)[0].tolist()


def test_the_result_says_how_the_program_was_verified(int8_path: Path, tmp_path: Path) -> None:
    (made,) = compile_open([int8_path], out_dir=tmp_path).models
    assert made.verification is not None
    assert "random" in made.verification.inputs
    assert made.verification.num_values == 5 * len(made.verification.inputs)
    note = read_compiler_note(read_model(Path(made.output).read_bytes()))
    assert note is not None
    assert note.verified == "verified in the emulator, not on a chip"
    assert note.verification["num_values"] == made.verification.num_values


def test_the_same_model_gives_the_same_bytes(int8_path: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (made,) = compile_open([int8_path], out_dir=folder).models
        contents.append(Path(made.output).read_bytes())
    assert contents[0] == contents[1]


def test_a_wrong_program_is_not_written(int8_path: Path) -> None:
    model = read_model(int8_path.read_bytes())
    made = compile_program(model)
    package = _with_another_weight(made.package)
    with pytest.raises(VerificationError, match="values differ"):
        verify(model, package, model.main.outputs, made.predicted_cycles)


def _with_another_weight(package: Package) -> Package:
    caching = package.caching
    assert caching is not None
    parameters = caching.parameters.copy()
    parameters[-200:] ^= 0x40
    changed = replace(caching, parameters=parameters)
    others = tuple(each for each in package.executables if each is not caching)
    return replace(package, executables=(*others, changed))


def test_a_program_without_cached_parameters_is_one_executable(int8_model: Model) -> None:
    """Nothing but a requantization: the package is stand-alone."""
    graph = int8_model.main
    first = replace(graph, operators=graph.operators[:1], outputs=graph.operators[0].outputs)
    made = compile_program(replace(int8_model, subgraphs=(first,)))
    assert len(made.package.executables) == 1
    EdgeTpu(made.package, strict_sync=True)


def test_float_models_are_refused(float_path: Path, tmp_path: Path) -> None:
    with pytest.raises(NotCompiledError, match="float") as caught:
        compile_open([float_path], out_dir=tmp_path)
    assert "edgekit convert" in caught.value.fix
    assert not list(tmp_path.glob("*_edgetpu.tflite"))


def test_a_compiled_model_is_refused(int8_path: Path, tmp_path: Path) -> None:
    (made,) = compile_open([int8_path], out_dir=tmp_path).models
    with pytest.raises(UnsupportedModelError, match="compiled"):
        compile_open([made.output], out_dir=tmp_path)


def test_two_models_of_one_name_are_refused(int8_path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / int8_path.name).write_bytes(int8_path.read_bytes())
    with pytest.raises(UsageError, match="two models"):
        compile_open([int8_path, other / int8_path.name], out_dir=tmp_path)


def test_a_file_in_place_of_the_folder_is_named(int8_path: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not a folder"):
        compile_open([int8_path], out_dir=int8_path)
    with pytest.raises(OutputError, match="does not exist"):
        compile_open([int8_path], out_dir=tmp_path / "missing")


def test_several_models_share_the_parameter_memory(int8_path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tflite"
    other.write_bytes(int8_path.read_bytes())
    result = compile_open([int8_path, other], out_dir=tmp_path)
    packages = [_package(path) for path in result.outputs]
    assert len({each.inference.parameter_caching_token for each in packages}) == 1
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8, 1)).astype(np.uint8)
    with Runner(int8_path, device="cpu") as cpu:
        wanted = [cpu.invoke(image)[0].tolist() for image in images]
    # Both on one chip: what one caches and computes must not harm the other.
    chips = [EdgeTpu(each) for each in packages]
    state = chips[0].state
    for each in packages:
        assert each.caching is not None
        make_plan(each.caching).run(state)
    for image, answer in zip(images, wanted):
        for chip in chips:
            chip.state = state
            (layer,) = chip.executable.input_layers
            (made,) = chip.invoke({layer.name: image}).values()
            assert made.reshape(1, -1).tolist() == answer


def test_programs_that_would_overwrite_each_others_parameters_are_refused(
    int8_path: Path, tmp_path: Path
) -> None:
    (alone,) = compile_open([int8_path], out_dir=tmp_path).outputs
    package = _package(alone)
    with pytest.raises(VerificationError, match="overwrite"):
        verify_together([package, package])


def _package(path: str) -> Package:
    (operator,) = read_packages(read_model(Path(path).read_bytes()))
    return operator.package


def test_an_older_runtime_gets_a_package_that_it_loads(int8_path: Path, tmp_path: Path) -> None:
    (older,) = compile_open([int8_path], out_dir=tmp_path, min_runtime_version=10).outputs
    assert _package(older).min_runtime_version == 10
    with pytest.raises(UsageError, match="11 is not a runtime version"):
        compile_open([int8_path], out_dir=tmp_path, min_runtime_version=11)


def test_runtime_10_does_not_take_int8_inputs(int8_path: Path, tmp_path: Path) -> None:
    model = read_model(int8_path.read_bytes())
    graph = model.main
    inside = replace(graph, inputs=graph.operators[0].outputs, operators=graph.operators[1:])
    path = tmp_path / "inside.tflite"
    path.write_bytes(write_model(replace(model, subgraphs=(inside,), signature_defs=())))
    assert compile_open([path], out_dir=tmp_path, min_runtime_version=12).outputs
    with pytest.raises(NotCompiledError, match="runtime 10 does not take"):
        compile_open([path], out_dir=tmp_path, min_runtime_version=10)


def test_the_token_depends_on_what_a_program_does_with_the_chips_memory(
    int8_path: Path, tmp_path: Path
) -> None:
    """Two programs of one token keep their parameters on the chip, so one must not harm the other.

    Models with equal weights cache equal bytes, but may compute at other places.
    """
    model = read_model(int8_path.read_bytes())
    outputs = (*model.main.outputs, *model.main.operators[1].outputs)
    wider = replace(model, subgraphs=(replace(model.main, outputs=outputs),), signature_defs=())
    path = tmp_path / "wider.tflite"
    path.write_bytes(write_model(wider))
    packages = [
        _package(output)
        for each in (int8_path, path)
        for output in compile_open([each], out_dir=tmp_path).outputs
    ]
    assert packages[0].cached_bytes == packages[1].cached_bytes
    tokens = [each.inference.parameter_caching_token for each in packages]
    assert 0 not in tokens
    assert tokens[0] != tokens[1]


def test_too_few_mapped_operations_are_a_gate(int8_path: Path, tmp_path: Path) -> None:
    model = read_model(int8_path.read_bytes())
    graph = model.main
    slow = replace(graph.operators[-1], opcode="ELU", options={}, options_type="NONE")
    changed = replace(model, subgraphs=(replace(graph, operators=(*graph.operators[:-1], slow)),))
    path = tmp_path / "partly.tflite"
    path.write_bytes(write_model(changed))
    with pytest.raises(GateError, match="5 of 6"):
        compile_open([path], out_dir=tmp_path, min_mapped=1.0)
    assert not list(tmp_path.glob("*_edgetpu.tflite"))
    assert compile_open([path], out_dir=tmp_path, min_mapped=0.5).models[0].num_mapped == 5


def test_auto_takes_edgekits_compiler_where_googles_is_not(
    int8_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    result = edgekit.compile([int8_path], out_dir=tmp_path, allow_unseen=True)
    assert result.compiler == "edgekit"
    assert json.loads(result.to_json())["compiler_version"].endswith("open compiler")


def test_auto_refuses_forms_that_googles_programs_do_not_have(
    int8_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    seen = compile_program(read_model(int8_path.read_bytes())).audit.is_seen
    if seen:
        assert edgekit.compile([int8_path], out_dir=tmp_path).compiler == "edgekit"
        return
    with pytest.raises(NotCompiledError, match="form that none of") as caught:
        edgekit.compile([int8_path], out_dir=tmp_path)
    assert "--compiler edgekit" in caught.value.fix


def test_options_of_googles_compiler_are_refused_for_edgekits(
    int8_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--via"):
        edgekit.compile([int8_path], out_dir=tmp_path, compiler="edgekit", via="ssh://board")


def test_packages_are_read_again(int8_path: Path, tmp_path: Path) -> None:
    (made,) = compile_open([int8_path], out_dir=tmp_path).models
    (operator,) = read_packages(read_model(Path(made.output).read_bytes()))
    assert operator.package.min_runtime_version == 14
    assert operator.package.cached_bytes == made.on_chip_bytes


def test_segments_in_a_row_give_the_models_answers(int8_path: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1)).astype(np.uint8)
    with Runner(int8_path, device="cpu") as cpu:
        wanted = cpu.invoke(image)[0]
    result = compile_open([int8_path], out_dir=tmp_path, num_segments=2)
    assert [Path(each).name for each in result.outputs] == [
        "int8_segment_0_of_2_edgetpu.tflite",
        "int8_segment_1_of_2_edgetpu.tflite",
    ]
    value = image
    for each in result.outputs:
        with Runner(each, device="emulator") as tpu:
            (value,) = tpu.invoke(value)
    assert value.tolist() == wanted.tolist()


def test_the_first_segment_keeps_preprocessing_and_the_last_one_labels(
    int8_path: Path, tmp_path: Path
) -> None:
    labels = tuple(f"class {number}" for number in range(10))
    described = tmp_path / "described.tflite"
    described.write_bytes(with_notes(int8_path.read_bytes(), Notes("unit", labels)))
    first, last = compile_open([described], out_dir=tmp_path, num_segments=2).outputs
    assert read_model_file(first).notes == Notes("unit")
    assert read_model_file(last).notes == Notes("", labels)


def test_more_segments_than_operators_are_refused(int8_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="7 segments of a model with 6 operators"):
        compile_open([int8_path], out_dir=tmp_path, num_segments=7)


def test_the_schedule_has_every_step_and_all_memory(int8_path: Path) -> None:
    model = read_model(int8_path.read_bytes())
    made = compile_program(model)
    schedule = schedule_of(made, model)
    assert len(schedule.steps) == len(made.program.layout.steps)
    assert schedule.cycles + schedule.input_cycles == made.predicted_cycles
    for region in schedule.memory:
        assert 0 <= region.address <= region.address + region.size_bytes <= schedule.narrow_bytes
    alive = [
        (a, b)
        for a in schedule.memory
        for b in schedule.memory
        if a is not b and a.first_step <= b.last_step and b.first_step <= a.last_step
    ]
    for a, b in alive:
        assert a.address + a.size_bytes <= b.address or b.address + b.size_bytes <= a.address


def test_explain_schedule_writes_one_offline_page(int8_path: Path, tmp_path: Path) -> None:
    result = compile_open([int8_path], out_dir=tmp_path, explain_schedule=True)
    page = (tmp_path / "int8_schedule.html").read_text(encoding="utf-8")
    assert str(tmp_path / "int8_schedule.html") in result.outputs
    assert "conv/relu" in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
