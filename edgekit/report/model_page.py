# SPDX-License-Identifier: Apache-2.0
"""The page of ``edgekit inspect --html``: the graph with its TPU and CPU parts in colour.

It is one file without scripts and downloads. All rows have the same height, so that the lanes next
to them are a single drawing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from edgekit.inspect import InspectResult, OperatorInfo, PackageInfo, TensorInfo
from edgekit.report.lanes import Edge, route

_ROW_PX = 46
_LANE_PX = 9
_MARGIN_PX = 8
_CHART_WIDTH, _CHART_HEIGHT = 360, 60
_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2733;--dim:#5b6b7c;--line:#9aa8b5;--card:#f1f4f7;
--tpu:#1a7f5a;--cpu:#c2571a;--plain:#41658a}
@media(prefers-color-scheme:dark){:root{--bg:#12181f;--fg:#e4eaf0;--dim:#9db0c0;--line:#5b6b7c;
--card:#1d2731;--tpu:#37b184;--cpu:#ec8a4c;--plain:#7fa6cf}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:760px;padding:12px;background:var(--bg);color:var(--fg);
font:14px/1.35 system-ui,sans-serif}
h1{font-size:18px;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:15px;margin:18px 0 6px}
p{margin:4px 0;color:var(--dim);overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:8px;margin:12px 0}
.card{background:var(--card);border-radius:8px;padding:8px 10px}
.card b{display:block;font-size:16px}
.card span{color:var(--dim);font-size:12px}
.key span{display:inline-block;margin-right:14px}
.key i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:5px}
.graph{position:relative}
.graph svg{position:absolute;top:0;left:0}
.row{height:46px;padding:3px 0}
.row>div{height:40px;border-left:4px solid var(--plain);background:var(--card);
border-radius:0 6px 6px 0;padding:2px 8px;overflow:hidden}
.row.tpu>div{border-color:var(--tpu);background:rgba(26,127,90,.16)}
.row.cpu>div{border-color:var(--cpu);background:rgba(194,87,26,.16)}
.row.end>div{border-color:var(--line);background:none}
.row b,.row small{display:block;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.row b{font-weight:600}.row small{color:var(--dim);font-size:12px}
svg path{fill:none;stroke:var(--line);stroke-width:1.5}
svg circle{fill:var(--fg)}
svg .area{fill:var(--plain);stroke:none;opacity:.75}
table{border-collapse:collapse;font-size:13px}
td,th{padding:3px 14px 3px 0;text-align:right;font-weight:400}
th{color:var(--dim)}td:first-child{text-align:left;color:var(--dim)}
"""


def model_page(result: InspectResult) -> str:
    """Return one self-contained HTML document about a model."""
    name = _file_name(result.model)
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{escape(name)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(name)}</h1>",
            f"<p>{escape(_subtitle(result))}</p>",
            _cards(result),
            _packages(result),
            _memory_chart(result),
            "<h2>Graph</h2>",
            _key(result),
            _graph(result),
            "</body></html>",
        )
    )


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _subtitle(result: InspectResult) -> str:
    made = f", needs runtime {result.min_runtime_version}" if result.packages else ""
    made += f", {result.compiler_note}" if result.compiler_note else ""
    return f"{result.kind}, {result.bytes:,} bytes{made}; sha256 {result.sha256[:12]}"


def _cards(result: InspectResult) -> str:
    cards = [
        (f"{len(result.operators)}", "operators in the file"),
        (f"{result.peak_activation_bytes:,} B", "activations at their peak"),
    ]
    if result.packages:
        cards += [
            (f"{result.cached_bytes:,} B", "parameters cached on the chip"),
            (f"{result.streamed_bytes:,} B", "parameters streamed each inference"),
            (f"{result.bus_bytes_per_inference:,} B", "over the bus each inference"),
            (f"{len(result.cpu_operators)}", "operators left on the CPU"),
        ]
    else:
        cards += [
            (f"{result.macs / 1e6:,.1f} M", "multiply-accumulates"),
            (f"{result.parameter_bytes:,} B", "parameters in the file"),
        ]
    items = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label in cards
    )
    return f'<div class="cards">{items}</div>'


def _packages(result: InspectResult) -> str:
    return "".join(_package(each) for each in result.packages)


def _package(package: PackageInfo) -> str:
    """Return a table with one column per executable, narrow enough for a phone."""
    executables = package.executables
    rows: list[tuple[str, list[int]]] = [
        ("instructions, B", [each.instruction_bytes for each in executables]),
        ("parameters, B", [each.parameter_bytes for each in executables]),
        ("over the bus, B", [sum(each.bus_bytes.values()) for each in executables]),
        ("busiest tile, cycles", [each.tile_cycles for each in executables]),
        (
            "narrow memory, B a tile",
            [each.used_narrow_memory_bytes_per_tile for each in executables],
        ),
        ("scratch memory, B", [each.scratch_bytes for each in executables]),
    ]
    head = "".join(f"<th>{each.type.lower().replace('_', ' ')}</th>" for each in executables)
    body = "".join(
        f"<tr><td>{label}</td>{''.join(f'<td>{value:,}</td>' for value in values)}</tr>"
        for label, values in rows
    )
    return (
        f"<h2>Edge TPU part, operator {package.operator_index}</h2>"
        f"<table><tr><th></th>{head}</tr>{body}</table>"
    )


