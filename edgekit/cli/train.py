# SPDX-License-Identifier: Apache-2.0
"""``edgekit train``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.convert import (
    ActivationsOption,
    ClassNamesOption,
    ClipLogitsOption,
    InputsOption,
    IoOption,
    OutputOption,
    OutputsOption,
    SourceArgument,
    TrustOption,
    words,
)
from edgekit.cli.grammar import OneOf
from edgekit.cli.metric_words import metric_text
from edgekit.cli.options import InputShapeOption, PreprocessOption, SignatureOption
from edgekit.cli.output import JsonOption, emit, note, progress, table, warn
from edgekit.extras import require_host_python

if TYPE_CHECKING:
    from edgekit.host.train import Epoch, TrainResult

# Copied from edgekit.host.train, which needs the host's Python. A test compares them.
LOSSES = ("auto", "distill", "labels", "both")

DataOption = Annotated[
    str,
    typer.Option(
        metavar="DATA",
        help="Training samples: a folder of images, an .npz or .npy file, or "
        "package.module:function; labels are optional.",
    ),
]
EvalOption = Annotated[
    str,
    typer.Option(
        "--eval", metavar="DATA", help="Other samples, which choose the best epoch; with labels."
    ),
]
EpochsOption = Annotated[
    int,
    typer.Option(
        metavar="COUNT", min=1, help="The largest number of passes over the training samples."
    ),
]
TrainBatchOption = Annotated[
    int,
    typer.Option(
        "--train-batch", metavar="COUNT", min=1, help="Samples for each step of the training."
    ),
]
RateOption = Annotated[
    float,
    typer.Option(
        metavar="RATE", min=0, help="The first step's size, relative to the size of the weights."
    ),
]
LossOption = Annotated[
    str,
    typer.Option(
        help="distill: answer like the float network; labels: be right; auto: both if there are "
        "class labels, else distill."
    ),
    OneOf(*LOSSES),
]
PatienceOption = Annotated[
    int,
    typer.Option(metavar="COUNT", min=1, help="Stop after so many epochs without a better one."),
]
SamplesOption = Annotated[
    int,
    typer.Option(metavar="COUNT", min=1, help="Number of training samples, spread over the data."),
]
NumEvalOption = Annotated[
    Optional[int],
    typer.Option(metavar="COUNT", min=1, help="Number of evaluation samples; all by default."),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue from the checkpoint beside OUTPUT.")
]


def train(
    source: SourceArgument,
    output: OutputOption,
    data: DataOption,
    evaluation: EvalOption,
    epochs: EpochsOption = 10,
    train_batch: TrainBatchOption = 32,
    learning_rate: RateOption = 1e-3,
    loss: LossOption = "auto",
    patience: PatienceOption = 3,
    num_samples: SamplesOption = 2000,
    num_eval: NumEvalOption = None,
    clip_logits: ClipLogitsOption = False,
    replace_activations: ActivationsOption = None,
    preprocess: PreprocessOption = None,
    labels: ClassNamesOption = None,
    input_shape: InputShapeOption = None,
    signature: SignatureOption = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = None,
    trust_source: TrustOption = False,
    io: IoOption = "uint8",
    resume: ResumeOption = False,
    json: JsonOption = False,
) -> None:
    """Fine-tune a network with its int8 rounding, and convert it with the trained ranges."""
    require_host_python("train")
    from edgekit.host.train import train as run_train

    with progress("training") as on_progress:
        result = run_train(
            source,
            data=data,
            eval_data=evaluation,
            output=output,
            epochs=epochs,
            train_batch=train_batch,
            learning_rate=learning_rate,
            loss=loss,
            patience=patience,
            num_samples=num_samples,
            num_eval=num_eval,
            clip_logits=clip_logits,
            replace_activations=replace_activations,
            preprocess=preprocess,
            labels=labels,
            input_shape=list(input_shape) if input_shape else None,
            signature=signature,
            inputs=words(inputs),
            outputs=words(outputs),
            trust_source=trust_source,
            io=io,
            resume=resume,
            progress=on_progress,
            on_epoch=_note_epoch,
        )
    warn(result.warnings)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def _note_epoch(epoch: Epoch, best: Epoch) -> None:
    """Print the int8 model's score after an epoch, and the best so far, on stderr."""
    text = f"epoch {epoch.number}: {epoch.score}, {epoch.score.snr_db:.1f} dB"
    if best.number != epoch.number:
        text += f"; best so far is epoch {best.number}, {best.score}"
    note(text)


def render(result: TrainResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    from edgekit.cli.convert import render as render_conversion

    yield table(
        ("epoch", "loss", "int8", "SNR dB", "s"), [_row(each, result) for each in result.epochs]
    )
    yield ""
    best = result.epochs[result.best]
    if best.score.reference is not None:
        name = best.score.measure
        yield f"float      {name} {metric_text(name, best.score.reference)}"
    yield f"untrained  {result.plain}"
    yield f"trained    {best.score}, epoch {best.number}"
    yield (
        f"learned    {result.loss}, on {result.num_train} samples; chosen on {result.num_eval} "
        "others"
    )
    yield f"network    {result.float_output}: the trained network; convert takes its ranges"
    yield f"checkpoint {result.checkpoint}"
    yield ""
    yield from render_conversion(result.convert)


def _row(each: Epoch, result: TrainResult) -> tuple[str, ...]:
    star = " *" if each.number == result.best else ""
    loss = "" if each.loss is None else f"{each.loss:.4f}"
    return (
        f"{each.number}{star}",
        loss,
        str(each.score),
        f"{each.score.snr_db:.1f}",
        f"{each.time_s:.1f}",
    )
