# SPDX-License-Identifier: Apache-2.0
"""Write docs/corpus.md: the result of edgekit for every model of the corpus.

    python scripts/corpus_table.py CORPUS [-o docs/corpus.md]

Every source is converted with random calibration data, which shows whether it converts, not how
well. If edgekit refuses it and its fix names inputs to cut at, a second row shows the result with
that fix. Every plain model runs once on the CPU, on zeros.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgekit import Runner, convert, files
from edgekit.errors import EdgeKitError
from edgekit.formats.tflite import read_model
from edgekit.host.convert.enforce import broken_rules

_SUFFIXES = (".h5", ".hdf5", ".keras", ".pb", ".tflite")
_FIX_INPUTS = re.compile(r"--inputs (\w+)")
_NUM_SAMPLES = 10

_HEAD = """# Results for the corpus

Made by `scripts/corpus_table.py`; do not edit. The corpus contains other people's models and is not
part of this project.

## Sources: `edgekit convert SOURCE --data random --num-samples {samples}`

A source is converted and checked ("enforced"), or refused with the reason. Random numbers show
whether a network converts, not how well. If a refusal names inputs at which to cut, the next row is
the same source with this fix. Seconds are those of a machine that may do other work.

| source | options | outcome | operators or reason | s |
|---|---|---|---|---|
"""
_CPU_HEAD = """
## Plain models on the CPU: `edgekit.Runner(MODEL)`, one inference

| model | outcome | kernels, or why not |
|---|---|---|
"""


def main() -> None:
    """Convert, run, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/corpus.md"))
    words = parser.parse_args()
    page = _HEAD.format(samples=_NUM_SAMPLES)
    for row in convert_rows(words.corpus / "keras"):
        print(row)
        page += row + "\n"
    page += _CPU_HEAD
    for row in run_rows(words.corpus):
        print(row)
        page += row + "\n"
    files.write_text(words.output, page)


def convert_rows(folder: Path) -> Iterator[str]:
    """Yield one row per source, and a second one if its fix can be followed."""
    for source in _sources(folder):
        row, fix = _convert(source, folder, [])
        yield row
        found = _FIX_INPUTS.search(fix)
        if found:
            yield _convert(source, folder, [found.group(1)])[0]


def run_rows(corpus: Path) -> Iterator[str]:
    """Yield one row per .tflite file that is not compiled."""
    for path in sorted(corpus.rglob("*.tflite")):
        if "edgetpu-custom-op" in {op.custom_code for _, _, op in read_model(path).operators()}:
            continue
        name = path.relative_to(corpus)
        try:
            with Runner(path) as runner:
                runner.invoke(*(np.zeros(info.shape, info.dtype) for info in runner.inputs))
                kernels = runner.environment.kernels
                note = runner.environment.kernels_note
            yield f"| {name} | runs | {kernels}{'; ' + note if note else ''} |"
        except EdgeKitError as error:
            yield f"| {name} | {error.code} | {error.what}: {_cell(error.why)} |"


def _sources(folder: Path) -> list[Path]:
    models = [path.parent for path in folder.rglob("saved_model.pb")]
    models += [
        path
        for path in folder.rglob("*")
        if path.suffix in _SUFFIXES and path.name != "saved_model.pb" and path.is_file()
    ]
    return sorted(models)


def _convert(source: Path, folder: Path, inputs: list[str]) -> tuple[str, str]:
    """Return the row, and the fix of the error if there was one."""
    head = f"| {source.relative_to(folder)} | {' '.join(f'--inputs {name}' for name in inputs)} |"
    start, fix = time.monotonic(), ""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, "out.tflite")
        try:
            result = convert(
                source, data="random", output=output, num_samples=_NUM_SAMPLES, inputs=inputs
            )
            if broken_rules(read_model(output), "uint8"):
                raise SystemExit(f"{source}: a written file breaks the rules")
            counts = ", ".join(f"{name} {count}" for name, count in result.operators.items())
            outcome = f"converted and enforced | {counts}"
        except EdgeKitError as error:
            if output.exists():
                raise SystemExit(f"{source}: a file in spite of an error") from error
            fix = error.fix
            reason = error.what + (f": {_cell(error.why)}" if error.why else "")
            outcome = f"{error.code} | {reason}"
    return f"{head} {outcome} | {time.monotonic() - start:.1f} |", fix


def _cell(text: str) -> str:
    """Return the first line of ``text``, shortened to fit into a cell of a table."""
    line = text.splitlines()[0] if text else ""
    return (line if len(line) <= 160 else line[:157] + "...").replace("|", "\\|")


if __name__ == "__main__":
    main()
