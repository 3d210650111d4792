# SPDX-License-Identifier: Apache-2.0
"""``edgekit tune``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.clusters import open_pool
from edgekit.cli.convert import (
    ClassNamesOption,
    ConverterOption,
    InputsOption,
    IoOption,
    OutputOption,
    OutputsOption,
    SourceArgument,
    TrustOption,
    words,
)
from edgekit.cli.options import (
    BatchSizeOption,
    ClusterOption,
    InputShapeOption,
    PreprocessOption,
    SignatureOption,
)
from edgekit.cli.output import JsonOption, emit, note, table, warn
from edgekit.errors import GateError
from edgekit.extras import require_host_python

if TYPE_CHECKING:
    from edgekit.host.tune import TuneResult
    from edgekit.host.tune.result import Reported, Trial

CalibrationOption = Annotated[
    str,
    typer.Option(
        metavar="DATA",
        help="Calibration samples: a folder of images, an .npz or .npy file, or "
        "package.module:function.",
    ),
]
EvalOption = Annotated[
    str,
    typer.Option(
        "--eval",
        metavar="DATA",
        help="Other samples, best with labels: one half chooses between the trials, the other "
        "shows what the best one reaches. Samples that are in --data too are left out.",
    ),
]
MaxDropOption = Annotated[
    float,
    typer.Option(
        metavar="POINTS",
        min=0,
        help="How much worse than the float model the int8 model may be, in percentage points.",
    ),
]
MaxTrialsOption = Annotated[
    int, typer.Option(metavar="COUNT", min=1, help="How many conversions to try at most.")
]
RecipeOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE",
        help="Where to write the best recipe; by default OUTPUT with the suffix .recipe.toml.",
    ),
]
JournalOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE",
        help="Where to note every trial; by default OUTPUT with the suffix .journal.jsonl. The "
        "same command continues from it.",
    ),
]


def tune(
    source: SourceArgument,
    output: OutputOption,
    data: CalibrationOption,
    evaluation: EvalOption,
    max_drop: MaxDropOption = 0.5,
    max_trials: MaxTrialsOption = 100,
    recipe: RecipeOption = None,
    journal: JournalOption = None,
    preprocess: PreprocessOption = None,
    batch_size: BatchSizeOption = 1,
    input_shape: InputShapeOption = None,
    signature: SignatureOption = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = None,
    io: IoOption = "uint8",
    labels: ClassNamesOption = None,
    converter_python: ConverterOption = None,
    trust_source: TrustOption = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Search how to convert a network so that its int8 model stays within an accuracy budget."""
    require_host_python("tune")
    from edgekit.host.tune import tune as run_tune

    with open_pool(cluster) as pool:
        result = run_tune(
            source,
            data=data,
            eval_data=evaluation,
            output=output,
            max_drop=max_drop,
            max_trials=max_trials,
            recipe=recipe,
            journal=journal,
            preprocess=preprocess,
            batch_size=batch_size,
            input_shape=input_shape,
            signature=signature,
            inputs=words(inputs),
            outputs=words(outputs),
            io=io,
            labels=labels,
            converter_python=converter_python,
            trust_source=trust_source,
            on_trial=_note_trial,
            pool=pool,
        )
    warn(result.warnings)
    emit(result, lambda: "\n".join(render(result)), as_json=json)
    if not result.is_met:
        raise typer.Exit(GateError.exit_status)


def _note_trial(trial: Trial, best: Trial) -> None:
    """Print a trial and the best score so far on stderr."""
    found = f"no model: {trial.problem}" if trial.score is None else str(trial.score)
    text = f"trial {trial.number}: {trial.step}: {found}"
    if best.number != trial.number and best.score is not None:
        text += f"; best so far is trial {best.number}, {best.score}"
    note(text)


def render(result: TuneResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    yield table(
        ("trial", "what was tried", "score", "drop", "SNR dB", "maps", "est. ms"),
        [_row(each, result.best) for each in result.trials],
    )
    yield ""
    yield (
        f"chosen on  {result.num_search} samples of {result.evaluation.get('source', 'the data')}"
        + (f"; {result.num_left_out} calibration samples left out" * bool(result.num_left_out))
    )
    yield f"reported   on the other {result.num_report} samples, which no trial saw:"
    for each in result.reported:
        yield f"{each.name:10} {_reported(each)}"
    yield f"recipe     {result.recipe_file}: {result.recipe}"
    yield f"journal    {result.journal}: {len(result.trials)} trials"
    yield from _outcome(result)


def _row(trial: Trial, best: int) -> tuple[str, ...]:
    name = f"{trial.number}{' *' if trial.number == best else ''}"
    score, mapped = trial.score, trial.mapped
    if score is None or mapped is None:
        return (name, trial.step, f"no model: {trial.problem}", "", "", "", "")
    return (
        name,
        trial.step,
        str(score).split(", ", maxsplit=1)[0],
        f"{score.drop:.2f}",
        f"{score.snr_db:.1f}",
        f"{mapped.num_mapped}/{mapped.num_operators}",
        f"{mapped.estimated_ms:.2f}",
    )


def _reported(each: Reported) -> str:
    maps = f"{each.mapped.num_mapped} of {each.mapped.num_operators} operators map"
    return f"{each.score}, SNR {each.score.snr_db:.1f} dB; {maps} (trial {each.trial})"


def _outcome(result: TuneResult) -> Iterator[str]:
    from edgekit.host.tune.result import MET, NOTHING_BETTER

    budget = f"--max-drop {result.max_drop:g}"
    if result.outcome == MET:
        yield f"written    {result.output}: within {budget}"
        return
    command = ["edgekit", "convert", result.source, "--data", "DATA", "--recipe"]
    again = shlex.join([*command, result.recipe_file, "-o", "OUT.tflite"])
    if result.outcome == NOTHING_BETTER:
        yield f"not met    {budget}, and nothing better than convert's defaults was found"
    else:
        yield f"not met    {budget}; the best recipe is better than convert's defaults"
    yield f"           no model was written; to have the best one all the same: {again}"
