# SPDX-License-Identifier: Apache-2.0
"""Answers as DeepStack and CodeProject.AI give them, for Frigate and Blue Iris.

Source:
    DeepStack's documentation (docs.deepstack.cc, object detection), CodeProject.AI Server's API
    reference (vision/detection), and Frigate's plugin ``deepstack``, which reads ``predictions``.
"""

from __future__ import annotations

from edgekit.evaluate.answers import ObjectBox
from edgekit.serve.models import Answered, ServedModel
from edgekit.serve.schemas import Detected, Prediction

LEAST_CONFIDENCE = 0.4  # the default of both
# Frigate's plugin has room for so many, and stops with an error at one more.
_MOST = 20


def detected(model: ServedModel, found: Answered) -> Detected:
    """Return the 20 surest objects, best first."""
    width, height = found.size
    objects = sorted(found.answer.objects, key=lambda each: -each.score)[:_MOST]
    predictions = [_prediction(each, width, height) for each in objects]
    return Detected(
        success=True,
        predictions=predictions,
        count=len(predictions),
        message=", ".join(each.label for each in predictions) or "nothing found",
        duration=found.total_s,
        inferenceMs=round(found.answer.latency_ms),
        processMs=round(found.total_s * 1e3),
        moduleName=f"edgekit: {model.name}",
        command="detect",
    )


def _prediction(each: ObjectBox, width: int, height: int) -> Prediction:
    left, top, right, bottom = each.box_xyxy_px
    return Prediction(
        label=each.label or str(each.index),
        confidence=each.score,
        x_min=_within(left, width),
        y_min=_within(top, height),
        x_max=_within(right, width),
        y_max=_within(bottom, height),
    )


def _within(value: float, most: int) -> int:
    return int(min(max(round(value), 0), most))
