# SPDX-License-Identifier: Apache-2.0
"""The models that are served: each is open once, and answers one request at a time."""

from __future__ import annotations

import base64
import contextlib
import io
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from PIL import Image

from edgekit.data.images import ImageSizeError, open_image
from edgekit.errors import DeviceError, UsageError
from edgekit.evaluate.answers import Answer
from edgekit.evaluate.inputs import Item
from edgekit.evaluate.pictures import draw
from edgekit.evaluate.session import Asked, Session
from edgekit.files import PathLike
from edgekit.formats.damage import IMAGE_DAMAGE
from edgekit.runtime import Runner, RunnerOptions
from edgekit.tasks import Prepared, prepare

# One image takes up to 16 bytes a pixel while it is read, so 1 GiB.
MOST_PIXELS = 64 << 20
_JPEG_QUALITY = 85
_LARGEST_SIDE = 1280  # of a drawn picture


class NotAnImageError(Exception):
    """The content is not an image that can be read."""


@dataclass(frozen=True)
class Answered:
    """The answer to one image."""

    answer: Answer
    size: tuple[int, int]  # (width, height) of the upright image, in pixels
    waited_s: float  # for requests that came before
    total_s: float  # from the start of reading the image to the end of drawing
    picture: str = ""  # a data URL of a JPEG with the answer drawn on it


@dataclass
class ServedModel:
    """One open model."""

    name: str
    prepared: Prepared
    runner: Runner
    session: Session
    problem: str = ""  # why the Edge TPU is lost
    waiting: int = 0  # requests that wait or run
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def task(self) -> str:
        """What the model does: ``detection``, ``classification``, ..."""
        return self.session.decoder.task

    def answer(self, content: bytes, *, least_score: float = 0.0, draws: bool = False) -> Answered:
        """Run the model on an image, after the requests that came before.

        Args:
            content: An image file.
            least_score: Objects, people and classes with a lower score are left out.
            draws: Whether to draw the answer.

        Raises:
            NotAnImageError: It is not an image that can be read.
            ImageSizeError: It has more than 67 million pixels.
            DeviceError: The Edge TPU is lost.
            EdgeKitError: The model cannot run on it.
        """
        _check_image(content)
        self.waiting += 1
        start = time.perf_counter()
        try:
            with self._lock:
                waited = time.perf_counter() - start
                answer, meaning, reading = self.session.answer(Item("image", content=content))
                self.session.take_remarks()
            self.problem = ""
        except DeviceError as error:
            self.problem = error.what
            raise
        finally:
            self.waiting -= 1
        answer = _above(answer, least_score)
        placed, picture = reading.placement, ""
        if draws and reading.open_picture is not None:
            picture = _data_url(draw(reading.open_picture(), answer, meaning, placed))
        total = time.perf_counter() - start - waited
        size = placed.image_width, placed.image_height
        return Answered(answer, size, waited, total, picture)


class ServedModels:
    """All models, by name; a context manager that closes them."""

    def __init__(
        self, sources: Sequence[PathLike], options: RunnerOptions, asked: Asked | None = None
    ) -> None:
        """Open the models.

        Args:
            sources: Paths of .tflite files or bundles; a model's name is that of its file.
            options: How to run them.
            asked: How to read inputs and outputs.

        Raises:
            UsageError: Two models have the same name, or there is none.
            EdgeKitError: A model cannot be opened.
        """
        self._stack = contextlib.ExitStack()
        self._models: dict[str, ServedModel] = {}
        if not sources:
            raise UsageError("no model is given", fix="name a .tflite file or a bundle")
        try:
            for source in sources:
                self._open(source, options, asked or Asked())
        except BaseException:
            self._stack.close()
            raise

    def _open(self, source: PathLike, options: RunnerOptions, asked: Asked) -> None:
        name = Path(source).name
        name = name.removesuffix(".zip").removesuffix(".tflite")
        if name in self._models:
            raise UsageError(f"two models are called {name}", fix="give one file another name")
        prepared = prepare(source, options.device)
        runner = self._stack.enter_context(Runner(prepared.runnable, options=options))
        session = Session(prepared, runner, asked)
        self._models[name] = ServedModel(name, prepared, runner, session)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def get(self, name: str) -> ServedModel | None:
        """Return the model of this name."""
        return self._models.get(name)

    def detector(self) -> ServedModel | None:
        """Return the first model that finds objects."""
        return next((each for each in self if each.task == "detection"), None)

    def __enter__(self) -> ServedModels:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


def _check_image(content: bytes) -> None:
    try:
        with open_image(content, MOST_PIXELS):
            return
    except ImageSizeError:
        raise
    except IMAGE_DAMAGE as error:
        raise NotAnImageError("it is not an image that can be read") from error


def _above(answer: Answer, least: float) -> Answer:
    if least <= 0:
        return answer
    return replace(
        answer,
        top=tuple(each for each in answer.top if each.score >= least),
        objects=tuple(each for each in answer.objects if each.score >= least),
        people=tuple(each for each in answer.people if each.score >= least),
    )


def _data_url(picture: Image.Image) -> str:
    picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
