# SPDX-License-Identifier: Apache-2.0
"""``edgekit run`` on cameras, streams, standard input and watched folders."""

from __future__ import annotations

import signal
import statistics
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Iterator, List, Sequence

from edgekit.cli.output import note, runs_on, warn
from edgekit.cli.streams import discard_stdout
from edgekit.errors import OutputError

if TYPE_CHECKING:
    from types import FrameType

    from edgekit.evaluate.live import Live, LiveFrame, LiveOptions
    from edgekit.evaluate.session import Asked
    from edgekit.runtime import RunnerOptions

_MOST_SHOWN = 8  # objects or values in one line
_ON_TIME = 0.1  # a larger share of dropped frames is explained


class _Stopper:
    """Ends a run after the current frame on Ctrl-C or SIGTERM; at once on the second Ctrl-C."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.is_interrupted = False
        self._before: List[Any] = []

    def __enter__(self) -> _Stopper:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before.append((number, signal.signal(number, self._stop)))
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.is_interrupted:
                raise KeyboardInterrupt
            self.is_interrupted = True
        self._live.stop()


def run_live(
    model: Any,  # noqa: ANN401 - as of `open_live`
    inputs: Sequence[str],
    asked: Asked,
    options: RunnerOptions,
    live_options: LiveOptions,
    *,
    as_json: bool,
) -> None:
    """Print a line for each frame, until the sources end or the user interrupts.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C; the summary is printed.
        EdgeKitError: As for `open_live`.
    """
    from edgekit.evaluate.live import open_live

    is_read = True
    with open_live(model, inputs, asked=asked, options=options, live=live_options) as live:
        live.on_note = note
        warn(live.session.warnings)
        note(f"on {runs_on(live.runner.environment)}; Ctrl-C stops it")
        with _Stopper(live) as stopper:
            try:
                for frame in live:
                    is_read = _write(frame.to_json_line() if as_json else f"{_line(frame)}\n")
                    if not is_read:
                        break
            finally:
                for text in _summary(live):
                    note(text)
    if stopper.is_interrupted:
        raise KeyboardInterrupt


def _write(line: str) -> bool:
    """Write a line to stdout at once; return False if its reader has exited."""
    try:
        sys.stdout.write(line)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        return False
    except OSError as error:
        discard_stdout()
        raise OutputError(
            f"cannot write the result: {error.strerror}", where="standard output"
        ) from error
    return True


def _line(frame: LiveFrame) -> str:
    """Return the answer to a frame in one line, with the local time."""
    utc = datetime.fromisoformat(frame.timestamp.replace("Z", "+00:00"))
    when = utc.astimezone().strftime("%H:%M:%S.") + frame.timestamp[-4:-1]
    dropped = f" ({frame.dropped} dropped)" if frame.dropped else ""
    place = f"{frame.source} #{frame.frame_index}{dropped}"
    return f"{when}  {place}  {frame.latency_ms:.1f} ms  {_words(frame)}"


def _words(frame: LiveFrame) -> str:
    if frame.task in {"classification", "multilabel"} and frame.top:
        return _listed([f"{each.label or each.index} {each.score:.2f}" for each in frame.top])
    if frame.task == "detection":
        return _listed(
            [
                f"{each.label or each.index} {each.score:.2f} "
                f"[{' '.join(f'{value:.0f}' for value in each.box_xyxy_px)}]"
                for each in frame.objects
            ]
        )
    if frame.task == "segmentation":
        return _listed([f"{each.label or each.index} {each.share:.0%}" for each in frame.mask])
    if frame.task == "pose":
        return _listed([f"person {each.score:.2f}" for each in frame.people])
    if frame.task == "regression":
        return _listed([f"{value:.6g}" for value in frame.values])
    if frame.task == "multilabel":
        return _listed([])
    return _listed(
        [
            f"{each.name} {each.min:.4g}..{each.max:.4g}, mean {each.mean:.4g}"
            for each in frame.outputs
        ]
    )


def _listed(words: Sequence[str]) -> str:
    more = len(words) - _MOST_SHOWN
    shown = ", ".join(words[:_MOST_SHOWN]) or "nothing found"
    return f"{shown}, {more} more" if more > 0 else shown


def _summary(live: Live) -> Iterator[str]:
    """Yield what became of the frames, and the times."""
    seconds = live.running_s
    if not any(each.received for each in live.counts):
        return
    for each in live.counts:
        parts = [f"{each.received} frames", f"{each.answered} answered"]
        parts += [f"{each.dropped} dropped"] if each.dropped else []
        parts += [f"{each.failed} not readable"] if each.failed else []
        parts += [f"lost and opened again {each.reconnects} times"] if each.reconnects else []
        yield f"{each.source}: {', '.join(parts)}"
    times = live.latencies_ms
    answered = sum(each.answered for each in live.counts)
    if times:
        yield (
            f"{answered} answers in {seconds:.1f} s, {answered / max(seconds, 1e-9):.1f} in a "
            f"second; inference {statistics.median(times):.1f} ms in the middle, "
            f"{max(times):.1f} ms at most"
        )
    received = sum(each.received for each in live.counts)
    if sum(each.dropped for each in live.counts) > received * _ON_TIME:
        yield (
            "frames are dropped when newer ones come while the model is busy; "
            "--every-frame runs each one, later and later"
        )
