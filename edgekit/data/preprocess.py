# SPDX-License-Identifier: Apache-2.0
"""From pixels to a network's input: one code path for calibration, evaluation and the device."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence, Tuple, Union

import numpy as np
from numpy.typing import NDArray

from edgekit.data.fit_image import FILTERS, RESIZES, fit_image
from edgekit.data.heif import HEAD_BYTES, check_readable
from edgekit.data.images import open_image, upright, with_mode
from edgekit.data.placement import Placement, place
from edgekit.errors import DataError, UsageError
from edgekit.files import open_input
from edgekit.formats.damage import IMAGE_DAMAGE

if TYPE_CHECKING:
    from PIL import Image

SCALES = ("raw", "unit", "tf")
COLOURS = ("rgb", "bgr")
EXIF = ("apply", "ignore")
_PIXEL_MAX = 255.0
_LONGEST = 8192
_TORCH_CROP = "torch-crop"
_CHANNELS = (1, 2, 3, 4)
_LEAST_SIDE = 8  # of a picture for an input without a dimension for channels
Picture = Union[Path, bytes]
Size = Tuple[int, int]  # width, height


@dataclass(frozen=True)
class Preprocess:
    """How pixels (uint8, 0..255) become the input of a network.

    In this order: decode, colour order, resize to the input's height and width, scale. Arrays of
    real numbers are already preprocessed and do not change, unless ``scale`` or ``mean`` is set
    explicitly.

    ``scale``: ``raw`` keeps 0..255, ``unit`` is ``x / 255``, ``tf`` is ``x / 127.5 - 1``; with
    ``mean`` and ``std`` (one value, or one per channel, in pixel units) it is ``(x - mean) / std``.
    ``resize``: ``stretch`` ignores the aspect ratio, ``crop`` scales the shorter side and cuts the
    middle, ``pad`` scales the longer side and fills with black pixels on the right and below (as
    Google's ``set_resized_input``), ``letterbox`` puts the image in the middle of grey pixels (114,
    as Ultralytics; with ``fill`` 0 black, as MediaPipe). ``keras-crop`` and ``keras-pad`` are
    ``crop_to_aspect_ratio`` and ``pad_to_aspect_ratio`` of Keras's ``Resizing``. ``tf-pad`` is
    ``tf.image.resize_with_pad``, as ``image_dataset_from_directory`` does with
    ``pad_to_aspect_ratio``. ``torch-crop`` is torchvision's ``Resize(shorter)`` and ``CenterCrop``;
    ``shorter`` is 8/7 of the input's shorter side if None.

    ``filter``: ``tf-bilinear`` (and -nearest, -bicubic, -area) as ``tf.image.resize`` and Keras,
    ``bilinear`` (and nearest, bicubic, lanczos, box, hamming) as Pillow and torchvision, which
    average pixels when they shrink an image, ``cv2-linear`` (and -nearest, -cubic, -area) as
    OpenCV, ``torch-bilinear`` and ``torch-bicubic`` as torchvision of PIL images,
    ``torch-v2-bilinear`` and ``-bicubic`` as its version 2 of tensors of bytes,
    ``torch-tensor-bilinear`` and ``-bicubic`` as torchvision of real tensors, or version 1 of
    tensors of bytes.

    ``fill``: the value, 0..255, of pixels outside the image.

    ``exif``: ``apply`` turns a photo upright by its EXIF orientation, ``ignore`` reads it as it is
    stored, as TensorFlow's ``decode_jpeg`` and Keras's data sets do.
    """

    scale: str = "unit"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: str = "stretch"
    filter: str = "tf-bilinear"
    colour: str = "rgb"
    exif: str = "apply"
    fill: int | None = None
    shorter: int | None = None
    is_default: bool = False  # not chosen explicitly

    def __str__(self) -> str:
        if self.mean or self.std:
            parts = ["mean=" + "/".join(f"{v:g}" for v in self.mean or (0.0,))]
            parts.append("std=" + "/".join(f"{v:g}" for v in self.std or (1.0,)))
        else:
            parts = [self.scale]
        parts += [f"resize={self.resize}", f"filter={self.filter}", f"colour={self.colour}"]
        if self.exif != "apply":
            parts.append(f"exif={self.exif}")
        if self.fill is not None:
            parts.append(f"fill={self.fill}")
        if self.shorter is not None:
            parts.append(f"shorter={self.shorter}")
        return ",".join(parts)

    @property
    def promised_range(self) -> tuple[float, float]:
        """The lowest and highest possible value of a pixel."""
        ends = self.scale_pixels(np.array([[0], [255]], np.uint8).repeat(max(1, len(self.mean)), 1))
        return float(ends.min()), float(ends.max())

    @property
    def pixel_table(self) -> NDArray[np.float32] | None:
        """The result for each of the 256 pixel values; None if it depends on the channel."""
        if len(self.mean) > 1 or len(self.std) > 1:
            return None
        return self.scale_pixels(np.arange(256, dtype=np.uint8))

    def scale_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Convert pixels (channels last) to float32, by ``scale`` or ``mean`` and ``std``."""
        real = pixels.astype(np.float32)
        if self.mean or self.std:
            mean = np.asarray(self.mean or (0.0,), np.float32)
            std = np.asarray(self.std or (1.0,), np.float32)
            result: NDArray[np.float32] = (real - mean) / std
        elif self.scale == "unit":
            result = real / np.float32(_PIXEL_MAX)
        elif self.scale == "tf":
            result = real / np.float32(_PIXEL_MAX / 2) - np.float32(1)
        else:
            result = real
        return result

    def image(self, path: Picture, shape: Sequence[int]) -> NDArray[np.float32]:
        """Read an image file for an input of ``shape`` (without the batch): (H, W, C) or (H, W).

        Raises:
            DataError: Pillow cannot read the file, or ``shape`` is not that of an image.
        """
        return self.scale_pixels(self.pixels(path, shape))

    def pixels(self, path: Picture, shape: Sequence[int]) -> NDArray[np.uint8]:
        """Like `image`, without scaling."""
        return self.place_pixels(path, shape)[0]

    def place_pixels(
        self, path: Picture, shape: Sequence[int], truth_size: Size | None = None
    ) -> tuple[NDArray[np.uint8], Placement]:
        """Like `pixels`, and return the place of the image in the input.

        Args:
            path: The path of the file, or its content.
            shape: The shape of the input, without the batch.
            truth_size: Width and height of the image that boxes or a mask belong to. If these are
                the stored image's and not the upright one's, the image is not turned.
        """
        is_content = isinstance(path, bytes)
        source: Any = io.BytesIO(path) if is_content else str(path)  # type: ignore[arg-type] # decided by is_content
        try:
            check_readable(path[:HEAD_BYTES] if isinstance(path, bytes) else _head(path))
            with open_image(source) as image:
                turned = self.turn(image, truth_size)
                return self._fit(turned, shape), self.place(turned.size, shape)
        except IMAGE_DAMAGE as error:
            where = "" if is_content else str(path)
            # Pillow names the stream by its address, which differs in each run.
            reason = str(error).replace(repr(source), "").rstrip()
            raise DataError(f"cannot read the image: {reason}", where=where) from error

    def turn(self, image: Image.Image, truth_size: Size | None = None) -> Image.Image:
        """Return ``image`` upright, if ``exif`` and ``truth_size`` allow it."""
        return upright(image, ignore=self.exif == "ignore", truth_size=truth_size)

    def place(self, size: tuple[int, int], shape: Sequence[int]) -> Placement:
        """Return the place of an image of ``size`` (width, height) in an input of ``shape``."""
        height, width, _ = _image_shape(shape)
        return place(size, (width, height), self.resize, self.shorter)

    def array(self, values: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
        """Convert an array from an .npz, .npy or Python for an input of ``shape`` (no batch).

        uint8 arrays are pixels: they are resized if the size differs and the input can be a
        picture, and scaled. Other types do not change, unless a scale is set explicitly.

        Raises:
            DataError: The shape does not fit and cannot be resized.
        """
        wanted = tuple(shape)
        is_image = values.dtype == np.uint8 and values.ndim in (2, 3) and _is_picture(wanted)
        if is_image and not fits(values.shape, wanted):
            from PIL import Image  # noqa: PLC0415

            _check_pixels(values)
            flat = values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values
            values = self._fit(Image.fromarray(flat), wanted)
        if not fits(values.shape, wanted):
            if is_transposed(values.shape, wanted):
                raise _channels_first(values.shape, wanted)
            raise DataError(
                f"a sample has shape {tuple(values.shape)}, expected {wanted}",
                fix="reshape the data to the shape of the model's input",
            )
        return self.scale_if_explicit(values.reshape(wanted))

    def scale_if_explicit(self, values: NDArray[Any]) -> NDArray[Any]:
        """Scale pixels (uint8); other types only if a scale is set explicitly."""
        by_name = not self.is_default and (self.scale != "raw" or bool(self.mean or self.std))
        return self.scale_pixels(values) if values.dtype == np.uint8 or by_name else values

    def _fit(self, image: Image.Image, shape: Sequence[int]) -> NDArray[np.uint8]:
        height, width, channels = _image_shape(shape)
        image = with_mode(image, "L" if channels == 1 else "RGB")
        size = (width, height)
        pixels = fit_image(image, size, self.resize, self.filter, self.fill, self.shorter)
        if channels == 3 and self.colour == "bgr":
            pixels = pixels[..., ::-1]
        return pixels.reshape(tuple(shape))


def parse_preprocess(text: str | Preprocess | None) -> Preprocess:
    """Convert ``--preprocess`` text to `Preprocess`.

    The text is a comma-separated list of: a scale (``raw``, ``unit``, ``tf``), ``mean=`` and
    ``std=`` (``127.5`` or ``123.7/116.8/103.9``), ``resize=``, ``filter=``, ``colour=``,
    ``exif=``, ``fill=``, ``shorter=``. ``resize=torch-crop`` alone has torchvision's filter.

    Raises:
        UsageError: An unknown word; the message lists the known ones.
    """
    if isinstance(text, Preprocess):
        return text
    if not text:
        return Preprocess(is_default=True)
    result = Preprocess()
    named_scale = False
    for word in text.split(","):
        key, separator, value = word.strip().partition("=")
        if not separator and key in SCALES:
            result, named_scale = replace(result, scale=key), True
        elif key == "mean":
            result = replace(result, mean=_numbers(word, value))
        elif key == "std":
            result = replace(result, std=_numbers(word, value))
        elif key == "fill":
            result = replace(result, fill=_pixel(word, value))
        elif key == "shorter":
            result = replace(result, shorter=_length(word, value))
        elif (key, value) in _CHOICES:
            change: dict[str, Any] = {key: value}
            result = replace(result, **change)
        else:
            raise UsageError(f"--preprocess has the unknown word {word.strip()!r}", fix=_KNOWN)
    if result.shorter is not None and result.resize != _TORCH_CROP:
        raise UsageError(
            f"--preprocess names shorter={result.shorter} without resize={_TORCH_CROP}",
            fix=f"add resize={_TORCH_CROP}, or leave shorter= out",
        )
    if result.resize == _TORCH_CROP and "filter=" not in text:
        result = replace(result, filter="torch-bilinear")
    if named_scale and (result.mean or result.std):
        raise UsageError(
            f"--preprocess names both {result.scale} and mean or std", fix="give one of the two"
        )
    if any(value == 0 for value in result.std):
        raise UsageError("--preprocess divides by std=0", fix="give a std above zero")
    return result


def preprocess_or(requested: str | Preprocess | None, noted: str) -> Preprocess:
    """Return the requested preprocessing, else that in the model's file, else the default.

    The file's preprocessing is for pixels only: real numbers do not change.

    Raises:
        UsageError: An unknown word.
    """
    if requested is None and noted:
        return replace(parse_preprocess(noted), is_default=True)
    return parse_preprocess(requested)


def fit_default(how: Preprocess, real_range: tuple[float, float] | None, dtype: str) -> Preprocess:
    """Return ``how``, with the scale that the input was made for if none is set explicitly.

    Args:
        how: Returned unchanged unless it is the default.
        real_range: What the input can represent; None if it is not quantized.
        dtype: The type of the input.

    Returns:
        The one of ``raw``, ``unit``, ``tf`` and ``mean=128,std=128`` (Google's quantized models of
        2018 to 2020: unchanged pixels) that fits the range of a quantized input best, if it fits
        within 3 %; ``raw`` for integers that are not quantized; else ``how``.
    """
    if not how.is_default:
        return how
    if real_range is None:
        return replace(how, scale="raw") if np.dtype(dtype).kind in "iu" else how
    candidates = [replace(how, scale=scale) for scale in SCALES]
    candidates.append(replace(how, mean=_AS_THEY_ARE, std=_AS_THEY_ARE))
    distances = [_distance(each.promised_range, real_range) for each in candidates]
    best = int(np.argmin(distances))
    return candidates[best] if distances[best] <= _FITTING else how


_FITTING = 0.03
_AS_THEY_ARE = (128.0,)  # with scale 1/128 and zero point 128: each pixel equals its code
_EXACT = 1e-5


def preprocess_for(
    requested: str | Preprocess | None,
    noted: str,
    real_range: tuple[float, float] | None,
    dtype: str,
) -> Preprocess:
    """Return the requested preprocessing, else that in the model's file, else that of its input.

    Google's models of 2018 to 2020 state 127.5 for an input with a quantization for 128; for these,
    as in pycoral, pixels are not changed.

    Args:
        requested: ``--preprocess``.
        noted: See `preprocess_or`.
        real_range: What the input can represent; None if it is not quantized.
        dtype: The type of the input.

    Raises:
        UsageError: An unknown word.
    """
    how = preprocess_or(requested, noted)
    if requested is not None or not noted or real_range is None:
        return how if noted else fit_default(how, real_range, dtype)
    pixels = replace(how, mean=_AS_THEY_ARE, std=_AS_THEY_ARE)
    is_pixels = _distance(pixels.promised_range, real_range) < _EXACT
    is_near = _distance(how.promised_range, real_range) < _FITTING
    return pixels if is_pixels and is_near else how


REAL_NUMBERS = "none: the samples are real numbers, which are not changed"
NORMALIZED = "none: the samples are real numbers, whose features the model's metadata normalizes"
_REQUESTED, _UNKNOWN = "as requested", "the default: the model's file does not say"


def preprocess_reason(
    requested: str | Preprocess | None, noted_reason: str, real_range: tuple[float, float] | None
) -> str:
    """Return why `preprocess_for` chose its result; ``noted_reason`` is empty without a note."""
    if requested is not None:
        return _REQUESTED
    if noted_reason:
        return noted_reason
    if real_range is None:
        return _UNKNOWN
    low, high = real_range
    return f"the model's file does not say; its input stands for {low:.4g}..{high:.4g}"


def is_models_own(reason: str) -> bool:
    """Whether a reason of `preprocess_reason` is that the model itself states its preprocessing."""
    return reason not in ("", _REQUESTED, _UNKNOWN, REAL_NUMBERS, NORMALIZED)


def has_same_range(one: Preprocess, other: Preprocess) -> bool:
    """Whether pixels become the same range, to within 3 %."""
    return _distance(one.promised_range, other.promised_range) <= _FITTING


def _distance(promised: tuple[float, float], real: tuple[float, float]) -> float:
    """Return the distance of the ends of two ranges, as a share of the first's width."""
    apart = max(abs(promised[0] - real[0]), abs(promised[1] - real[1]))
    return apart / (promised[1] - promised[0])


_CHOICES = {
    (key, value)
    for key, values in (
        ("resize", RESIZES),
        ("filter", FILTERS),
        ("colour", COLOURS),
        ("exif", EXIF),
    )
    for value in values
}
_KNOWN = (
    "use raw, unit (0..1), tf (-1..1), or mean=..,std=.. (one value, or one per channel: 1/2/3); "
    f"and resize={'|'.join(RESIZES)}, filter={'|'.join(FILTERS)}, colour={'|'.join(COLOURS)}, "
    f"exif={'|'.join(EXIF)}, fill=0..255, shorter=PIXELS"
)


def _head(path: Path) -> bytes:
    with open_input(path, is_pipe_read=False) as stream:
        return stream.read(HEAD_BYTES)


def _pixel(word: str, value: str) -> int:
    if not value.isdecimal() or int(value) > _PIXEL_MAX:
        raise UsageError(f"--preprocess needs a number of 0 to 255 in {word.strip()!r}", fix=_KNOWN)
    return int(value)


def _length(word: str, value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) <= _LONGEST:
        raise UsageError(f"--preprocess needs a number of pixels in {word.strip()!r}", fix=_KNOWN)
    return int(value)


def _numbers(word: str, value: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in value.split("/"))
    except ValueError as error:
        raise UsageError(f"--preprocess needs a number in {word.strip()!r}", fix=_KNOWN) from error
    if len(numbers) not in (1, 3) or not np.isfinite(numbers).all():
        raise UsageError(f"--preprocess needs one or three numbers in {word.strip()!r}", fix=_KNOWN)
    return numbers


def fits(given: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether shapes are equal except for dimensions of size 1: (28, 28) fits (28, 28, 1)."""
    return [size for size in given if size != 1] == [size for size in wanted if size != 1]


def is_transposed(given: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether ``given`` is (channels, height, width) of ``wanted`` (height, width, channels)."""
    return len(given) > 1 and (*given[1:], given[0]) == tuple(wanted)


def _channels_first(given: Sequence[int], wanted: Sequence[int] | None = None) -> DataError:
    axes = ", ".join(map(str, (0, *range(2, len(given) + 1), 1)))
    expected = f", expected {tuple(wanted)}" if wanted else ""
    return DataError(
        f"a sample has shape {tuple(given)}{expected}",
        why="it looks like PyTorch's order, channels first; TFLite has them last",
        fix=f"transpose the batch: x.transpose({axes}) in numpy, x.permute({axes}) in torch",
    )


def _check_pixels(values: NDArray[np.uint8]) -> None:
    """Raise DataError for an array of pixels that is not a picture."""
    if values.ndim == 2 or values.shape[-1] in _CHANNELS:
        return
    if values.shape[0] in _CHANNELS:
        raise _channels_first(values.shape)
    raise DataError(
        f"a sample of pixels (uint8) has shape {tuple(values.shape)}, which is not a picture",
        why="a picture has 1 to 4 channels, the last dimension",
        fix="give arrays (height, width, channels), or real numbers in the input's shape",
    )


def _is_picture(shape: Sequence[int]) -> bool:
    """Whether an input can be a picture; a series of 64 steps is (64, 1), (64, 3) or (1, 64, 1).

    PyTorch's grey pictures are (1, height, width): the same values in the same order.
    """
    if len(shape) == 3:
        is_grey_first = shape[0] == 1 and min(shape[1:]) >= _LEAST_SIDE
        return is_grey_first or (shape[2] in (1, 3) and min(shape[:2]) > 1)
    return len(shape) == 2 and min(shape) >= _LEAST_SIDE


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return (height, width, channels) of an input.

    Raises:
        DataError: It cannot be a picture.
    """
    if _is_picture(shape):
        if len(shape) == 3 and shape[0] == 1:
            return shape[1], shape[2], 1
        return shape[0], shape[1], shape[2] if len(shape) == 3 else 1
    raise DataError(
        f"an input of shape {tuple(shape)} cannot be filled from an image",
        why="an image has the shape (height, width, 1 or 3)",
        fix="give the samples as .npy or .npz, in the input's shape",
    )
