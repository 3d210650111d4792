# SPDX-License-Identifier: Apache-2.0
"""Cut a model into a head for the Edge TPU and a tail for the CPU."""

from __future__ import annotations

import contextlib
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit import files
from edgekit.data.describe import with_notes
from edgekit.edgetpu.macs import count_macs
from edgekit.edgetpu.operation import Operation
from edgekit.errors import GateError, UnsupportedModelError, UsageError
from edgekit.fix.cut import ancestors, best_head, crossing_tensors, num_bytes, producers
from edgekit.fix.interpreter import KERNELS, Arrays, Interpreter
from edgekit.fix.mapping import mapped_operators
from edgekit.fix.samples import Samples, tensor_info
from edgekit.fix.split_result import SplitPart, SplitResult, SplitTensor
from edgekit.formats.model_file import read_model_file
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.formats.tflite_metadata import Notes
from edgekit.rewrite.edit import is_editable
from edgekit.rewrite.segments import part_model
from edgekit.rewrite.without_custom import without_custom

if TYPE_CHECKING:
    from edgekit.data import Preprocess


@dataclass(frozen=True)
class _Parts:
    """Both models, before they are written."""

    head: Model
    tail: Model | None
    crossing: list[int]
    outputs: tuple[tuple[str, int], ...]


def split(  # noqa: PLR0913 - public: its options are keywords
    model: files.PathLike,
    output: files.PathLike,
    *,
    at: Sequence[str] = (),
    data: Any = None,  # noqa: ANN401 - anything that open_dataset takes
    preprocess: str | Preprocess | None = None,
    num_random: int = 8,
    num_samples: int = 16,
    runtime: str | None = None,
    unproved: bool = False,
) -> SplitResult:
    """Cut ``model`` into ``STEM_head.tflite``, which maps, and ``STEM_tail.tflite``.

    The head has as many mapped multiplications as possible, with the fewest bytes across the cut.
    Head and tail in sequence are compared with the whole; nothing is written unless the outputs
    are equal bit for bit.

    Args:
        model: Path of a .tflite file with static shapes.
        output: Folder for the two files; created if it is missing.
        at: Names of tensors to cut at; empty means the best cut.
        data: Samples to compare on, besides random ones.
        preprocess: How pixels become the network's input.
        num_random: How many random inputs to compare on.
        num_samples: How many samples of ``data`` to compare on.
        runtime: See `Runner`.
        unproved: Write the parts even if the model cannot be run here.

    Raises:
        GateError: No operation of the model maps.
        UnsupportedModelError: The model cannot be cut, cannot be run, or its parts give other
            outputs.
        UsageError: A tensor does not exist, or one side of the cut would be empty.
        InputError: ``model`` or ``data`` cannot be read.
        OutputError: The files cannot be written.
    """
    path = Path(model)
    file = read_model_file(path)
    whole = file.model
    _refuse(whole, str(path))
    mapped = mapped_operators(whole)
    macs = [count_macs(Operation(whole, index)) for index in range(len(mapped))]
    head = _head_at(whole, at) if at else best_head(whole, mapped, macs)
    if not head:
        raise GateError(
            "no operation of the model maps to the Edge TPU, so there is no head",
            where=str(path),
            fix="find the reason (edgekit check), rewrite it (edgekit fix), or cut by hand "
            "(--at TENSOR)",
        )
    parts = _take_apart(whole, head)
    notes = file.notes
    samples = Samples(
        whole,
        num_random=num_random,
        data=data,
        preprocess=preprocess,
        noted=notes.preprocess,
        num_data=num_samples,
    )
    identical, kernels, note = _prove(whole, parts, samples, runtime, unproved, str(path))
    folder = Path(output)
    names = [folder / f"{path.stem}_{kind}.tflite" for kind in ("head", "tail")]
    models = [parts.head, *([parts.tail] if parts.tail else [])]
    written = _noted([write_model(each) for each in models], notes)
    _write(folder, dict(zip(names, written)))
    order = sorted(head)
    rest = [index for index in range(len(mapped)) if index not in head]
    total = sum(macs)
    described = [
        _part(where, each, made, [mapped[i] for i in indices], sum(macs[i] for i in indices))
        for where, each, made, indices in zip(names, models, written, (order, rest))
    ]
    crossing = tuple(_tensor(whole, index) for index in parts.crossing)
    return SplitResult(
        model=str(path),
        sha256=file.sha256,
        head=described[0],
        tail=described[1] if len(described) > 1 else None,
        crossing=crossing,
        crossing_bytes=sum(each.bytes for each in crossing),
        macs_share=described[0].macs / total if total else None,
        outputs=parts.outputs,
        identical=identical,
        num_samples=len(samples) if identical else 0,
        kernels=kernels,
        note=note,
    )


def _refuse(model: Model, where: str) -> None:
    if not is_editable(model):
        raise UnsupportedModelError(
            "the model cannot be cut: it is already compiled, or has several subgraphs",
            where=where,
            fix="give the file that it was compiled from",
        )
    dynamic = [tensor.name for tensor in model.main.tensors if tensor.is_dynamic]
    if dynamic:
        raise UnsupportedModelError(
            "the model has dimensions that are unknown before run time",
            where=f"{where}, tensor {dynamic[0]}",
            fix="freeze them first: edgekit fix MODEL -o OUT.tflite",
        )


def _head_at(model: Model, names: Sequence[str]) -> set[int]:
    graph = model.main
    made_by = producers(graph)
    by_name = {graph.tensors[i].name: number for i, number in made_by.items()}
    for name in names:
        if name not in by_name:
            close = difflib.get_close_matches(name, by_name, 3)
            raise UsageError(
                f"no operator writes a tensor {name!r}",
                fix=f"perhaps {' or '.join(close)}" if close else "edgekit inspect lists tensors",
            )
    head = ancestors(graph, [by_name[name] for name in names])
    if len(head) == len(graph.operators):
        raise UsageError("there is nothing after the cut", fix="name earlier tensors (--at)")
    return head


