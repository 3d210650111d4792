# SPDX-License-Identifier: Apache-2.0
"""``edgekit demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.grammar import OneOf
from edgekit.cli.output import JsonOption, emit, note, table
from edgekit.extras import require_host_python

if TYPE_CHECKING:
    from edgekit.building.demo import DemoModel, DemoResult


def demo(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="The folder for models, results and a picture."
        ),
    ] = Path("demo-out"),
    dataset: Annotated[
        str,
        typer.Option(help="digits is a part of scikit-learn; mnist is cached or downloaded."),
        OneOf("digits", "mnist"),
    ] = "digits",
    mnist: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="An mnist.npz file of Keras; implies --dataset mnist."),
    ] = None,
    epochs: Annotated[
        Optional[int], typer.Option(metavar="COUNT", min=1, help="Passes over the training images.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train a small network on real digits, convert it to int8 and measure the result."""
    require_host_python("demo")
    from edgekit.building.demo import demo as run_demo

    result = run_demo(output, dataset=dataset, mnist=mnist, epochs=epochs, on_step=note)
    emit(result, lambda: render(result), as_json=json)


def render(result: DemoResult) -> str:
    """Return the result for people: four conversions, accuracy, latency, and all paths."""
    accuracy = result.accuracy
    against = accuracy["against"]
    lines = [
        f"{result.dataset}: {result.num_train} training images, {result.num_test} held out, "
        f"{result.epochs} epochs",
        "",
        table(
            ("conversion", "bytes", "ratio", "input", "output", "Edge TPU", "why not"),
            [_row(model) for model in result.models],
        ),
        "",
        f"accuracy   int8 {accuracy['metrics']['top1']:.2%}, "
        f"float {against['metrics']['top1']:.2%}, "
        f"same answer on {against['agreement']:.2%} of {accuracy['num_samples']} images",
        *(_timing(name, each) for name, each in result.benchmarks.items()),
        *_compiled(result),
        "",
        f"models, a JSON of every result and answers.png are in {result.folder}",
    ]
    if result.report:
        lines.append(f"report     {result.report} (open it in a browser)")
    missing = [each for each in result.build.steps if each.fix and each.name != "compile"]
    lines += [f"no {each.name:8} {each.says}; {each.fix}" for each in missing]
    lines.append(f"again      {result.build.again}")
    return "\n".join(lines)


_COMPILERS = {"google": "Google's edgetpu_compiler", "edgekit": "edgekit's own compiler"}


def _compiled(result: DemoResult) -> Iterator[str]:
    """Yield the compiled model, by whom, and what it answers in the emulator."""
    if not result.compiled:
        yield f"not compiled: {result.not_compiled}"
        return
    yield f"compiled   {result.compiled}, by {_COMPILERS[result.compiler or 'google']}"
    emulated = result.emulated
    if emulated is not None and emulated.against is not None:
        yield (
            f"emulated   on an emulated Edge TPU the same answer as int8 on "
            f"{emulated.against.agreement:.2%} of {emulated.num_samples} images"
        )


def _row(model: DemoModel) -> tuple[str, ...]:
    return (
        model.mode,
        f"{model.bytes:,}",
        f"{model.ratio:.2f}x",
        model.input_dtype,
        model.output_dtype,
        "yes" if model.edge_tpu else "no",
        model.reason,
    )


def _timing(name: str, timing: Mapping[str, Any]) -> str:
    latency, ran = timing["latency_ms"], timing["environment"]
    return (
        f"latency    {name} on the CPU: p50 {latency['p50']:.3f} ms, p99 {latency['p99']:.3f} ms "
        f"({ran['runtime']}, {ran['kernels']} kernels); Edge TPU: not measured"
    )
