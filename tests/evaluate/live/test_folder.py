# SPDX-License-Identifier: Apache-2.0
"""A folder's images are run when they are complete, each once."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from queue import Queue
from typing import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import InputError, UsageError
from edgekit.evaluate.live import LiveOptions, open_live
from edgekit.evaluate.live.folder import Folder
from edgekit.evaluate.live.result import LiveFrame

Make = Callable[..., bytes]
_LIMIT_S = 60


class _Watch:
    """A folder that is watched in a thread."""

    def __init__(self, path: Path, stall_s: float) -> None:
        self.path, self._stop = path, threading.Event()
        self.names: Queue[str] = Queue()
        self._thread = threading.Thread(target=self._run, args=(Folder(path, stall_s),))
        self._thread.start()

    def _run(self, folder: Folder) -> None:
        for item in folder.frames(self._stop):
            self.names.put(Path(item.name).name)

    def next(self) -> str:
        return self.names.get(timeout=_LIMIT_S)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[_Watch]:
    path = tmp_path / "in"
    path.mkdir()
    _image(path / "old.png")
    watched = _Watch(path, stall_s=_LIMIT_S)
    yield watched
    watched.close()


def _image(path: Path) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(str(path))
    return path.read_bytes()


def test_new_and_changed_images_come_once(watch: _Watch, tmp_path: Path) -> None:
    assert watch.next() == "old.png"
    (watch.path / "notes.txt").write_text("no image")
    content = _image(tmp_path / "other.png")
    (watch.path / "new.png").write_bytes(content)
    assert watch.next() == "new.png"
    (watch.path / "old.png").write_bytes(content + b"\0")
    assert watch.next() == "old.png"
    assert watch.names.empty()


def test_an_image_that_grows_is_awaited(watch: _Watch, tmp_path: Path) -> None:
    assert watch.next() == "old.png"
    content = _image(tmp_path / "other.png")
    with (watch.path / "slow.png").open("wb") as stream:
        stream.write(content[: len(content) // 2])
        stream.flush()
        _image(watch.path / "quick.png")
        assert watch.next() == "quick.png"
        time.sleep(1)  # the half image does not change, and still is not run
        assert watch.names.empty()
        stream.write(content[len(content) // 2 :])
    assert watch.next() == "slow.png"


def test_an_image_that_stays_damaged_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    watched = _Watch(tmp_path, stall_s=0.5)
    try:
        assert watched.next() == "bad.jpg"
    finally:
        watched.close()


def test_a_folder_that_comes_back_goes_on(make_classifier: Make, tmp_path: Path) -> None:
    notes: list[str] = []
    folder = tmp_path / "in"
    folder.mkdir()
    _image(folder / "a.png")
    with open_live(make_classifier(), [folder], live=LiveOptions(watch=True)) as live:
        live.on_note = notes.append
        answers = iter(live)
        assert Path(next(answers).source).name == "a.png"
        shutil.rmtree(folder)
        while not any(each.reconnects for each in live.counts):
            time.sleep(0.05)
        folder.mkdir()
        _image(folder / "b.png")
        frame = next(answers)
    assert (Path(frame.source).name, frame.frame_index) == ("b.png", 1)
    assert "cannot list the folder" in notes[0]
    assert "it is back" in notes[-1]


def test_two_folders_share_a_model_and_are_drawn(make_classifier: Make, tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for each in folders:
        each.mkdir()
        _image(each / f"{each.name}.png")
    options = LiveOptions(watch=True, max_frames=2, output=tmp_path / "out")
    with open_live(make_classifier(), folders, live=options) as live:
        frames: list[LiveFrame] = list(live)
        counts = {each.source: each.answered for each in live.counts}
    assert counts == {str(each): 1 for each in folders}
    assert sorted(Path(each.picture).name for each in frames) == ["a.png.jpg", "b.png.jpg"]
    for frame in frames:
        with Image.open(frame.picture) as picture:
            picture.load()


def test_what_cannot_be_watched_is_refused(make_classifier: Make, tmp_path: Path) -> None:
    options = LiveOptions(watch=True)
    with pytest.raises(InputError, match="does not exist"):
        open_live(make_classifier(), [tmp_path / "none"], live=options)
    with pytest.raises(UsageError, match="--watch is for folders"):
        open_live(make_classifier(), ["-"], live=options)
    with pytest.raises(UsageError, match="given twice"):
        open_live(make_classifier(), [tmp_path, tmp_path], live=options)
    inside = LiveOptions(watch=True, output=tmp_path)
    with pytest.raises(UsageError, match="run again"):
        open_live(make_classifier(), [tmp_path], live=inside)
    with pytest.raises(UsageError, match="cannot be run together"):
        open_live(make_classifier(), [tmp_path, "-"])
