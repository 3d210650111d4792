# SPDX-License-Identifier: Apache-2.0
"""``edgekit inspect``."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.output import JsonOption, emit, note, table
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.inspect import InspectResult, InspectSet, OperatorInfo, PackageInfo, TensorInfo


def inspect(
    models: Annotated[
        List[Path],
        typer.Argument(
            metavar="MODEL...",
            help=".tflite files or bundles.",
            autocompletion=completion.models,
        ),
    ],
    source: Annotated[
        Optional[Path],
        typer.Option(
            metavar="MODEL", help="The .tflite file from which the compiled model was made."
        ),
    ] = None,
    html: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="Draw the graph into one HTML file.")
    ] = None,
    model_explorer: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Write node data for Google's Model Explorer."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show a model's graph, and for a compiled model what its Edge TPU part contains."""
    from edgekit.files import refuse_overwriting
    from edgekit.inspect import inspect as inspect_one
    from edgekit.inspect import inspect_files

    if len(models) > 1:
        if source or html or model_explorer:
            raise UsageError(
                f"--source, --html and --model-explorer need one model, not {len(models)}",
                fix="run the command once for each model",
            )
        several = inspect_files(models)
        emit(several, lambda: "\n".join(render_set(several)), as_json=json)
        return
    result = inspect_one(models[0], source=source)
    for output in filter(None, (html, model_explorer)):
        refuse_overwriting(output, *models, source)
    _write_files(result, html, model_explorer)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def _write_files(
    result: InspectResult, html: Optional[Path], model_explorer: Optional[Path]
) -> None:
    from edgekit.files import write_text
    from edgekit.inspect import node_data

    if html:
        from edgekit.report import model_page

        write_text(html, model_page(result))
        note(f"wrote {html}")
    if model_explorer:
        write_text(model_explorer, json_module.dumps(node_data(result), indent=2) + "\n")
        note(f"wrote {model_explorer}: add it as node data to {result.model} in Model Explorer")


def render(result: InspectResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    yield f"{result.model}  {result.kind}, {result.bytes:,} bytes"
    for name, tensors in (("input", result.inputs), ("output", result.outputs)):
        for tensor in tensors:
            yield f"{name:11}{tensor.name} {list(tensor.shape)} {tensor.dtype}{_scale(tensor)}"
    for each in result.features:
        yield f"{'features':11}{each.input} stores (value - mean) / std"
        for name, values in (("mean", each.mean), ("std", each.std)):
            yield f"{'':11}{name} {', '.join(f'{value:.9g}' for value in values)}"
    if result.packages:
        yield from _render_compiled(result)
    yield (
        f"graph      {len(result.operators)} operators, {result.macs / 1e6:,.1f} M MACs, "
        f"{result.parameter_bytes:,} parameter bytes, activations at most "
        f"{result.peak_activation_bytes:,} bytes (operator {result.peak_activation_operator})"
    )
    yield ""
    if result.source_operators:
        yield f"operators of {result.source}:"
    yield table(_HEAD, [_row(each) for each in result.source_operators or result.operators])


def render_set(several: InspectSet) -> Iterator[str]:
    """Yield several files for people: one row each, then how they share a chip."""
    rows = [
        (
            each.model,
            each.kind,
            each.packages[0].parameter_caching_token if each.packages else "",
            f"{each.cached_bytes:,}",
            f"{each.streamed_bytes:,}",
        )
        for each in several.files
    ]
    yield table(("file", "kind", "token", "cached", "streamed"), rows)
    yield ""
    for group in several.groups:
        if len(group.models) > 1:
            fits = "fit together" if group.fits_together else "do not fit together"
            meant = "" if group.relation == "segments" else f", which {fits} in one chip"
            yield (
                f"token {group.parameter_caching_token}: {len(group.models)} files, "
                f"{group.relation}; {group.cached_bytes:,} cached bytes in all{meant} "
                f"(about {group.room_bytes:,})"
            )
    yield several.verdict


def _scale(tensor: TensorInfo) -> str:
    if tensor.scale is None:
        return ""
    return f"  scale {tensor.scale:.6g}, zero point {tensor.zero_point}"


_HEAD = ("#", "operator", "v", "output", "type", "scale", "MACs", "parameters", "activations", "on")


def _row(operator: OperatorInfo) -> List[str]:
    output = operator.outputs[0] if operator.outputs else None
    shape = "x".join(map(str, output.shape)) if output else ""
    scale = f"{output.scale:.4g}" if output and output.scale is not None else ""
    return [
        str(operator.index),
        operator.opcode,
        str(operator.version),
        shape,
        output.dtype if output else "",
        scale,
        f"{operator.macs:,}",
        f"{operator.parameter_bytes:,}",
        f"{operator.activation_bytes:,}",
        operator.place,
    ]


def _render_compiled(result: InspectResult) -> Iterator[str]:
    if result.compiler_note:
        yield f"compiler   {result.compiler_note}"
        yield f"runtime    {result.min_runtime_version} or later"
    else:
        yield (
            f"runtime    {result.min_runtime_version} or later "
            f"(edgetpu_compiler {result.compiler_release} writes this)"
        )
    yield (
        f"parameters {result.cached_bytes:,} bytes cached on the chip, "
        f"{result.streamed_bytes:,} streamed with each inference"
    )
    yield (
        f"bus        {result.bus_bytes_per_inference:,} bytes an inference, "
        f"{result.bus_bytes_at_load:,} bytes at load"
    )
    for package in result.packages:
        yield from _render_package(package)
    counts = ", ".join(f"{each.index} {each.opcode}" for each in result.cpu_operators)
    yield f"on the CPU {len(result.cpu_operators)} operators{': ' + counts if counts else ''}"
    if result.source_operators:
        inside = [each for each in result.source_operators if each.place == "tpu"]
        macs = sum(each.macs for each in result.source_operators)
        share = f", {sum(each.macs for each in inside) / macs:.1%} of the MACs" if macs else ""
        yield (
            f"source     {len(inside)} of {len(result.source_operators)} operators are in the Edge "
            f"TPU's part{share}"
        )


def _render_package(package: PackageInfo) -> Iterator[str]:
    yield (
        f"part       operator {package.operator_index}: {package.kind}, "
        f"token {package.parameter_caching_token}"
    )
    for each in package.executables:
        yield (
            f"           {each.type}: {each.instruction_bytes:,} instruction bytes, "
            f"{each.parameter_bytes:,} parameter bytes, {each.tile_cycles:,} tile cycles, narrow "
            f"memory {each.used_narrow_memory_bytes_per_tile:,} a tile, scratch "
            f"{each.scratch_bytes:,}"
        )
    for name, layers in (("in", package.inputs), ("out", package.outputs)):
        for layer in layers:
            yield (
                f"           {name:3} {layer.name} {'x'.join(map(str, layer.shape))}: "
                f"{layer.host_bytes:,} bytes on the host, {layer.device_bytes:,} on the device"
            )
    if package.source_operators is not None:
        ranges = _ranges(package.source_operators)
        yield f"           contains source operators {ranges}"


def _ranges(indices: tuple[int, ...]) -> str:
    """Return indices as ranges, such as ``0-3, 7``."""
    parts: List[List[int]] = []
    for index in indices:
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
