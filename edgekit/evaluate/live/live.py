# SPDX-License-Identifier: Apache-2.0
"""Run a model on live sources, frame after frame."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

from edgekit.data import parse_preprocess
from edgekit.errors import DataError, InputError, UsageError
from edgekit.evaluate.live.drawing import make_canvas
from edgekit.evaluate.live.hub import Captured, Hub
from edgekit.evaluate.live.options import LiveOptions
from edgekit.evaluate.live.result import make_frame
from edgekit.evaluate.live.sources import open_feeds
from edgekit.evaluate.pictures import draw
from edgekit.evaluate.session import Asked, Session
from edgekit.runtime import Runner, RunnerOptions
from edgekit.tasks import prepare

if TYPE_CHECKING:
    from edgekit.evaluate.live.drawing import Canvas
    from edgekit.evaluate.live.hub import Lane
    from edgekit.evaluate.live.result import LiveFrame, SourceCounts
    from edgekit.formats.model_file import ModelSource

_RECENT = 1000  # latencies that a summary looks at
_SHOWN_FAILURES = 5  # of one source in a row; more are only counted


class Live:
    """An open model and its live sources: an iterator of answers, and a context manager."""

    def __init__(
        self,
        model: ModelSource,
        inputs: Sequence[Any],
        asked: Asked,
        options: RunnerOptions,
        live: LiveOptions,
    ) -> None:
        """Open the sources and the model; see `open_live`."""
        live.check()
        parse_preprocess(asked.preprocess)
        if not inputs:
            raise UsageError("no input is given", fix="name a camera, an address, a folder or -")
        feeds = open_feeds(inputs, live)
        self._options, self._hub = live, Hub(feeds, live)
        self._canvases: dict[int, Canvas] = {}
        self._names: list[str] = []
        for lane in self._hub.lanes:
            self._add_canvas(lane)
        self._latencies_ms: deque[float] = deque(maxlen=_RECENT)
        self._reason = ""  # of the first failure
        self._failures = 0  # since the last answer
        self._before: Lane | None = None  # the source of the last answer
        self.on_note: Callable[[str], None] = lambda _text: None
        with contextlib.ExitStack() as stack:
            prepared = prepare(model, options.device)
            self._runner = stack.enter_context(Runner(prepared.runnable, options=options))
            self._session = Session(prepared, self._runner, asked)
            self._stack = stack.pop_all()
        self._start_s = time.monotonic()
        self._hub.start()

    @property
    def session(self) -> Session:
        """The open model: how inputs and outputs are read, and remarks."""
        return self._session

    @property
    def runner(self) -> Runner:
        """What runs the model."""
        return self._runner

    @property
    def counts(self) -> tuple[SourceCounts, ...]:
        """What became of the frames of each source so far."""
        return tuple(lane.counts for lane in self._hub.lanes)

    @property
    def latencies_ms(self) -> tuple[float, ...]:
        """The inference times of the last 1,000 answers."""
        return tuple(self._latencies_ms)

    @property
    def running_s(self) -> float:
        """The time since the sources were opened."""
        return time.monotonic() - self._start_s

    def stop(self) -> None:
        """End after the current frame; may be called in a signal handler and from any thread."""
        self._hub.stop()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._hub.is_stopped

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self._hub.close()
        with self._stack:
            for canvas in self._canvases.values():
                canvas.close()

    def __iter__(self) -> Iterator[LiveFrame]:
        """Yield an answer for each frame, until all sources end or `stop` is called.

        Raises:
            DataError: A source cannot be read, or all of its frames cannot.
            OutputError: A picture cannot be written.
            DeviceError: The Edge TPU is lost.
        """
        count, most = 0, self._options.max_frames
        while most is None or count < most:
            taken = self._hub.take()
            if taken is None:
                break
            if isinstance(taken, str):
                self.on_note(taken)
                continue
            try:
                frame = self._answer(taken)
            except (DataError, InputError) as error:
                self._fail(taken, error)
                continue
            yield frame
            count += 1
        if not count and not self.is_stopped:
            self._refuse()

    def _answer(self, taken: Captured) -> LiveFrame:
        lane = taken.lane
        # A model's state is that of one source.
        goes_on = lane is self._before and lane.counts.answered > 0
        item = replace(taken.item, goes_on=goes_on and lane.feed.is_moving)
        answer, meaning, reading = self._session.answer(item)
        for remark in self._session.take_remarks():
            self.on_note(f"warning: {remark}")
        age_ms = (time.perf_counter() - taken.clock_s) * 1e3
        picture, canvas = "", self._canvases.get(id(lane))
        if canvas is not None and reading.open_picture is not None:
            drawn = draw(reading.open_picture(), answer, meaning, reading.placement)
            name = item.path.name if item.path is not None else ""
            picture = canvas.add(drawn, taken.index, name)
        self._hub.count(lane, answered=1)
        self._before, self._failures = lane, 0
        self._latencies_ms.append(answer.latency_ms)
        return make_frame(
            answer,
            lane.counts,
            index=taken.index,
            got_s=taken.got_s,
            age_ms=age_ms,
            task=self._session.decoder.task,
            picture=picture,
        )

    def _refuse(self) -> None:
        failed = sum(each.failed for each in self.counts)
        raise DataError(
            f"none of {failed} frames can be read" if failed else "no frame came before the end",
            where=", ".join(each.source for each in self.counts),
            why=self._reason,
        )

    def _fail(self, taken: Captured, error: DataError | InputError) -> None:
        self._hub.count(taken.lane, failed=1)
        self._failures += 1
        self._reason = self._reason or error.what
        if self._failures <= _SHOWN_FAILURES:
            more = "; more like it are only counted" if self._failures == _SHOWN_FAILURES else ""
            self.on_note(f"warning: {taken.item.name}, frame {taken.index}: {error.what}{more}")

    def _add_canvas(self, lane: Lane) -> None:
        stem, number = lane.feed.stem, 2
        while stem in self._names:
            stem, number = f"{lane.feed.stem}-{number}", number + 1
        self._names.append(stem)
        canvas = make_canvas(lane.feed, stem, self._options)
        if canvas is not None:
            self._canvases[id(lane)] = canvas


def open_live(
    model: ModelSource,
    inputs: Sequence[Any],
    *,
    asked: Asked | None = None,
    options: RunnerOptions | None = None,
    live: LiveOptions | None = None,
) -> Live:
    """Open ``model`` and live sources; iterate over the result for the answers.

    ::

        with edgekit.open_live("detector.tflite", ["/dev/video0"]) as live:
            for frame in live:
                print(frame.timestamp, frame.objects)

    Each source is read in a thread that keeps one frame. From a camera or a stream it is the newest
    one: frames that come while the model is busy are dropped and counted. A source that is lost is
    opened again, after 1 s at first and at most 30 s.

    Args:
        model: Path or content of a .tflite file or a bundle.
        inputs: Cameras (``/dev/video0`` or its number as text), addresses (``rtsp://``,
            ``http://``), ``-`` for standard input, or folders with ``live.watch``.
        asked: How to read the model's inputs and outputs.
        options: How to run the model.
        live: How to read the sources, and where to draw.

    Raises:
        UsageError: An input is not live.
        EdgeKitError: As for `Runner`.
    """
    return Live(model, inputs, asked or Asked(), options or RunnerOptions(), live or LiveOptions())
