# SPDX-License-Identifier: Apache-2.0
"""``edgekit bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.grammar import OneOf
from edgekit.cli.options import TASKS, LabelsOption, PreprocessOption
from edgekit.cli.output import JsonOption, emit, warn

if TYPE_CHECKING:
    from edgekit.bundle import BundleResult
    from edgekit.formats.bundle import Manifest


def bundle(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="The plain .tflite file.", autocompletion=completion.models
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The .edgekit file to write.")
    ],
    compiled: Annotated[
        Optional[Path],
        typer.Option(
            metavar="MODEL",
            help="The compiled file of MODEL, NAME_edgetpu.tflite.",
            autocompletion=completion.models,
        ),
    ] = None,
    labels: LabelsOption = None,
    preprocess: PreprocessOption = None,
    metrics: Annotated[
        Optional[List[Path]],
        typer.Option(
            metavar="RESULT.json", help="The output of evaluate --json or benchmark --json."
        ),
    ] = None,
    task: Annotated[
        Optional[str],
        typer.Option(help="The model's task; by default that of RESULT.json or of the model."),
        OneOf(*TASKS),
    ] = None,
    decoder: Annotated[
        str, typer.Option(metavar="NAME", help="The decoder that turns outputs into results.")
    ] = "",
    licence: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="A text file with the model's licence.")
    ] = None,
    sign: Annotated[
        Optional[Path], typer.Option(metavar="KEY", help="Sign with this Ed25519 private key.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Put a model and everything else that a device needs into one file."""
    from edgekit.bundle import bundle as write_bundle

    result = write_bundle(
        model,
        output=output,
        compiled=compiled,
        labels=labels,
        preprocess=preprocess,
        metrics=metrics or (),
        task=task or "",
        decoder=decoder,
        licence=licence,
        sign=sign,
    )
    warn(result.warnings)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: BundleResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    signed = ", signed" if result.signed else ""
    yield f"written    {result.output}: {result.bytes:,} bytes{signed}"
    yield f"sha256     {result.bundle_sha256}"
    yield from render_manifest(result.manifest)


def render_manifest(manifest: Manifest) -> Iterator[str]:
    """Yield a bundle's contents for people, line by line."""
    for file in manifest.files:
        yield f"{file.role:10} {file.path}: {file.bytes:,} bytes, {file.sha256[:12]}"
    if manifest.task:
        decoder = f", decoder {manifest.decoder}" if manifest.decoder else ""
        yield f"task       {manifest.task}{decoder}"
    if manifest.preprocess:
        yield f"preprocess {manifest.preprocess}"
    lite, tpu = (manifest.requires.get(name) for name in ("tensorflow_lite", "edgetpu_runtime"))
    needs = [f"TensorFlow Lite {lite} or newer"] if lite else []
    needs += [f"Edge TPU runtime {tpu} or newer"] if tpu else []
    if needs:
        yield f"needs      {', '.join(needs)}"
