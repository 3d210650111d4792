# SPDX-License-Identifier: Apache-2.0
"""Compute the `CheckReport` of a quantized .tflite from the file alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Sequence

from edgekit.edgetpu.activations import count_crossings, measure_activations
from edgekit.edgetpu.blocker import find_blocker
from edgekit.edgetpu.chip import (
    ACTIVATION_BYTES,
    LATEST_RUNTIME,
    PARAMETER_CACHE_BYTES,
    RUNTIME_VERSIONS,
)
from edgekit.edgetpu.findings import end_issues, file_issues, mapping_issues, memory_issues
from edgekit.edgetpu.issues import ISSUE_CODES, Issue
from edgekit.edgetpu.limits import CPU, TPU
from edgekit.edgetpu.lints import find_lints
from edgekit.edgetpu.macs import count_macs
from edgekit.edgetpu.operation import Operation
from edgekit.edgetpu.parameters import lay_out_parameters
from edgekit.edgetpu.report import CheckReport, count_statuses
from edgekit.edgetpu.support import OperatorVerdict, judge_operators
from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.formats.model_file import ModelFile, ModelSource, read_model_file
from edgekit.formats.tflite import EDGETPU_CUSTOM_OP, Model, is_edgetpu_operator


def check_model(
    source: ModelSource, *, target: int = LATEST_RUNTIME, name: str | None = None
) -> CheckReport:
    """Report which operators of a .tflite map to the Edge TPU.

    Args:
        source: A path, or the content of a file.
        target: Runtime version to compile for: 10, 12, 13 or 14.
        name: The model's name in the report; by default its path.

    Raises:
        InputError: The file cannot be read.
        ModelFormatError: It is not a .tflite file, or is damaged.
        UnsupportedModelError: It is already compiled.
        UsageError: There is no such ``target``.
    """
    file = read_model_file(source)
    where = name or file.path or "model"
    check_runtime(target)
    refuse_compiled(file.model, where)
    return _Check(file.model, target).report(where, file)


def check_runtime(version: int) -> None:
    """Refuse a number that is not a version of the Edge TPU runtime.

    Raises:
        UsageError: It is none of 10, 12, 13 and 14.
    """
    if version not in RUNTIME_VERSIONS:
        raise UsageError(
            f"--min-runtime-version {version} is not a runtime version",
            fix=f"use one of {', '.join(map(str, RUNTIME_VERSIONS))}",
        )


def refuse_compiled(model: Model, where: str) -> None:
    """Refuse a compiled model and name the command for it.

    Raises:
        UnsupportedModelError: ``model`` contains an Edge TPU operator.
    """
    number = sum(is_edgetpu_operator(each) for _, _, each in model.operators())
    if number:
        raise UnsupportedModelError(
            "the model is compiled already",
            where=where,
            why=f"it contains {number} {EDGETPU_CUSTOM_OP}: the compiler has decided what maps",
            fix=f"to see what it contains: edgekit inspect {where}; or give the "
            ".tflite or the network that it was made from",
        )


@dataclass(frozen=True)
class _Check:
    """The steps of one check."""

    model: Model
    target: int

    def report(self, name: str, file: ModelFile) -> CheckReport:
        model, graph = self.model, self.model.main
        if_read = judge_operators(model, self.target)
        lints = find_lints(model)
        refusals = [each for each in (*file_issues(model), *lints) if each.severity == "error"]
        verdicts = _refused(if_read, refusals[0]) if refusals else if_read
        mapped = [each.index for each in verdicts if each.verdict == TPU]
        macs = [count_macs(Operation(model, index)) for index in range(len(graph.operators))]
        blocker = find_blocker(model, if_read, macs)
        layout = lay_out_parameters(model, mapped, runtime=self.target)
        activations = measure_activations(model, mapped)
        issues = [
            *file_issues(model),
            *mapping_issues(if_read, blocker),
            *lints,
            *memory_issues(layout, activations),
            *end_issues(model),
        ]
        return CheckReport(
            model=name,
            sha256=file.sha256,
            bytes=len(file.content),
            converted_from=None,
            notes=(),
            target=self.target,
            refused=bool(refusals),
            operators=verdicts,
            num_operators=len(verdicts),
            num_mapped=len(mapped),
            num_unknown=sum(each.verdict not in (TPU, CPU) for each in verdicts),
            num_mapped_if_read=sum(each.verdict == TPU for each in if_read),
            macs=sum(macs),
            mapped_macs=sum(macs[index] for index in mapped),
            first_blocker=None if blocker is None else blocker.index,
            blocker=blocker,
            on_chip_bytes=layout.cached_bytes,
            streamed_bytes=layout.streamed_bytes,
            cache_bytes=PARAMETER_CACHE_BYTES,
            parameters_exact=all(layer.exact for layer in layout.layers),
            activations=activations,
            activation_bytes=ACTIVATION_BYTES,
            crossings=count_crossings(model, mapped),
            table=count_statuses(verdicts),
            issues=tuple(issues),
        )


def _refused(verdicts: Sequence[OperatorVerdict], refusal: Issue) -> tuple[OperatorVerdict, ...]:
    """Return verdicts for a refused file: all CPU; those already CPU keep their reason."""
    return tuple(
        each
        if each.verdict == CPU
        else replace(
            each,
            verdict=CPU,
            reason=f"the compiler refuses the whole file: {refusal.where}: {refusal.message}",
            rule="refused",
            fix=refusal.fix,
            code=refusal.code,
            status="The compiler refuses the file",
            source=ISSUE_CODES[refusal.code].source,
        )
        for each in verdicts
    )
