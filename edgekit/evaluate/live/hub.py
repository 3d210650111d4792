# SPDX-License-Identifier: Apache-2.0
"""Threads that read live sources; each keeps one frame, so memory does not grow."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Sequence

from edgekit.evaluate.live.feed import SourceLostError
from edgekit.evaluate.live.result import SourceCounts

if TYPE_CHECKING:
    from edgekit.evaluate.inputs import Item
    from edgekit.evaluate.live.feed import Feed
    from edgekit.evaluate.live.options import LiveOptions

_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 30.0
_STEADY_S = 10.0  # after so long a source counts as recovered, and the delay is the first again
_LOOK_S = 0.5  # at most this long until an interruption is seen
_END_S = 2.0  # how long a thread may take to end
_MOST_NOTES = 100


@dataclass(frozen=True)
class Captured:
    """A frame that was read and not answered yet."""

    lane: Lane
    item: Item
    index: int  # of its source
    got_s: float  # seconds since 1970
    clock_s: float  # of time.perf_counter


@dataclass(eq=False)
class Lane:
    """A source, its newest frame and its counts; shared by two threads under the hub's lock."""

    feed: Feed
    counts: SourceCounts
    slot: Captured | None = None
    is_ended: bool = False
    error: BaseException | None = None
    served: int = 0  # when it was last taken, in frames of all sources
    thread: threading.Thread | None = field(default=None, repr=False)

    def count(self, **added: int) -> None:
        """Add to some counts."""
        now = {name: getattr(self.counts, name) + more for name, more in added.items()}
        self.counts = replace(self.counts, **now)


class Hub:
    """Reads sources, each in a thread, and opens lost ones again.

    Attributes:
        lanes: One for each source.
    """

    def __init__(self, feeds: Sequence[Feed], options: LiveOptions) -> None:
        self.lanes = [Lane(each, SourceCounts(each.name)) for each in feeds]
        self._options = options
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._notes: deque[str] = deque(maxlen=_MOST_NOTES)
        self._taken = 0

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Take no more frames; may be called in a signal handler and from any thread."""
        self._stop.set()

    def take(self) -> Captured | str | None:
        """Wait for the next frame, or for a remark on a source; None at the end of all of them.

        Raises:
            EdgeKitError: A source cannot be read at all, or is lost for too long.
        """
        with self._changed:
            while not self._stop.is_set():
                if self._notes:
                    return self._notes.popleft()
                ready = [each for each in self.lanes if each.slot is not None]
                if ready:
                    return self._take_from(min(ready, key=lambda each: each.served))
                for each in self.lanes:
                    if each.error is not None:
                        raise each.error
                if all(each.is_ended for each in self.lanes):
                    return None
                self._changed.wait(_LOOK_S)
        return None

    def count(self, lane: Lane, **added: int) -> None:
        """Add to some counts of a source; from any thread."""
        with self._changed:
            lane.count(**added)

    def start(self) -> None:
        """Begin to read."""
        for lane in self.lanes:
            lane.thread = threading.Thread(
                target=self._read, args=(lane,), name=f"edgekit {lane.feed.name}", daemon=True
            )
            lane.thread.start()

    def close(self) -> None:
        """Stop reading; wait a little for the threads."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        end = time.monotonic() + _END_S
        for lane in self.lanes:
            if lane.thread is not None:
                lane.thread.join(max(0.0, end - time.monotonic()))

    def _take_from(self, lane: Lane) -> Captured | None:
        captured, lane.slot = lane.slot, None
        self._taken += 1
        lane.served = self._taken
        self._changed.notify_all()
        return captured

    def _read(self, lane: Lane) -> None:
        """Read a source to its end; the body of its thread."""
        try:
            self._read_again(lane)
        except BaseException as error:  # noqa: BLE001 - raised again where frames are taken
            lane.error = error
        with self._changed:
            lane.is_ended = True
            self._changed.notify_all()

    def _read_again(self, lane: Lane) -> None:
        """Read a source; when it is lost, wait and open it again.

        Raises:
            SourceLostError: It gave no frame at all, or none for too long.
        """
        delay_s, last_s = _FIRST_DELAY_S, time.monotonic()
        is_lost = False
        while not self._stop.is_set():
            begin_s = time.monotonic()
            try:
                for item in lane.feed.frames(self._stop):
                    if is_lost:
                        self._note(f"{lane.feed.name}: it is back")
                        is_lost = False
                    self._put(lane, item)
                    last_s = time.monotonic()
            except SourceLostError as error:
                lost = error
            else:
                return
            away_s, limit_s = time.monotonic() - last_s, self._options.give_up_s
            if not lane.counts.received or (limit_s is not None and away_s >= limit_s):
                raise lost
            if last_s - begin_s >= _STEADY_S:
                delay_s = _FIRST_DELAY_S
            reason = f": {lost.why}" if lost.why else ""
            self._note(f"{lane.feed.name}: {lost.what}{reason}; next try in {delay_s:g} s")
            is_lost = True
            self._stop.wait(delay_s)
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
            self.count(lane, reconnects=1)

    def _put(self, lane: Lane, item: Item) -> None:
        """Offer a frame: it replaces the one that waits, or waits for its place."""
        every = self._options.every_frame
        skips = lane.feed.skips if every is None else not every
        with self._changed:
            while lane.slot is not None and not skips and not self._stop.is_set():
                self._changed.wait(_LOOK_S)
            if self._stop.is_set():
                return
            if lane.slot is not None:
                lane.count(dropped=1)
            index = lane.counts.received
            lane.count(received=1)
            lane.slot = Captured(lane, item, index, time.time(), time.perf_counter())
            self._changed.notify_all()

    def _note(self, text: str) -> None:
        with self._changed:
            self._notes.append(text)
            self._changed.notify_all()
