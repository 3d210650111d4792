# SPDX-License-Identifier: Apache-2.0
"""``edgekit convert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional, Sequence

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.grammar import OneOf
from edgekit.cli.options import (
    BatchSizeOption,
    InputShapeOption,
    PreprocessOption,
    SignatureOption,
)
from edgekit.cli.output import JsonOption, emit, progress, warn
from edgekit.extras import require_host_python

if TYPE_CHECKING:
    from edgekit.evaluate.outputs import Agreement
    from edgekit.host.convert.improve.improve import Improvement
    from edgekit.host.convert.result import ConvertResult, Endpoint

_SHOWN_LABELS = 8
# Copied from edgekit.host.convert, which needs the host's Python. A test compares them.
IO = ("uint8", "int8", "float32")
MODES = ("int8", "float-fallback", "dynamic", "float")
QUANTIZERS = ("auto", "edgekit", "tensorflow")
_QUANTIZER_NAMES = {"edgekit": "edgekit's", "tensorflow": "TensorFlow's"}
_SHOWN_VERSIONS = (
    "onnx2tf",
    "litert-torch",
    "torch",
    "tensorflow",
    "ai-edge-litert",
    "tflite-runtime",
)

SourceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        autocompletion=completion.sources,
        help="A .keras, .h5, frozen .pb, .onnx, .pt2 or float .tflite file, or the folder of a "
        "SavedModel.",
    ),
]
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="The .tflite file to write.")
]
CalibrationOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="DATA",
        help="Calibration samples: a folder of images, an .npz or .npy file, or "
        "package.module:function; or random (numbers, only to try whether it converts).",
    ),
]
NumSamplesOption = Annotated[
    int,
    typer.Option(
        metavar="COUNT",
        min=1,
        help="Number of calibration samples, spread over the data and its classes.",
    ),
]
InputsOption = Annotated[
    Optional[List[str]],
    typer.Option(
        metavar="NAME",
        help="Tensors (or layers) to feed instead of the inputs; the model is cut there. "
        "NAME=VALUE fixes a placeholder of a frozen graph.",
    ),
]
OutputsOption = Annotated[
    Optional[List[str]],
    typer.Option(
        metavar="NAME",
        help="Tensors (or layers) to compute instead of the outputs; the model is cut there.",
    ),
]
IoOption = Annotated[str, typer.Option(help="Type of inputs and outputs."), OneOf(*IO)]
ModeOption = Annotated[
    str,
    typer.Option(
        help="int8 is for the Edge TPU and checked; the other modes are not for the Edge TPU."
    ),
    OneOf(*MODES),
]
ConverterOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="PATH",
        help="The Python of another environment, with TensorFlow, onnx2tf or litert-torch.",
    ),
]
TrustOption = Annotated[
    bool, typer.Option("--trust-source", help="Run code that the source contains.")
]
CustomObjectsOption = Annotated[
    Optional[List[str]],
    typer.Option(
        metavar="MODULE",
        help="A Python module (package.module) with layers that the source names; it is imported, "
        "from this folder or the converter's Python. Repeat for more.",
    ),
]
ActivationsOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="HOW",
        help="Replace activations that do not map before quantization: mappable, relu or "
        "relu6 for all, or KIND=HOW,... (swish, gelu, hard_swish, leaky_relu, prelu, elu, mish).",
    ),
]
ClassNamesOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE",
        help="A file with one class name per line, for the model's metadata; by default the "
        "names of the class folders in DATA.",
    ),
]
MinAgreementOption = Annotated[
    Optional[float],
    typer.Option(
        metavar="SHARE",
        help="A gate: write nothing and exit with 4 if the int8 model keeps a smaller share "
        "of the float model's answers (classes, objects, masks, scores); for example 0.95.",
    ),
]
MinSnrOption = Annotated[
    Optional[float],
    typer.Option(
        metavar="DB",
        help="A gate: write nothing and exit with 4 if an output's signal-to-noise ratio, "
        "about its mean, is lower than this many dB; for example 12.",
    ),
]
NoFixOption = Annotated[
    bool,
    typer.Option(
        "--no-fix",
        help="Leave out the rewrites that make more of the model map; an input in NCHW stays.",
    ),
]
PlainOption = Annotated[
    bool,
    typer.Option(
        "--plain",
        help="Quantize the network without the changes that make the int8 model more accurate.",
    ),
]
ClipLogitsOption = Annotated[
    bool,
    typer.Option(
        "--clip-logits",
        help="Limit output scores (logits) that reach far beyond -16 to 16 to that range, so that "
        "their steps become smaller; a sigmoid is 0 or 1 outside of it.",
    ),
]
NormalizeInputsOption = Annotated[
    bool,
    typer.Option(
        "--normalize-inputs",
        help="Let the model read (value - mean) / std of each feature of its inputs, with weights "
        "that undo it: for features of very different ranges. Commands of edgekit normalize by the "
        "numbers in the model's metadata; code of your own must do it itself.",
    ),
]
QuantizerOption = Annotated[
    str,
    typer.Option(
        help="Which quantizer makes the integers: edgekit's (faster, in less memory, without "
        "TensorFlow), tensorflow's, or auto: edgekit's if it knows every operator."
    ),
    OneOf(*QUANTIZERS),
]
RangesOption = Annotated[
    str,
    typer.Option(
        metavar="RULE",
        help="How the range of a tensor follows from its values on the samples: minmax (all of "
        "them); mse (least square error), entropy or percentile:99.99, which cut off rare values; "
        "samples:95, which ignores the most extreme 5 % of samples.",
    ),
]
RecipeOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE",
        help="A recipe of edgekit tune: it states the number of samples, --ranges, --clip-logits, "
        "--replace-activations and the changes before quantization.",
    ),
]
TimeoutOption = Annotated[
    Optional[float],
    typer.Option(metavar="SECONDS", min=0.001, help="Stop with an error after this many seconds."),
]


def convert(
    source: SourceArgument,
    output: OutputOption,
    data: CalibrationOption = None,
    preprocess: PreprocessOption = None,
    num_samples: NumSamplesOption = 100,
    batch_size: BatchSizeOption = 1,
    input_shape: InputShapeOption = None,
    signature: SignatureOption = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = None,
    io: IoOption = "uint8",
    mode: ModeOption = "int8",
    converter_python: ConverterOption = None,
    trust_source: TrustOption = False,
    custom_objects: CustomObjectsOption = None,
    replace_activations: ActivationsOption = None,
    labels: ClassNamesOption = None,
    min_agreement: MinAgreementOption = None,
    min_snr_db: MinSnrOption = None,
    no_fix: NoFixOption = False,
    plain: PlainOption = False,
    clip_logits: ClipLogitsOption = False,
    normalize_inputs: NormalizeInputsOption = False,
    ranges: RangesOption = "minmax",
    recipe: RecipeOption = None,
    quantizer: QuantizerOption = "auto",
    timeout_sec: TimeoutOption = None,
    json: JsonOption = False,
) -> None:
    """Convert a trained network to an integer-only .tflite, and check the result."""
    require_host_python("convert")
    from edgekit.host.convert import convert as run_convert

    with progress("calibrating") as on_progress:
        result = run_convert(
            source,
            data=data,
            output=output,
            preprocess=preprocess,
            num_samples=num_samples,
            batch_size=batch_size,
            input_shape=input_shape,
            signature=signature,
            inputs=words(inputs),
            outputs=words(outputs),
            io=io,
            mode=mode,
            converter_python=converter_python,
            trust_source=trust_source,
            custom_objects=words(custom_objects),
            timeout_s=timeout_sec,
            replace_activations=replace_activations,
            min_agreement=min_agreement,
            min_snr_db=min_snr_db,
            labels=labels,
            fix=not no_fix,
            plain=plain,
            clip_logits=clip_logits,
            normalize_inputs=normalize_inputs,
            ranges=ranges,
            recipe=recipe,
            quantizer=quantizer,
            progress=on_progress,
        )
    warn(result.warnings)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: ConvertResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    ratio = _against_float(result.ratio) if result.ratio else ""
    yield f"written    {result.output}: {result.bytes:,} bytes{ratio}"
    if result.agreement is not None:
        yield from _accuracy(result, result.agreement)
    yield f"source     {result.source}, read by {result.loader}"
    if result.network:
        yield f"network    {result.network}"
    if result.enforced:
        yield "enforced   integer-only, static shapes, readable by edgetpu_compiler 16"
    else:
        yield f"enforced   nothing: --mode {result.mode} is not for the Edge TPU"
    same = result.source_agreement
    if same is not None:
        yield (
            f"same       the float model as the source in its own runtime, on {same.num_samples} "
            f"samples: at most {same.relative:.1e} of the largest value apart"
        )
    for kind, ends in (("input", result.inputs), ("output", result.outputs)):
        for end in ends:
            yield f"{kind:10} {_describe(end)}"
    if result.preprocess:
        yield f"preprocess {result.preprocess}: {result.preprocess_reason}"
    if result.labels:
        yield f"labels     {_shortened(result.labels)}"
    for each in result.improvements:
        yield f"improved   {_improved(each)}"
    counts = ", ".join(f"{name} {count}" for name, count in result.operators.items())
    yield f"operators  {counts}"
    if result.outcome is not None:
        from edgekit.host.convert.outcome_lines import render_outcome

        lines = render_outcome(result.outcome, result.output)
        yield from (f"{label:10} {text}" for label, text in lines)
    if result.agreement is not None:
        yield f"calibrated {_calibrated(result)}"
        yield from _agreement(result, result.agreement)
    peak = result.peak_rss_bytes / (1 << 20)
    versions = result.versions
    if result.quantizer:
        reason = f": {result.quantizer_reason}" if result.quantizer_reason else ""
        yield f"quantizer  {_QUANTIZER_NAMES[result.quantizer]}{reason}"
    used = ", ".join(f"{name} {versions[name]}" for name in _SHOWN_VERSIONS if name in versions)
    yield f"took       {result.time_s:.1f} s, {peak:,.0f} MiB at most, {used}"


def _describe(end: Endpoint) -> str:
    text = f"{end.name} {list(end.shape)} {end.dtype}"
    if end.scale is not None:
        text += f", scale {end.scale:.6g}, zero point {end.zero_point}"
    if end.calibration_min is not None:
        text += f", calibrated over {end.calibration_min:g} to {end.calibration_max:g}"
    return text


def _improved(improvement: Improvement) -> str:
    reason = "requested"
    if improvement.exact:
        proof = improvement.float_snr_db
        reason = "bit-equal in float" if proof is None else f"equal in float to {proof:.0f} dB"
    pairs = zip(improvement.before_db, improvement.after_db, strict=True)
    gains = ", ".join(f"{old:.1f} to {new:.1f}" for old, new in pairs)
    return f"{improvement.text} ({reason})" + (f": SNR in a trial {gains} dB" if gains else "")


def _calibrated(result: ConvertResult) -> str:
    counts = result.samples_per_class.values()
    text = f"{result.num_samples} samples"
    if "part" in result.data:
        text += f" of {result.data['source']}"
    if counts:
        least, most = min(counts), max(counts)
        each = f"{least}" if least == most else f"{least} to {most}"
        text += f", {each} of each of {len(counts)} classes"
    promised = result.promised_range
    return text + (f", pixels become {promised[0]:g} to {promised[1]:g}" if promised else "")


def _accuracy(result: ConvertResult, agreement: Agreement) -> Iterator[str]:
    """Yield the verdict, and what would show the accuracy if nothing does."""
    from edgekit.data.random_samples import RANDOM
    from edgekit.host.convert.result import LABELS, STATISTICS, TRAINED_RANGES
    from edgekit.runtime.quality import GOOD, LEAST_SAMPLES, NOT_SHOWN, UNKNOWN

    count = f"{result.num_judged} samples"
    if agreement.verdict == GOOD:
        shown = {
            LABELS: ", which are like the training data, by their labels",
            STATISTICS: ", which are like the training data, by its statistics in the network",
            TRAINED_RANGES: "; the ranges are those of its training",
        }[result.shown_by]
        yield f"accuracy   good: like the float model on {count}{shown}"
        return
    if agreement.verdict not in (NOT_SHOWN, UNKNOWN):
        yield f"accuracy   {agreement.verdict}: see the warnings"
        return
    why = (
        f"like the float model on {count}, but neither labels nor the network show whether they "
        "are like those of real use"
    )
    if agreement.findings:
        why = f"close to the float model on {count}, but perhaps less exact: see the warnings"
    if agreement.unlike:
        why = (
            f"like the float model on {count}, but these seem unlike those of real use: see the "
            "warnings"
        )
    if agreement.verdict == UNKNOWN:
        why = f"no verdict on {count}"
        if result.data.get("kind") == RANDOM:
            why = "the samples are random numbers"
        elif result.num_judged < LEAST_SAMPLES:
            why = f"{count} are too few"
    yield f"accuracy   not shown: {why}"
    yield f"           to measure it on samples of real use: {result.measured_with}"


def _agreement(result: ConvertResult, agreement: Agreement) -> Iterator[str]:
    from edgekit.evaluate.outputs import describe_agreement

    yield from describe_agreement(agreement)
    check = result.label_check
    if check is not None:
        yield f"by labels  the float model is right on {check.num_right} of {check.num_samples}"
    errors = result.target_check
    if errors is not None:
        before, after = (sum(each) / len(each) for each in (errors.float_mae, errors.mae))
        yield f"by labels  mean absolute error {after:.4g}, {before:.4g} in float"
    apart = "not used for calibration" if result.held_out else "the calibration samples"
    yield f"judged on  {result.num_judged} samples, {apart}"


def _against_float(ratio: float) -> str:
    if ratio < 1:
        return f", {1 / ratio:.2f} times larger than in float"
    return f", {ratio:.2f} times smaller than in float"


def _shortened(labels: Sequence[str]) -> str:
    rest = len(labels) - _SHOWN_LABELS
    shown = ", ".join(labels[:_SHOWN_LABELS])
    return shown + (f" and {rest} more" if rest > 0 else "")


def words(values: Sequence[str] | None) -> list[str] | None:
    """Return the names of a repeated option; each value may be several, with commas."""
    if not values:
        return None
    return [word for value in values for word in value.split(",") if word]
