# SPDX-License-Identifier: Apache-2.0
"""The rungs of the ladder: compiled programs, inputs, and the hashes of the emulator's outputs."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Iterable, Iterator, Mapping, Sequence

import numpy as np

from edgekit.chip.emulator.machine import EdgeTpu
from edgekit.chip.isa.decode import decode_package
from edgekit.chip.vocabulary import Vocabulary, texts_of
from edgekit.chip.vocabulary.rules import rules_id
from edgekit.confirm.recipes import RECIPES, Recipe
from edgekit.errors import InputError, UsageError
from edgekit.files import (
    MOST_TEXT_BYTES,
    make_folder,
    read_bytes,
    sha256_hex,
    write_bytes,
    write_text,
)
from edgekit.formats.damage import JSON_DAMAGE, reason_of
from edgekit.formats.darwinn import write_package
from edgekit.formats.json_text import parse_json
from edgekit.formats.tflite import Model, read_model
from edgekit.opencompiler import compile_program
from edgekit.result import Result
from edgekit.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.darwinn import Package

IDENTICAL, SEEN, UNSEEN = "identical", "seen", "unseen"  # the kinds of rungs
LADDER_FILE = "ladder.json"
# The first input is repeated: only its second run finds the results of another one in the chip.
INPUT_KINDS = ("lowest", "highest", "random", "lowest again")


@dataclass(frozen=True)
class RungInput(Result):
    """One input of a rung; both hashes are of the raw bytes of the tensors."""

    kind: str  # lowest, highest, random, lowest again
    sha256: str  # of the input
    expected_sha256: str  # of the emulator's output


@dataclass(frozen=True)
class RungEntry(Result):
    """A rung as a ladder's file lists it."""

    number: int  # from 1
    name: str  # of the network
    kind: str  # identical | seen | unseen
    model: str  # the compiled model's file
    model_sha256: str  # of that file
    program_sha256: str  # of the program in it
    cycles: int  # of the busiest tile's arithmetic
    new_forms: tuple[str, ...]  # unseen ones that no earlier rung has
    inputs: tuple[RungInput, ...]  # in the order in which they run


@dataclass(frozen=True)
class Ladder(Result):
    """The description of a written ladder."""

    schema: ClassVar[str] = "edgekit.ladder/1"
    edgekit: str  # the version that made it
    rules: str  # of the vocabulary
    rungs: tuple[RungEntry, ...]  # from the first one


@dataclass(frozen=True)
class Rung:
    """A rung with its content."""

    entry: RungEntry
    content: bytes  # the compiled model
    arrays: tuple[NDArray[np.int8], ...]  # the inputs, each (1, ...)
    texts: frozenset[str] = frozenset()  # of its program; empty if it was read from a file


def ladder_size() -> int:
    """Return the number of rungs."""
    return len(RECIPES)


def make_rungs(last: int | None = None) -> Iterator[Rung]:
    """Yield the rungs from the first one, each compiled when it is asked for.

    Args:
        last: The number of the last one; None makes all.

    Raises:
        UsageError: There is no such rung.
    """
    if last is not None and not 1 <= last <= len(RECIPES):
        raise UsageError(f"there is no rung {last}", fix=f"name one from 1 to {len(RECIPES)}")
    seen = frozenset(Vocabulary.load().entries)
    earlier: set[str] = set()
    for number, recipe in enumerate(RECIPES[:last], 1):
        rung = _make(number, recipe, seen, earlier)
        earlier |= rung.texts
        yield rung


def make_rung(number: int) -> Rung:
    """Return one rung; its new forms are all unseen ones, as if there were no earlier rung."""
    return _make(number, RECIPES[number - 1], frozenset(Vocabulary.load().entries), set())


def rung_inputs(model: Model) -> tuple[NDArray[np.int8], ...]:
    """Return the inputs of a rung, in the order of `INPUT_KINDS`; each (1, ...) of int8."""
    shape = model.main.tensors[model.main.inputs[0]].shape
    lowest, highest = np.full(shape, -128, np.int8), np.full(shape, 127, np.int8)
    # RandomState's sequence is the same in every version of numpy.
    generator = np.random.RandomState(zlib.crc32(repr(shape).encode()))
    random = generator.randint(-128, 128, shape).astype(np.int8)
    return lowest, highest, random, lowest


def hash_of(arrays: Sequence[NDArray[Any]]) -> str:
    """Return the SHA-256 of the bytes of arrays, one after the other."""
    return sha256_hex(b"".join(np.ascontiguousarray(each).tobytes() for each in arrays))