def _key(result: InspectResult) -> str:
    if not result.packages:
        return "<p>This file is not compiled; edgekit check shows where its operators will run.</p>"
    text = (
        '<p class="key"><span><i style="background:var(--tpu)"></i>Edge TPU</span>'
        '<span><i style="background:var(--cpu)"></i>CPU</span></p>'
    )
    if result.source:
        name = escape(_file_name(result.source))
        return f"{text}<p>The graph is that of the source model, {name}.</p>"
    return text


def _memory_chart(result: InspectResult) -> str:
    """Return a chart of activation memory over time, with one bar per operator."""
    operators = result.source_operators or result.operators
    sizes = [each.activation_bytes for each in operators]
    if not sizes or not max(sizes):
        return ""
    step = _CHART_WIDTH / len(sizes)
    points = [f"M0,{_CHART_HEIGHT}"]
    for index, size in enumerate(sizes):
        top = _CHART_HEIGHT * (1 - size / max(sizes))
        points.append(f"L{index * step:.1f},{top:.1f}L{(index + 1) * step:.1f},{top:.1f}")
    points.append(f"L{_CHART_WIDTH},{_CHART_HEIGHT}Z")
    return (
        "<h2>Activation memory over time</h2>"
        f'<svg viewBox="0 0 {_CHART_WIDTH} {_CHART_HEIGHT}" width="100%" role="img" '
        f'preserveAspectRatio="none" height="{_CHART_HEIGHT}">'
        f'<path class="area" d="{"".join(points)}"/></svg>'
        f"<p>peak {max(sizes):,} bytes at operator {sizes.index(max(sizes))}, "
        f"first operator to the left</p>"
    )


def _graph(result: InspectResult) -> str:
    operators = result.source_operators or result.operators
    inputs = list(result.inputs)
    made = {tensor.name: row for row, tensor in enumerate(inputs)}
    taken: list[tuple[int, Sequence[str]]] = []
    for number, operator in enumerate(operators):
        row = len(inputs) + number
        taken.append((row, [tensor.name for tensor in operator.inputs]))
        made.update({tensor.name: row for tensor in operator.outputs})
    first_output = len(inputs) + len(operators)
    for number, tensor in enumerate(result.outputs):
        taken.append((first_output + number, [tensor.name]))
    edges, num_lanes = route(made, taken)
    gutter = num_lanes * _LANE_PX + 2 * _MARGIN_PX
    rows = [*(_end_row("input", each) for each in inputs)]
    rows += [_operator_row(each) for each in operators]
    rows += [_end_row("output", each) for each in result.outputs]
    height = len(rows) * _ROW_PX
    return (
        f'<div class="graph" style="padding-left:{gutter}px">'
        f'<svg width="{gutter}" height="{height}" aria-hidden="true">'
        f"{''.join(_paths(edges, gutter))}</svg>{''.join(rows)}</div>"
    )


def _paths(edges: Sequence[Edge], gutter: int) -> Iterator[str]:
    for edge in edges:
        x = gutter - _MARGIN_PX - (edge.lane + 0.5) * _LANE_PX
        start = (edge.start + 0.5) * _ROW_PX + 6
        for end in edge.ends:
            stop = (end + 0.5) * _ROW_PX - 6
            yield (
                f'<path d="M{gutter},{start:.0f}Q{x:.0f},{start:.0f} {x:.0f},{start + 10:.0f}'
                f'V{stop - 10:.0f}Q{x:.0f},{stop:.0f} {gutter},{stop:.0f}"/>'
                f'<circle cx="{gutter - 2}" cy="{stop:.0f}" r="2"/>'
            )


def _operator_row(operator: OperatorInfo) -> str:
    output = operator.outputs[0] if operator.outputs else None
    shape = f"  {_shape(output)}" if output else ""
    details = []
    if operator.macs:
        details.append(f"{operator.macs / 1e6:,.2f} M MACs")
    if operator.parameter_bytes:
        details.append(f"{operator.parameter_bytes:,} B parameters")
    if output and output.scale is not None:
        details.append(f"scale {output.scale:.4g}, zero point {output.zero_point}")
    if output:
        details.append(output.name)
    return (
        f'<div class="row {operator.place}"><div><b>{operator.index} {escape(operator.opcode)} '
        f"v{operator.version}{escape(shape)}</b>"
        f"<small>{escape(' · '.join(details))}</small></div></div>"
    )


def _end_row(kind: str, tensor: TensorInfo) -> str:
    return (
        f'<div class="row end"><div><b>{kind} {escape(_shape(tensor))}</b>'
        f"<small>{escape(tensor.name)}</small></div></div>"
    )


def _shape(tensor: TensorInfo) -> str:
    return f"{'x'.join(map(str, tensor.shape))} {tensor.dtype.lower()}"
