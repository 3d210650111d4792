# SPDX-License-Identifier: Apache-2.0
"""What a model answers to the frames of live sources."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, ClassVar

from edgekit.result import Result

if TYPE_CHECKING:
    from edgekit.evaluate.answers import (
        Answer,
        ClassScore,
        MaskClass,
        ObjectBox,
        OutputSummary,
        Person,
    )


@dataclass(frozen=True)
class SourceCounts(Result):
    """What became of the frames of one source so far."""

    source: str  # as given, without a password
    received: int = 0
    answered: int = 0
    dropped: int = 0  # a newer frame came before the model was free
    failed: int = 0  # could not be read as an image
    reconnects: int = 0


@dataclass(frozen=True)
class LiveFrame(Result):
    """The answer to one frame: with ``--json``, one line."""

    schema: ClassVar[str] = "edgekit.frame/1"
    timestamp: str  # when edgekit got the frame: RFC 3339, UTC, milliseconds
    source: str  # the camera, the address without a password, "-", or the file in the folder
    frame_index: int  # of its source, from 0; frames that were dropped are counted
    dropped: int  # frames of the source so far that were skipped because newer ones came
    failed: int  # frames of the source so far that could not be read
    reconnects: int  # how often the source was lost and opened again
    latency_ms: float  # of the inference
    age_ms: float  # from getting the frame to its answer: waiting, preprocessing, decoding too
    task: str
    top: tuple[ClassScore, ...]  # best first; empty if the model is not a classifier
    objects: tuple[ObjectBox, ...]  # of a detector, best first
    mask: tuple[MaskClass, ...]  # of a segmentation network, largest share first
    people: tuple[Person, ...]  # of a pose network, best first
    values: tuple[float, ...]  # of a regression network, the first 1,000
    outputs: tuple[OutputSummary, ...]
    picture: str = ""  # the file that it was drawn to


def make_frame(
    answer: Answer,
    counts: SourceCounts,
    *,
    index: int,
    got_s: float,
    age_ms: float,
    task: str,
    picture: str,
) -> LiveFrame:
    """Return an answer with the place and time of its frame.

    Args:
        answer: Of the model.
        counts: Of the source.
        index: The frame's number.
        got_s: When it was read, in seconds since 1970.
        age_ms: See `LiveFrame`.
        task: See `LiveFrame`.
        picture: See `LiveFrame`.
    """
    when = datetime.fromtimestamp(got_s, timezone.utc)
    return LiveFrame(
        timestamp=when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z",
        source=answer.source,
        frame_index=index,
        dropped=counts.dropped,
        failed=counts.failed,
        reconnects=counts.reconnects,
        latency_ms=answer.latency_ms,
        age_ms=age_ms,
        task=task,
        top=answer.top,
        objects=answer.objects,
        mask=answer.mask,
        people=answer.people,
        values=answer.values,
        outputs=answer.outputs,
        picture=picture,
    )
