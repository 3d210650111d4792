# SPDX-License-Identifier: Apache-2.0
"""Write docs/quality-blind.md: the verdict on networks that had no part in its limits.

    python scripts/blind_test.py CORPUS WORK [--set SET] [-o docs/quality-blind.md]

The page has all sets; ``--set`` makes only one of them anew. A set without results in WORK keeps
its table.
CORPUS contains mnist/mnist.npz and imagenet/ with photographs; WORK gets the models and samples.
Whether an int8 model is bad is measured by the true answers, which the verdict does not see:
`convert` and `evaluate --against` get samples without labels. A folder in WORK with a result is not
made again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import convert, evaluate, files
from edgekit.host.convert.child import kept_converters
from edgekit.runtime import Runner
from edgekit.runtime.quality import GOOD, NOT_SHOWN, UNKNOWN
from scripts import (
    blind_mild,
    blind_networks,
    blind_networks_2,
    blind_networks_3,
    blind_networks_4,
    blind_networks_5,
    blind_networks_6,
    blind_networks_7,
    blind_networks_8,
)
from scripts.blind_parts import (
    ACCURACY,
    ERROR,
    NUM_HELD_OUT,
    SHARE,
    Array,
    Corpus,
    Network,
    Scoring,
    made,
)

BAD, FAIR, WEAK = "bad", "fair", "weak"
_SETS = {
    "first": blind_networks,
    "second": blind_networks_2,
    "mild": blind_mild,
    "third": blind_networks_3,
    "fourth": blind_networks_4,
    "fifth": blind_networks_5,
    "sixth": blind_networks_6,
    "seventh": blind_networks_7,
    "eighth": blind_networks_8,
}
# (good, bad): the change of a score from float to int8 that is still good, and that is bad.
_MOST_LOST = {ACCURACY: (0.02, 0.05)}  # a difference
_LEAST_KEPT = {SHARE: (0.95, 0.75)}  # a ratio
_MOST_GROWN = {ERROR: (1.15, 2.0)}  # a ratio
_COLUMNS = "| network | task | score, float -> int8 | known | convert | evaluate | causes named |"
# A float network that is not better than a constant answer has nothing to lose.
_SIGMAS, _LEAST_GAIN = 2.0, 0.1
_TEXT = Path(__file__).with_suffix(".txt")  # the page, with a line {set} for each table


def main() -> None:
    """Make, convert and judge every network, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--set", choices=_SETS)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/quality-blind.md"))
    words = parser.parse_args()
    for name in [words.set] if words.set else _SETS:
        make(name, words.corpus, words.work / name)
    found = {name: results(words.work / name) for name in _SETS}
    old = words.output.read_text(encoding="utf-8") if words.output.exists() else ""
    files.write_text(words.output, page(found, old))


def make(name: str, corpus: Path, work: Path) -> None:
    """Judge the networks of a set whose folders in ``work`` have no result."""
    networks = _SETS[name]
    with kept_converters():
        for network in made(Corpus(corpus, networks.SEED), networks.MAKERS):
            folder = work / network.name
            if not (folder / "result.json").exists():
                folder.mkdir(parents=True, exist_ok=True)
                result = json.dumps(judge(network, folder), indent=1)
                (folder / "result.json").write_text(result, encoding="utf-8")
            print(network.name, flush=True)


