# SPDX-License-Identifier: Apache-2.0
"""Write docs/compiler-mobilenets.md: MobileNets by both compilers, instruction by instruction.

    python -m scripts.mobilenet_table FOLDER...

Each FOLDER has a truth.json that names pairs of source and compiled model. Nothing is run.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.chip.isa import Instruction, decode
from edgekit.files import write_text
from edgekit.formats.darwinn import Executable, read_packages
from edgekit.formats.tflite import read_model
from edgekit.opencompiler.translate import translate
from scripts.compiler_table import Pair, pairs_of

_TARGET = Path(__file__).resolve().parents[1] / "docs" / "compiler-mobilenets.md"
_TEXT = Path(__file__).with_suffix(".txt")
_OTHERS = ("cocompiled", "deeplab", "posenet", "bodypix", "ssd")
# Fields that say where something is: addresses of both memories, rows of scaling.
_PLACES = frozenset(
    [
        *("in_base", "out_base", "par_base", "psum_base", "o_addr", "i_addr", "n_addr", "w_addr"),
        *("addr", "skip_base", "skip_end", "zp_row_first", "zp_row_last"),
        *("header_addr", "header_last"),
    ]
)
# Fields that say what is waited for.
_COUNTS = frozenset(
    [
        *("s0_id", "s0_val", "s0_dec", "s1_id", "s1_val", "s2_id", "s2_val", "s_val"),
        *("r0_val", "r1_val", "r2_val", "threshold5", "threshold6"),
        *("cfg1", "sync0", "sync1", "sync2", "sync3", "sync4"),
    ]
)
_LEVELS: tuple[frozenset[str], ...] = (frozenset(), _PLACES, _PLACES | _COUNTS)
_EQUAL, _ELSEWHERE, _COUNTED, _DIFFERENT, _MISSING = range(5)
_MOST_FIELDS = 5  # that are listed of a difference
_SHOWN = 6  # differences of a model

Key = tuple[tuple[str, int], ...]
Fields = dict[str, int]


@dataclass
class Comparison:
    """Google's instructions of one name: how many of edgekit's are like them."""

    counts: list[int] = field(default_factory=lambda: [0] * 5)
    differences: Counter[str] = field(default_factory=Counter)


def compare(mine: Sequence[Instruction], theirs: Sequence[Instruction]) -> dict[str, Comparison]:
    """Pair each of Google's instructions with the most similar one that is left of edgekit's."""
    found = {}
    for name in dict.fromkeys(each.layout.name for each in theirs):
        left = [_fields(each) for each in mine if each.layout.name == name]
        wanted = [_fields(each) for each in theirs if each.layout.name == name]
        result = found[name] = Comparison()
        for level, ignored in enumerate(_LEVELS):
            wanted = list(_unpaired(wanted, left, ignored))
            result.counts[level] = -len(wanted)
        done = [-count for count in result.counts[: len(_LEVELS)]]
        total = sum(each.layout.name == name for each in theirs)
        before = [total, *done[:-1]]
        result.counts[: len(_LEVELS)] = [a - b for a, b in zip(before, done, strict=True)]
        for each in wanted:
            if not left:
                result.counts[_MISSING] += 1
                continue
            nearest = min(left, key=lambda other: len(_differing(each, other)))
            left.remove(nearest)
            result.counts[_DIFFERENT] += 1
            names = _differing(each, nearest)
            text = ", ".join(names) if len(names) <= _MOST_FIELDS else "most fields"
            result.differences[text] += 1
    return found


def _unpaired(
    wanted: Sequence[Fields], left: list[Fields], ignored: Collection[str]
) -> Iterator[Fields]:
    """Yield what has no equal in ``left``; what has, takes it away."""
    pool: dict[Key, list[Fields]] = {}
    for each in left:
        pool.setdefault(_key(each, ignored), []).append(each)
    for each in wanted:
        equal = pool.get(_key(each, ignored))
        if equal:
            left.remove(equal.pop())
        else:
            yield each


def _fields(instruction: Instruction) -> Fields:
    return {name: value for name, value in instruction.fields.items() if name != "seq"}


def _key(fields: Fields, ignored: Collection[str]) -> Key:
    return tuple((name, value) for name, value in fields.items() if name not in ignored)


def _differing(first: Fields, second: Fields) -> list[str]:
    return [n for n, value in first.items() if n not in _LEVELS[-1] and second[n] != value]


def section(pair: Pair) -> str:
    """The part of the page on one model."""
    google = read_packages(read_model(pair.compiled.read_bytes()))[0].package
    _, made = translate(read_model(pair.source.read_bytes()))
    found = compare(_code(made.package.inference), _code(google.inference))
    sums = [sum(each.counts[k] for each in found.values()) for k in range(5)]
    total = sum(sums)
    rows = "\n".join(
        f"| {name} | {sum(each.counts)} | {' | '.join(map(str, each.counts))} |"
        for name, each in found.items()
    )
    often = Counter(
        {
            (name, text): number
            for name, each in found.items()
            for text, number in each.differences.items()
        }
    )
    listed = "; ".join(
        f"{number} x {name}: {text}" for (name, text), number in often.most_common(_SHOWN)
    )
    return f"""## {pair.compiled.stem.replace("_edgetpu", "")}

Runtime {google.min_runtime_version}, folder {pair.compiled.parent.name}. Of {total}
instructions of Google's, {sums[_EQUAL] / total:.0%} are equal, {sums[_ELSEWHERE] / total:.0%} equal
but for places, {sums[_COUNTED] / total:.0%} but for places and counts.

| instruction | Google's | equal | other places | other counts | other fields | Google's only |
|---|---|---|---|---|---|---|
{rows}

Fields that differ most often: {listed}.
"""


def _code(executable: Executable) -> list[Instruction]:
    return [
        instruction
        for chunk in executable.instruction_bitstreams
        for instruction in decode(chunk.bitstream.tobytes())
    ]


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    sections = [
        section(pair)
        for folder in parser.parse_args().folders
        for pair in pairs_of(folder)
        if pair.compiled.name.lstrip("0123456789abcdef_").startswith("mobilenet_v")
        and not any(word in pair.compiled.name for word in _OTHERS)
    ]
    text = _TEXT.read_text(encoding="utf-8").format(sections="\n".join(sections))
    write_text(_TARGET, text)


if __name__ == "__main__":
    main()
