# SPDX-License-Identifier: Apache-2.0
"""Describe a model's answers: how often they are right, and how close to the float model's."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.evaluate.decoded import CLASS_LIMITS, LOSS_LIMITS
from edgekit.evaluate.metrics import ERRORS
from edgekit.report.node import Node
from edgekit.report.words import (
    METRIC_NAMES,
    file_name,
    metric,
    metric_between,
    metric_difference,
    metric_value,
    plural,
    share,
)
from edgekit.runtime.quality import NOT_SHOWN

# Ignore differences up to this: one point of a share, a fiftieth of an error.
_NO_DIFFERENCE = 0.01
_NO_RELATIVE_DIFFERENCE = 0.02
_LARGE_DROP = 0.05  # of a share, below the interval: then the answers are bad
VERDICTS = ("good", "doubtful", "bad")


def main_metric(evaluation: Node) -> str:
    """Return the metric to show first."""
    names = [name for name, value in evaluation.fields("metrics") if value.number() is not None]
    return next((name for name in METRIC_NAMES if name in names), names[0] if names else "")


def quality_of(evaluation: Node, conversion: Node) -> Node:
    """Return the agreement with the float model, output by output; empty if not measured.

    The evaluation's agreement, on samples that the user chose, comes before the conversion's. On
    the data of the conversion it does not show the accuracy in real use. Answers to samples that
    seem unlike those of real use are returned with the reasons.
    """
    ours, first = evaluation.at("against", "quality"), conversion.at("agreement")
    is_same = evaluation.text("data", "source") == conversion.text("data", "source")
    is_new = not (is_same and first.text("verdict") == NOT_SHOWN and ours.text("verdict") == "good")
    if is_new and (ours.text("verdict") in VERDICTS or _findings(ours)):
        return ours
    is_known = first.text("verdict") in VERDICTS or bool(first.entries("unlike"))
    return first if is_known or _findings(first) else Node()


def answers_level(evaluation: Node, quality: Node) -> str:
    """Return ``good``, ``partly`` or ``bad``; empty if nothing was measured."""
    levels = {"good": "good", NOT_SHOWN: "partly", "doubtful": "partly", "bad": "bad"}
    found = [levels[quality.text("verdict")]] if quality else []
    low, high = _gain(evaluation) or (0.0, 0.0)
    if high < 0:
        name = main_metric(evaluation)
        is_large = name not in ERRORS and high < -_LARGE_DROP
        found.append("bad" if is_large else "partly")
    elif low or high:
        found.append("good")
    return max(found, key=("good", "partly", "bad").index, default="")


def is_settled(evaluation: Node, quality: Node) -> bool:
    """Whether an interval or the agreement shows that the answers are those of the float model."""
    return _is_equal(evaluation) or quality.text("verdict") == "good"


def accuracy_words(evaluation: Node, quality: Node) -> Iterator[str]:
    """Yield sentences about the main metric, and about the agreement if it is not good."""
    yield from _metric_words(evaluation, quality)
    count = plural(quality.count("num_samples") or 0, "sample")
    reference = quality.text("reference") or "the float model"
    if quality.text("verdict") == "bad":
        yield f"Its answers are much worse than those of {reference} on {count}: {_worst(quality)}."
    elif quality.text("verdict") == "doubtful":
        yield f"Its answers may be worse than those of {reference} on {count}: {_worst(quality)}."
    elif quality.text("verdict") == NOT_SHOWN:
        yield f"Nothing shows how accurate it is in real use: {_worst(quality)}."


def agreement_detail(quality: Node) -> tuple[str, str]:
    """Return a short value and its basis, for a model without a metric."""
    decoded = quality.number("decoded", "share")
    count = plural(quality.count("num_samples") or 0, "sample")
    where = f"on {count}, compared with {quality.text('reference') or 'the float model'}"
    if decoded is not None:
        return share(decoded), f"{quality.text('decoded', 'task')} answers that agree, {where}"
    return quality.text("verdict"), f"outputs compared one by one, {where}"


def _metric_words(evaluation: Node, quality: Node) -> Iterator[str]:
    name = main_metric(evaluation)
    title = _title(evaluation)
    title = title[:1].upper() + title[1:] if name in {"top1", *ERRORS} else title
    difference = evaluation.number("against", "difference", name)
    if not name:
        if not quality:
            yield "Its accuracy is not measured."
        elif quality.text("verdict") == "good":
            yield (
                "Its answers are close to those of the float model; how often they are right is "
                "not measured."
            )
        return
    value = evaluation.number("metrics", name)
    if difference is None:
        yield f"{title} is {metric_value(name, value)}; it was not compared with another model."
        return
    gain = _gain(evaluation)
    size = _size(name, difference)
    if gain is None:
        yield f"{title} differs by {size} from before; it is unknown how much of that is chance."
    elif gain[1] < 0:
        yield f"{title} is {size} worse than before, which is more than chance."
    elif gain[0] > 0:
        yield f"{title} is {size} better than before."
    elif _is_equal(evaluation):
        yield f"{title} is as before: the difference is {size}, at most {_bound(evaluation)}."
    else:
        samples = plural(evaluation.count("num_samples") or 0, "sample")
        yield (
            f"{title} differs by {size} from before; {samples} cannot show whether that is a loss "
            f"(up to {_bound(evaluation)})."
        )


def _gain(evaluation: Node) -> tuple[float, float] | None:
    """Return the interval of the difference to the other model; positive: this one is better."""
    name = main_metric(evaluation)
    interval = evaluation.interval("against", "difference_ci95", name)
    if interval is None or name not in ERRORS:
        return interval
    return -interval[1], -interval[0]


def _is_equal(evaluation: Node) -> bool:
    name, gain = main_metric(evaluation), _gain(evaluation)
    if gain is None:
        return False
    limit = _NO_DIFFERENCE
    if name in ERRORS:
        limit = _NO_RELATIVE_DIFFERENCE * abs(evaluation.number("against", "metrics", name) or 0.0)
    return max(abs(each) for each in gain) <= limit


def _bound(evaluation: Node) -> str:
    gain = _gain(evaluation) or (0.0, 0.0)
    return _size(main_metric(evaluation), max(abs(each) for each in gain))


def _size(name: str, difference: float) -> str:
    return metric_difference(name, abs(difference)).lstrip("+")


def _title(evaluation: Node) -> str:
    return metric(main_metric(evaluation), evaluation.text("task"))


def _worst(quality: Node) -> str:
    """Return the sentence of the most severe finding."""
    findings = _findings(quality)
    decoded = quality.at("decoded")
    if decoded and decoded.text("verdict") != "good":
        return _decoded_words(decoded)
    findings += quality.entries("by_labels")
    findings = findings or list(quality.entries("unlike"))
    if not findings:
        return "see the outputs"
    return max(findings, key=lambda each: each.text("level") == "bad").text("text")


def _findings(quality: Node) -> list[Node]:
    return [each for output in quality.entries("outputs") for each in output.entries("findings")]


def _decoded_words(decoded: Node) -> str:
    words = f"{share(decoded.number('share'))} of the answers agree"
    loss, kept = decoded.number("loss"), decoded.number("worst_share")
    if loss is not None and loss > LOSS_LIMITS[0]:
        words += f", and {share(loss)} of all become wrong, by the other model's probabilities"
    if kept is not None and kept < CLASS_LIMITS[1]:
        words += f"; of class {decoded.count('worst_class')} {share(kept)} are kept"
    return words


def accuracy_number(evaluation: Node) -> tuple[str, str, str] | None:
    """Return title, value and detail of the main metric; None if none was measured."""
    name = main_metric(evaluation)
    if not name:
        return None
    value = evaluation.number("metrics", name)
    samples = plural(evaluation.count("num_samples") or 0, "sample")
    difference = evaluation.number("against", "difference", name)
    if difference is None:
        interval = metric_between(name, evaluation.interval("metrics_ci95", name))
        detail = f"on {samples}" + (f"; 95 % interval {interval}" if interval else "")
        return _title(evaluation), metric_value(name, value), detail
    other = metric_value(name, evaluation.number("against", "metrics", name))
    bounds = evaluation.interval("against", "difference_ci95", name)
    interval = metric_between(name, bounds, signed=True)
    also = f"; 95 % interval {interval}" if interval else ""
    detail = f"{metric_value(name, value)}, was {other}, on {samples}{also}"
    title = f"{_title(evaluation)} against {file_name(evaluation.text('against', 'model'))}"
    return title, metric_difference(name, difference), detail
