# SPDX-License-Identifier: Apache-2.0
"""``edgekit build``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.compile import CompilerOption
from edgekit.cli.convert import ActivationsOption, ClassNamesOption, ConverterOption, TrustOption
from edgekit.cli.options import (
    DeviceTimeoutOption,
    InputShapeOption,
    MinMappedOption,
    PreprocessOption,
    TaskOption,
)
from edgekit.cli.output import JsonOption, emit, note, progress, table, warn
from edgekit.errors import GateError
from edgekit.extras import require_host_python

if TYPE_CHECKING:
    from edgekit.building import BuildResult, BuildStep
    from edgekit.progress import Progress

SourceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        autocompletion=completion.sources,
        help="A trained network, as for convert; a quantized .tflite; or the edgekit.toml of an "
        "earlier build, which is repeated.",
    ),
]
DataOption = Annotated[
    Optional[str],
    typer.Option(metavar="DATA", help="Calibration samples, as for convert."),
]
EvalOption = Annotated[
    Optional[str],
    typer.Option("--eval", metavar="DATA", help="Samples to evaluate on; by default DATA."),
]
FolderOption = Annotated[
    Optional[Path],
    typer.Option("--output", "-o", metavar="FOLDER", help="The folder for all files."),
]
DeviceOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="DEVICE",
        autocompletion=completion.devices,
        help="What evaluates and times the model: cpu, or an Edge TPU: usb, pci, auto.",
    ),
]
EstimateOption = Annotated[
    Optional[str],
    typer.Option(metavar="DEVICE", help="The device of the estimate, as for estimate --device."),
]
DropOption = Annotated[
    Optional[float],
    typer.Option(
        metavar="POINTS",
        min=0,
        help="A gate: the largest drop of any metric against float, in percentage points. Errors "
        "(mae, rmse) may rise by that many percent.",
    ),
]
AgreementOption = Annotated[
    Optional[float],
    typer.Option(metavar="SHARE", help="A gate, as for evaluate --against."),
]
SnrOption = Annotated[
    Optional[float],
    typer.Option("--min-snr-db", metavar="DB", help="A gate, as for evaluate --against."),
]


def build(
    source: SourceArgument,
    data: DataOption = None,
    eval_data: EvalOption = None,
    output: FolderOption = None,
    preprocess: PreprocessOption = None,
    num_samples: Annotated[
        Optional[int], typer.Option(metavar="COUNT", min=1, help="Number of calibration samples.")
    ] = None,
    input_shape: InputShapeOption = None,
    labels: ClassNamesOption = None,
    replace_activations: ActivationsOption = None,
    clip_logits: Annotated[bool, typer.Option("--clip-logits", help="As for convert.")] = False,
    normalize_inputs: Annotated[
        bool, typer.Option("--normalize-inputs", help="As for convert.")
    ] = False,
    ranges: Annotated[
        Optional[str], typer.Option(metavar="RULE", help="As for convert: minmax, mse, ...")
    ] = None,
    converter_python: ConverterOption = None,
    trust_source: TrustOption = False,
    tune: Annotated[
        bool,
        typer.Option("--tune", help="Search for the best recipe of the conversion, on --eval."),
    ] = False,
    compiler: CompilerOption = "auto",
    task: TaskOption = None,
    device: DeviceOption = None,
    timeout_sec: DeviceTimeoutOption = None,
    estimate_device: EstimateOption = None,
    num_runs: Annotated[
        Optional[int], typer.Option(metavar="COUNT", min=1, help="Number of inferences to time.")
    ] = None,
    min_mapped: MinMappedOption = None,
    max_drop: DropOption = None,
    min_agreement: AgreementOption = None,
    min_snr_db: SnrOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Do every step again, also where nothing changed.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Do all steps: convert, check, compile, evaluate, benchmark, bundle, report."""
    require_host_python("build")
    from edgekit.building import BuildGates
    from edgekit.building import build as run_build

    limits = {
        "min_mapped": min_mapped,
        "max_drop": max_drop,
        "min_agreement": min_agreement,
        "min_snr_db": min_snr_db,
    }
    given = _set(limits)
    gates = BuildGates(**given) if given else None
    options: Dict[str, Dict[str, Any]] = {
        "convert": {
            "preprocess": preprocess,
            "num_samples": num_samples,
            "input_shape": list(input_shape) if input_shape else None,
            "labels": _text(labels),
            "replace_activations": replace_activations,
            "clip_logits": clip_logits,
            "normalize_inputs": normalize_inputs,
            "ranges": ranges,
            "converter_python": _text(converter_python),
        },
        "compile": {"compiler": None if compiler == "auto" else compiler},
        "evaluate": {"task": task, "device": device, "timeout_s": timeout_sec},
        "benchmark": {"num_runs": num_runs, "device": device, "timeout_s": timeout_sec},
        "estimate": {"device": estimate_device},
    }
    set_options = {name: _set(each) for name, each in options.items()}
    given_options = {name: each for name, each in set_options.items() if each}
    if tune:
        given_options["tune"] = {}
    with _Shown() as shown:
        result = run_build(
            source,
            data=data,
            output=output,
            eval_data=eval_data,
            gates=gates,
            options=given_options,
            trust_source=trust_source,
            is_forced=force,
            on_start=shown.begin,
            on_step=shown.end,
        )
    warn(result.warnings)
    emit(result, lambda: "\n".join(render(result)), as_json=json)
    for failure in result.failures:
        note(f"not met: {failure}")
    if result.failures:
        raise typer.Exit(GateError.exit_status)


class _Shown:
    """The steps on stderr: a progress bar while one runs, then a line."""

    def __init__(self) -> None:
        self._bar = contextlib.ExitStack()

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def begin(self, name: str) -> Progress:
        """Show that a step runs."""
        return self._bar.enter_context(progress(name))

    def end(self, step: BuildStep) -> None:
        """Show that it is done."""
        self._bar.close()
        note(f"{step.name:10} {_status(step)}")


def render(result: BuildResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    yield table(
        ("step", "status", "result"),
        [(step.name, _status(step), step.says) for step in result.steps],
    )
    for step in result.steps:
        if step.fix:
            yield f"to change  {step.name}: {step.fix}"
    yield ""
    written = [name for step in result.steps for name in step.outputs if not name.endswith(".json")]
    yield f"in         {result.folder}: {', '.join(written)}"
    yield f"again      {result.again}"
    yield f"took       {result.time_s:.1f} s"


def _status(step: BuildStep) -> str:
    if step.status == "kept":
        return f"kept, took {step.time_s:.1f} s before"
    return f"{step.status}, {step.time_s:.1f} s"


def _text(path: Optional[Path]) -> Optional[str]:
    return None if path is None else str(path)


def _set(options: Dict[str, Any]) -> Dict[str, Any]:
    """The options that the user gave."""
    return {
        name: value for name, value in options.items() if value is not None and value is not False
    }
