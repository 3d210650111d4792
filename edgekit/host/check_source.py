# SPDX-License-Identifier: Apache-2.0
"""A float or Keras network gets the verdict that its conversion would have."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekit.data import Preprocess
from edgekit.edgetpu import CheckReport, check_model
from edgekit.edgetpu.chip import LATEST_RUNTIME
from edgekit.edgetpu.report import refused_report
from edgekit.formats.tflite import write_model
from edgekit.host import convert
from edgekit.host.enforce import NotEdgeTpuModelError

_RANDOM = "random"
_NUM_RANDOM = 4  # what maps depends on shapes and types; more samples only refine the ranges


def check_source(
    source: Any,  # noqa: ANN401 - a path, or a Keras model of any version
    *,
    data: Any = None,  # noqa: ANN401 - whatever open_dataset takes
    preprocess: str | Preprocess | None = None,
    target: int = LATEST_RUNTIME,
    **options: Any,  # noqa: ANN401 - the further arguments of convert
) -> CheckReport:
    """Convert ``source`` into a temporary file and check that.

    A network that `convert` refuses is checked as far as it got: with real numbers where it has
    them, or with nothing but the reasons.

    Args:
        source: What `convert` takes.
        data: Calibration samples; random numbers by default, which the result says.
        preprocess: How pixels become the network's input.
        target: Runtime version to compile for.
        options: As for `convert`: ``input_shape``, ``batch_size``, ``signature``, ...

    Raises:
        EdgeKitError: As for `convert`, but for models that break its rules.
    """
    name = str(source) if isinstance(source, (str, Path)) else f"Keras model {source.name}"
    notes = _notes(data)
    if data is None:
        data, options = _RANDOM, {"num_samples": _NUM_RANDOM, **options}
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        output = Path(folder, "model.tflite")
        try:
            convert(
                source,
                data=data,
                output=output,
                preprocess=preprocess,
                stop_early=False,
                **options,
            )
        except NotEdgeTpuModelError as error:
            notes = (
                *notes,
                f"edgekit convert refuses this network: {len(error.issues)} broken rules",
            )
            return replace(_refused(error, name, target), converted_from=name, notes=notes)
        report = check_model(output, target=target, name=name)
    return replace(report, converted_from=name, notes=notes)


def _notes(data: Any) -> tuple[str, ...]:  # noqa: ANN401
    if data is not None:
        return ("this is the verdict on its conversion with the data given",)
    return (
        "this is the verdict on its conversion, calibrated with random numbers: what maps depends "
        "on shapes and types, not on ranges; findings on scales (codes quant.*_overflow and "
        "quant.mixed_range_concat) need --data",
    )


def _refused(error: NotEdgeTpuModelError, name: str, target: int) -> CheckReport:
    """What can be said of a network that edgekit convert does not write."""
    if error.model is None:
        return refused_report(name, target, tuple(error.issues))
    report = check_model(write_model(error.model), target=target, name=name)
    known = {(issue.code, issue.where) for issue in report.issues}
    more = [issue for issue in error.issues if (issue.code, issue.where) not in known]
    return replace(report, issues=(*more, *report.issues))
