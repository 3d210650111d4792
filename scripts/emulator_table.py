# SPDX-License-Identifier: Apache-2.0
"""Write docs/emulator.md: the emulator's results for every compiled model of the corpus.

    python -m scripts.emulator_table CORPUS [PROGRAMS] [--only TEXT...]

PROGRAMS is a folder with more compiled models, described by its ``truth.json``. Needs a TensorFlow
Lite runtime (for the comparison) and about ten minutes, half of them for the reference kernels on
whole models. With --only, programs whose name contains a TEXT are run, and their rows are replaced
in the page; the sums over layers stay.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import textwrap
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.comparison import Comparison, compare, random_inputs
from edgekit.chip.isa import EmulationError
from edgekit.files import write_text
from edgekit.formats.tflite import Model, write_model
from edgekit.runtime import Runner
from scripts.compared_programs import CorpusProgram, programs_of_corpus, source_of
from scripts.emulator_layers import (
    Difference,
    Layers,
    against,
    count_layers,
    layers_table,
    pooled,
    table_of,
)

_TARGET = Path(__file__).resolve().parents[1] / "docs" / "emulator.md"
_TEXT = Path(__file__).with_suffix(".txt")


@dataclass(frozen=True)
class Row:
    """One edgetpu-custom-op of one model."""

    model: str
    runs: str
    steps: str = "-"
    layers: str = "-"
    twin: str = "-"
    fast: str = "-"
    reference: str = "-"


def main() -> None:
    """Run everything, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("programs", type=Path, nargs="?")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT")
    options = parser.parse_args()
    rows, layers = [], Layers()
    for program in programs_of_corpus(options.corpus, options.programs):
        if options.only and not any(text in program.label for text in options.only):
            continue
        rows.append(_row(program, layers))
        print(rows[-1], flush=True)
    if options.only:
        write_text(_TARGET, _replaced(_TARGET.read_text(), rows))
        return
    write_text(_TARGET, _page(rows, layers, pooled(options.corpus / "compiled")))


def _row(program: CorpusProgram, layers: Layers) -> Row:
    try:
        chip = EdgeTpu(program.operator.package)
    except EmulationError as error:
        return Row(program.label, f"stops: {error.what} ({error.where})")
    return _compared(program.label, chip, source_of(program, chip), layers)


def _compared(label: str, chip: EdgeTpu, part: Model | None, layers: Layers) -> Row:
    values: dict[str, Any] = dict(random_inputs(chip.executable))
    outputs = chip.invoke(values)
    steps = f"{len(chip.plan.steps):,}"
    if part is None:
        return Row(label, "yes", steps)
    shaped = {
        tensor.name: values[tensor.name].reshape(tensor.shape)
        for tensor in (part.main.tensors[index] for index in part.main.inputs)
    }
    compared = compare(chip, part, values)
    found, matches = compared.exact, compared.layers
    share = f"{len(found)}/{len(matches)}, {sum(each.num_values for each in found):,}"
    if compared.rescaled:
        share += f"; {len(compared.rescaled)} of another conversion"
    fast = against(outputs, _cpu(part, shaped, "fast"))
    count_layers(layers, label, chip, part, shaped, fast)
    return Row(
        label,
        "yes",
        steps,
        share if matches else "-",
        _of_twin(compared),
        str(fast),
        str(against(outputs, _cpu(part, shaped, "reference"))),
    )


def _cpu(part: Model, values: dict[str, Any], kernels: str) -> dict[str, Any]:
    with Runner(write_model(part), kernels=kernels) as runner:
        results = runner.invoke(*(values[each.name] for each in runner.inputs))
        names = [each.name for each in runner.outputs]
        return dict(zip(names, results, strict=True))


def _of_twin(found: Comparison) -> str:
    """The outputs for which the arithmetic is documented, compared with it."""
    equal = found.num_values - found.num_different
    words = str(Difference(equal, found.num_values, found.largest_difference))
    some = 0 < found.num_compared < found.num_outputs
    return f"{words} ({found.num_compared} of {found.num_outputs} outputs)" if some else words


def _replaced(page: str, rows: list[Row]) -> str:
    """Return the page with other lines for the models of ``rows``."""
    lines = {f"| {row.model} |": f"| {' | '.join(astuple(row))} |" for row in rows}
    return "".join(
        lines.pop(line[: line.find(" |") + 2], line.rstrip("\n")) + "\n"
        for line in page.splitlines(keepends=True)
    )


def _page(rows: list[Row], layers: Layers, halves: str) -> str:
    head = ("model", "runs", "steps", "layers exact, values", "documented arithmetic", "XNNPACK",
            "reference kernels")  # fmt: skip
    cells = [astuple(row) for row in rows]
    ran = sum(row.runs == "yes" for row in rows)
    leading_to = (
        f"One step in an early layer spreads: {layers.spread}. Averages next to a half differ in "
        f"{halves}."
    )
    text = _TEXT.read_text()
    for name, value in {
        "summary": f"{ran} of {len(rows)} programs run to the end.",
        "table": table_of(head, cells),
        "layers": layers_table(layers),
        "sources": str(len(layers.done)),
        "leading_to": textwrap.fill(leading_to, 100, break_on_hyphens=False),
    }.items():
        text = text.replace(f"{{{name}}}", value)
    return text


if __name__ == "__main__":
    main()