def _take_apart(model: Model, head: set[int]) -> _Parts:
    graph = model.main
    crossing = crossing_tensors(graph, head)
    made_by = producers(graph)
    ends = [i for i in graph.outputs if made_by.get(i) in head and i not in crossing]
    head_outputs = [*crossing, *dict.fromkeys(ends)]
    front = _part_model(model, sorted(head), list(graph.inputs), head_outputs)
    rest = [number for number in range(len(graph.operators)) if number not in head]
    if not rest:
        outputs = tuple(("head", head_outputs.index(i)) for i in graph.outputs)
        return _Parts(front, None, crossing, outputs)
    read = {i for number in rest for i in graph.operators[number].inputs}
    tail_inputs = [*crossing, *(i for i in graph.inputs if i in read)]
    tail_outputs = [i for i in dict.fromkeys(graph.outputs) if made_by.get(i) not in head]
    back = _part_model(model, rest, tail_inputs, tail_outputs)
    outputs = tuple(
        ("tail", tail_outputs.index(i)) if i in tail_outputs else ("head", head_outputs.index(i))
        for i in graph.outputs
    )
    return _Parts(front, back, crossing, outputs)


def _part_model(model: Model, numbers: list[int], inputs: list[int], outputs: list[int]) -> Model:
    # Read it again, so that the same bytes are run and written.
    return read_model(write_model(part_model(model, numbers, inputs, outputs)))


def _prove(
    whole: Model,
    parts: _Parts,
    samples: Samples,
    runtime: str | None,
    unproved: bool,
    where: str,
) -> tuple[bool | None, str, str]:
    """Return (identical, kernels, note)."""
    failure: UnsupportedModelError | None = None
    with Interpreter(runtime) as interpreter:
        for cut in (_as_it_is, without_custom):
            for kernels in KERNELS:
                try:
                    ran = _same(interpreter, whole, parts, samples, kernels, cut)
                except UnsupportedModelError as error:
                    failure = failure or error
                    continue
                if not ran[0]:
                    raise UnsupportedModelError(
                        "head and tail in sequence give different outputs from the whole",
                        where=where,
                        why=f"{len(samples)} samples, {ran[1]} kernels",
                        fix="please report this model",
                    )
                is_cut = cut is without_custom
                note = "compared only up to the custom operators" if is_cut else ""
                return True, ran[1], note
    if failure is not None and not unproved:
        raise UnsupportedModelError(
            "the model cannot be run here, so its parts cannot be compared with it",
            where=where,
            why=failure.why or failure.what,
            fix="use another runtime (--runtime), or write them unproved (--unproved)",
            code=failure.code,
        )
    return None, "", f"not measured: {failure.why or failure.what}" if failure else ""


def _same(
    interpreter: Interpreter,
    whole: Model,
    parts: _Parts,
    samples: Samples,
    kernels: str,
    cut: Any,  # noqa: ANN401 - Model -> Model
) -> tuple[bool, str]:
    measured = cut(whole)
    infos = [tensor_info(whole, index) for index in whole.main.inputs]
    raw = [samples.raw(number, infos) for number in range(len(samples))]
    expected = interpreter.run(measured, raw, kernels)
    known = [dict(zip(_names(whole, whole.main.inputs), arrays)) for arrays in raw]
    for part in (parts.head, parts.tail):
        if part is None:
            continue
        each = cut(part)
        given = [[found[name] for name in _names(each, each.main.inputs)] for found in known]
        ran = interpreter.run(each, given, kernels)
        for found, outputs in zip(known, ran.outputs):
            found.update(zip(_names(each, each.main.outputs), outputs))
    names = _names(measured, measured.main.outputs)
    same = all(
        _equal(outputs, tuple(found[name] for name in names))
        for outputs, found in zip(expected.outputs, known)
    )
    return same, expected.kernels


def _equal(left: Arrays, right: Arrays) -> bool:
    return all(a.tobytes() == b.tobytes() and a.shape == b.shape for a, b in zip(left, right))


def _names(model: Model, indices: Sequence[int]) -> list[str]:
    return [model.main.tensors[index].name for index in indices]


def _as_it_is(model: Model) -> Model:
    return model


def _noted(parts: list[bytes], notes: Notes) -> list[bytes]:
    """Write the whole's preprocessing into the first part, its labels into the last one."""
    if len(parts) == 1:
        return [with_notes(parts[0], Notes(notes.preprocess, notes.labels))]
    head, tail = parts
    return [with_notes(head, Notes(notes.preprocess)), with_notes(tail, Notes("", notes.labels))]


def _write(folder: Path, models: dict[Path, bytes]) -> None:
    """Write both files, or neither."""
    files.make_folder(folder)
    with contextlib.ExitStack() as stack:
        for path, content in models.items():
            temporary = stack.enter_context(files.replacing(path))
            temporary.write_bytes(content)


def _part(path: Path, model: Model, content: bytes, mapped: list[bool], macs: int) -> SplitPart:
    graph = model.main
    return SplitPart(
        path=str(path),
        sha256=files.sha256_hex(content),
        num_operators=len(graph.operators),
        num_mapped=int(np.sum(mapped)),
        macs=macs,
        inputs=tuple(_tensor(model, index) for index in graph.inputs),
        outputs=tuple(_tensor(model, index) for index in graph.outputs),
    )


def _tensor(model: Model, index: int) -> SplitTensor:
    tensor = model.main.tensors[index]
    return SplitTensor(tensor.name, tensor.shape, tensor.dtype.lower(), num_bytes(tensor))