def results(work: Path) -> list[dict[str, Any]]:
    """Return the results in ``work``, by name."""
    paths = sorted(work.glob("*/result.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def judge(network: Network, folder: Path) -> dict[str, Any]:
    """Convert ``network``, and return its scores beside the verdicts."""
    np.savez(folder / "calibration.npz", **network.calibration)  # type: ignore[arg-type] # numpy/numpy#24631
    np.savez(folder / "held_out.npz", **network.held_out)  # type: ignore[arg-type] # the same
    reference, model = folder / "float.tflite", folder / "int8.tflite"
    convert(network.model, mode="float", output=reference)
    converted = convert(
        network.model,
        data=folder / "calibration.npz",
        output=model,
        num_samples=network.num_samples,
    )
    result = evaluate(model, folder / "held_out.npz", against=reference)
    if result.against is None or result.against.quality is None or converted.agreement is None:
        raise ValueError(f"{network.name}: nothing was compared")
    quality = result.against.quality
    scores = [network.scoring.of(outputs_of(each, network)) for each in (reference, model)]
    return {
        "name": network.name,
        "task": network.task,
        "kind": network.scoring.kind,
        "float": scores[0],
        "int8": scores[1],
        "known": known(network.scoring, scores[0], scores[1]),
        "convert": converted.agreement.verdict,
        "unlike": [each.code for each in converted.agreement.unlike],
        "convert_warnings": list(converted.warnings),
        "evaluate": quality.verdict,
        "evaluate_warnings": list(result.warnings),
        "causes": [each.code for each in quality.causes],
        # Of outputs that are few numbers: signal to noise, and how irregular the float model is.
        "targets": [
            (each.record.absolute_snr_db, each.record.irregularity) for each in quality.outputs
        ],
    }


def outputs_of(path: Path, network: Network) -> list[NDArray[Any]]:
    """Return the real outputs for the held-out samples, in the order of the Keras model."""
    with Runner(path) as runner:
        names = list(network.held_out)
        fed: list[Array] = []
        for info in runner.inputs:
            name = next((each for each in names if each in info.name), names[0])
            fed.append(network.held_out[name])
        count = len(fed[0])
        rows = [
            runner.predict(
                *(
                    each[k : k + 1].reshape(info.shape)
                    for each, info in zip(fed, runner.inputs, strict=True)
                )
            )
            for k in range(count)
        ]
    outputs = [np.concatenate(each) for each in zip(*rows, strict=True)]
    wanted = [tuple(each.shape[1:]) for each in network.model.outputs]
    return [_output(outputs, shape) for shape in wanted]


def _output(outputs: Sequence[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the output of a shape; `convert` may have made several of one, in the same order."""
    found = next((each for each in outputs if each.shape[1:] == shape), None)
    return np.concatenate(outputs, axis=-1) if found is None else found


def known(scoring: Scoring, before: float, after: float) -> str:
    """Return good, fair, bad or weak: what became of a score."""
    if not _is_skilled(scoring, before):
        return WEAK
    if scoring.kind in _MOST_LOST:
        good, bad = _MOST_LOST[scoring.kind]
        return _level(before - after <= good, before - after > bad)
    if scoring.kind in _LEAST_KEPT:
        good, bad = _LEAST_KEPT[scoring.kind]
        return _level(after >= good * before, after < bad * before)
    good, bad = _MOST_GROWN[scoring.kind]
    return _level(after <= good * before, after >= bad * before)


def _is_skilled(scoring: Scoring, score: float) -> bool:
    """Whether a score is better than that of the best constant answer."""
    guess = scoring.guess
    if scoring.kind == ACCURACY:
        return score > guess + _SIGMAS * math.sqrt(guess * (1 - guess) / NUM_HELD_OUT)
    if scoring.kind == ERROR:
        return score <= (1 - _LEAST_GAIN) * guess
    return score >= guess + _LEAST_GAIN


def _level(is_good: bool, is_bad: bool) -> str:
    return GOOD if is_good else BAD if is_bad else FAIR


def page(found: Mapping[str, Sequence[dict[str, Any]]], old: str) -> str:
    """Return the page with a row for each network, and the counts of each set.

    Args:
        found: The results of each set; a set without results keeps its table.
        old: The existing page.
    """
    text = _TEXT.read_text(encoding="utf-8")
    kept = [_COLUMNS + _table(each) for each in old.split(_COLUMNS)[1:]]
    for place, (name, networks) in enumerate(found.items()):
        rows = [_COLUMNS, "|---" * (_COLUMNS.count("|") - 1) + "|", *map(_row, networks)]
        table = "\n".join([*rows, "", *summary(networks)]) if networks else kept[place]
        text = text.replace(f"{{{name}}}", table)
    return text


def _table(text: str) -> str:
    """Return the rows and counts at the beginning of a text."""
    lines = itertools.takewhile(lambda line: line[:2] in ("", "| ", "|-", "- "), text.split("\n"))
    return "\n".join(lines).rstrip()


def _row(each: dict[str, Any]) -> str:
    marks = [_mark(each["known"], each[command]) for command in ("convert", "evaluate")]
    warned = ", unlike samples" * (each["convert"] == NOT_SHOWN and bool(each.get("unlike")))
    cells = (
        each["name"],
        each["task"],
        f"{each['kind']} {each['float']:.4g} -> {each['int8']:.4g}",
        each["known"],
        f"{each['convert']}{warned}{marks[0]}",
        f"{each['evaluate']}{marks[1]}",
        ", ".join(dict.fromkeys(code.split(".")[1] for code in each["causes"])),
    )
    return f"| {' | '.join(cells)} |"


def _mark(quality: str, called: str) -> str:
    return " **miss**" if is_miss(quality, called) else ""


def is_miss(quality: str, called: str) -> bool:
    """Whether a verdict is wrong; fair and weak ones are not counted."""
    if quality in (FAIR, WEAK):
        return False
    return called == GOOD if quality == BAD else called not in (GOOD, NOT_SHOWN, UNKNOWN)


def summary(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield hits and misses of both commands."""
    for command in ("evaluate", "convert"):
        for quality, wrong in ((BAD, "called good"), (GOOD, "not called good")):
            chosen = [each for each in found if each["known"] == quality]
            missed = [each["name"] for each in chosen if is_miss(quality, each[command])]
            names = f": {', '.join(missed)}" if missed else ""
            unproven = [each for each in chosen if each[command] == NOT_SHOWN]
            also = f"; the accuracy of {len(unproven)} is {NOT_SHOWN}" if unproven else ""
            warned = sum(bool(each.get("unlike")) for each in unproven)
            also += f", with a warning of unlike samples for {warned} of them" if warned else ""
            yield (
                f"- {command}: of {len(chosen)} {quality} ones {len(missed)} are "
                f"{wrong}{names}{also}"
            )


if __name__ == "__main__":
    main()
