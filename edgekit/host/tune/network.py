# SPDX-License-Identifier: Apache-2.0
"""The float network of a source: what candidates are converted from and compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.formats.tflite import Model
from edgekit.host.convert.conversion import convert
from edgekit.host.convert.float_tflite import cut, float_model_of, tflite_inputs
from edgekit.host.convert.shapes import parse_input_shapes, static_shapes
from edgekit.host.convert.sources import find_source
from edgekit.host.convert.static_tflite import make_static
from edgekit.host.tune.options import SourceOptions
from edgekit.rewrite import turn_inputs


@dataclass(frozen=True)
class Network:
    """A float network."""

    path: Path  # the .tflite that candidates are converted from
    reference: ModelFile  # the network in float, with the inputs that the candidates have
    is_source: bool  # whether ``path`` is the source itself


def float_network(source: Any, options: SourceOptions, folder: Path) -> Network:  # noqa: ANN401
    """Return the float network of ``source``; TensorFlow reads what is not a .tflite once.

    Args:
        source: Anything that `convert` takes.
        options: How to read it.
        folder: Where to write a float .tflite.

    Raises:
        EdgeKitError: As `convert`.
    """
    file = find_source(source).file if isinstance(source, (str, Path)) else None
    if file is not None:
        return Network(Path(source), ModelFile.of(_turned(_static(file, options))), is_source=True)
    path = folder / "float.tflite"
    convert(source, output=path, mode="float", **options.source_keywords())
    return Network(path, ModelFile.of(_turned(read_model_file(path).model)), is_source=False)


def _static(file: ModelFile, options: SourceOptions) -> Model:
    """Return the part of a float .tflite that is converted, in static shapes."""
    where = file.path
    model = float_model_of(file, "int8")
    listing = f"edgekit inspect {where}"
    model = cut(model, options.inputs, options.outputs, where, listing)
    given = parse_input_shapes(options.input_shape)
    shapes = static_shapes(tflite_inputs(model), given, options.batch_size, where)
    return make_static(model, shapes, where)


def _turned(model: Model) -> Model:
    """Return ``model`` with inputs in NHWC where `convert` turns them."""
    return turn_inputs(model) or model