def write_ladder(rungs: Iterable[Rung], folder: Path) -> Ladder:
    """Write the models of ``rungs`` and ``ladder.json`` into ``folder``, which is created.

    Raises:
        OutputError: The folder cannot be written.
    """
    make_folder(folder)
    entries = []
    for rung in rungs:
        write_bytes(folder / rung.entry.model, rung.content)
        entries.append(rung.entry)
    ladder = Ladder(__version__, rules_id(), tuple(entries))
    write_text(folder / LADDER_FILE, ladder.to_json())
    return ladder


def read_entries(folder: Path, last: int | None = None) -> list[RungEntry]:
    """Return the rungs in ``ladder.json``, up to number ``last``.

    Raises:
        InputError: The folder does not contain a ladder of this version of the inputs.
    """
    path = folder / LADDER_FILE
    content = read_bytes(path, "ladder", MOST_TEXT_BYTES)
    try:
        document = parse_json(content)
        if document["schema"] != Ladder.schema:
            raise ValueError(f"its schema is {document['schema']}")
        entries = [entry_from(each) for each in document["rungs"]][:last]
    except (*JSON_DAMAGE, KeyError, TypeError) as error:
        raise _damaged(path, reason_of(error)) from error
    if not entries:
        raise _damaged(path, "it does not have a rung")
    return entries


def read_rungs(folder: Path, entries: Sequence[RungEntry]) -> Iterator[Rung]:
    """Yield rungs that `write_ladder` wrote; runs neither the compiler nor the emulator.

    Raises:
        InputError: A file is missing or was changed.
    """
    for entry in entries:
        content = read_bytes(folder / entry.model, "model of the ladder")
        if sha256_hex(content) != entry.model_sha256:
            raise _damaged(folder / entry.model, "its SHA-256 is not that in ladder.json")
        arrays = rung_inputs(read_model(content))
        if [each.sha256 for each in entry.inputs] != [hash_of([each]) for each in arrays]:
            why = f"the inputs of rung {entry.number} are not those of this version of edgekit"
            raise _damaged(folder / LADDER_FILE, why)
        yield Rung(entry, content, arrays)


def entry_from(document: Mapping[str, Any]) -> RungEntry:
    """Return the entry in a JSON object; raises KeyError, TypeError or ValueError."""
    inputs = tuple(
        RungInput(str(each["kind"]), str(each["sha256"]), str(each["expected_sha256"]))
        for each in document["inputs"]
    )
    names = ("name", "kind", "model", "model_sha256", "program_sha256")
    texts: dict[str, Any] = {name: str(document[name]) for name in names}
    return RungEntry(
        **texts,
        number=int(document["number"]),
        cycles=int(document["cycles"]),
        new_forms=tuple(map(str, document["new_forms"])),
        inputs=inputs,
    )


def _make(number: int, recipe: Recipe, seen: frozenset[str], earlier: set[str]) -> Rung:
    model = recipe.model()
    compiled = compile_program(model, recipe.name, verified=False)
    texts = texts_of(*decode_package(compiled.package))
    unseen = texts - seen
    kind = IDENTICAL if recipe.like else UNSEEN if unseen else SEEN
    arrays = rung_inputs(model)
    entry = RungEntry(
        number=number,
        name=recipe.name,
        kind=kind,
        model=f"{number:02d}_edgetpu.tflite",
        model_sha256=sha256_hex(compiled.content),
        program_sha256=sha256_hex(write_package(compiled.package)),
        cycles=compiled.predicted_cycles,
        new_forms=tuple(sorted(unseen - earlier)),
        inputs=tuple(_expected(model, compiled.package, arrays)),
    )
    return Rung(entry, compiled.content, arrays, texts)


def _expected(
    model: Model, package: Package, arrays: Sequence[NDArray[np.int8]]
) -> Iterator[RungInput]:
    """Yield the inputs with what the emulator computes, in strict mode."""
    graph = model.main
    tpu = EdgeTpu(package, strict_sync=True)
    source, names = graph.tensors[graph.inputs[0]], [graph.tensors[i].name for i in graph.outputs]
    known: dict[str, str] = {}
    for kind, array in zip(INPUT_KINDS, arrays):
        key = hash_of([array])
        if key not in known:
            made = tpu.invoke({source.name: array})
            known[key] = hash_of([made[name] for name in names])
        yield RungInput(kind, key, known[key])


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        "the ladder is damaged",
        where=str(path),
        why=why,
        fix="write it again: edgekit confirm --write FOLDER",
    )
