# SPDX-License-Identifier: Apache-2.0
"""`edgekit.debug`: read a float .tflite directly; convert anything else to one first."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from edgekit.debug import DebugOptions, DebugResult, debug_models
from edgekit.distribution import WHOLE
from edgekit.errors import MissingExtraError, UsageError
from edgekit.extras import HOST_PYTHON
from edgekit.formats.model_file import ModelFile, read_if_tflite
from edgekit.progress import no_progress

if TYPE_CHECKING:
    from typing import Sequence

    from typing_extensions import TypedDict, Unpack

    from edgekit.data import Preprocess
    from edgekit.files import PathLike
    from edgekit.formats.model_file import ModelSource

    class SourceKeywords(TypedDict, total=False):
        """The arguments of `edgekit.convert` that `debug` passes on."""

        batch_size: int
        input_shape: str | Sequence[str] | Sequence[int] | None
        signature: str | None
        inputs: Sequence[str] | None
        outputs: Sequence[str] | None
        converter_python: PathLike | None
        trust_source: bool
        timeout_s: float | None


_ALWAYS_GIVEN = {"batch_size", "timeout_s"}  # they do not matter to a .tflite


def debug(
    source: Any,  # noqa: ANN401 - a path, bytes, or a Keras model of any version
    model: ModelSource,
    data: Any,  # noqa: ANN401 - anything that open_dataset takes
    *,
    preprocess: str | Preprocess | None = None,
    num_samples: int = 32,
    runtime: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    **options: Unpack[SourceKeywords],
) -> DebugResult:
    """Find where an int8 model loses accuracy, operator by operator, and why.

    Each operator is measured alone (only it is quantized, seen at the network's outputs) and with
    all before it. The causes are ranked by what they cost at the outputs and could be avoided.

    Args:
        source: The float network: a float .tflite, or anything that `convert` takes, which needs
            TensorFlow (the extra ``host``).
        model: A full-integer .tflite of the same network, by any converter.
        data: Samples, like those of real use: anything that `open_dataset` takes.
        preprocess: How pixels become the network's input.
        num_samples: How many samples, spread over the data and its classes.
        runtime: ``litert``, ``tflite-runtime`` or ``tensorflow``; None uses the first installed.
        progress: Called with (steps done, steps in all).
        options: How to read a source that is not a .tflite, as for `convert`.

    Raises:
        UnsupportedModelError: The files are not a float and an integer model of one network.
        DataError: The data cannot be read, do not fit, or contain NaN.
        InputError: A file cannot be read.
        UsageError: The options contradict the source.
        ExternalToolError: TensorFlow is needed, but is missing or failed.
    """
    chosen = DebugOptions(preprocess, num_samples, runtime, _name_of(source))
    report = progress or no_progress
    network = _tflite(source)
    if network is not None:
        given = sorted(name for name in set(options) - _ALWAYS_GIVEN if options.get(name))
        if given:
            raise UsageError(
                f"--{given[0].replace('_', '-')} has no effect on a float .tflite",
                fix="leave it out",
            )
        return debug_models(network, model, data, chosen, report)
    if sys.version_info < HOST_PYTHON:
        raise MissingExtraError(
            "a network must be converted to a float .tflite before it can be compared",
            where=_name_of(source),
            why="conversion needs TensorFlow and Python 3.10 or later",
            fix=f"run it on a computer with {WHOLE}[host], or give a float .tflite",
        )
    from edgekit.host.convert import convert  # noqa: PLC0415 - not possible on a device

    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        output = Path(folder, "float.tflite")
        convert(source, output=output, mode="float", **options)
        return debug_models(output, model, data, chosen, report)


def _tflite(source: Any) -> ModelSource | None:  # noqa: ANN401
    """Return ``source`` if it is a .tflite or a `ModelFile`, else None."""
    if isinstance(source, (bytes, bytearray, memoryview, ModelFile)):
        return source if isinstance(source, ModelFile) else bytes(source)
    if not isinstance(source, (str, Path)) or Path(source).is_dir():
        return None
    return read_if_tflite(source, "float network")[1]


def _name_of(source: Any) -> str:  # noqa: ANN401
    if isinstance(source, (str, Path)):
        return str(source)
    return "" if isinstance(source, (bytes, bytearray, memoryview)) else "FLOAT"
