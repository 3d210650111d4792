# SPDX-License-Identifier: Apache-2.0
"""Run commands on damaged inputs: none may crash, hang or fill the memory.

    python scripts/fuzz_inputs.py [--number 11000] [--seed 1] [--kinds npz,coco,...] [--keep FOLDER]

The script makes good files of each kind, damages them (bytes changed, cut, doubled, zeroed; in JSON
a value of another type), and runs the command that reads them. Each batch runs in its own process.
A file passes if the command ends with status 0, 3 or 4 within a minute. Any other outcome is
listed, the file is kept in FOLDER, and the exit status is 1.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import copy
import io
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomllib

from edgekit.cli.main import main as edgekit
from edgekit.data import InputSpec, open_dataset
from edgekit.data.coco import CocoDataset
from edgekit.data.describe import with_notes
from edgekit.errors import EdgeKitError
from edgekit.evaluate.coco_scores import score_coco
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, write_model
from edgekit.formats.tflite_metadata import Notes

ACCEPTED = (0, 3, 4)
MOST_BYTES = 2 << 30
_SIDE, _CLASSES = 8, 3
_BATCH = 100
_LISTED = 20
Draw = random.Random  # noqa: S311 - not cryptography


@dataclass(frozen=True)
class Kind:
    """A kind of input: good files of it, and how to use a damaged one."""

    suffix: str
    sound: Callable[[Path], list[bytes]]
    use: Callable[[Path, Path], object]  # (damaged file, folder of the good files)
    damage: Callable[[bytes, Draw], bytes]
    deadline_s: int = 60


@dataclass
class Tally:
    """The outcomes for the damaged files."""

    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    peak_rss_bytes: int = 0

    def add(self, other: Tally) -> None:
        """Add another tally's counts."""
        self.statuses += other.statuses
        self.failures += other.failures
        self.peak_rss_bytes = max(self.peak_rss_bytes, other.peak_rss_bytes)


def damage_bytes(content: bytes, draw: Draw) -> bytes:
    """Change, cut, double, zero or insert a few bytes."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        at, length = draw.randrange(len(data)), draw.choice((1, 2, 4, 16, 64))
        how = draw.randrange(7)
        if how <= 2:
            data[at] = draw.randrange(256)
        elif how == 3:
            data[at : at + 4] = draw.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
        elif how == 4:
            data[at : at + length] = bytes(draw.randrange(256) for _ in range(length))
        elif how == 5:
            data[at:at] = data[draw.randrange(len(data)) :][:length]
        elif draw.randrange(4) == 0:
            del data[max(at, 1) :]
    return bytes(data)


_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e308, 1 << 70, float("nan"), "", "x", "\0", "²", "9" * 5000,
    [], {}, [[]], [None], {"": None}, "../../x", "é" * 300,
)  # fmt: skip


def damage_json(content: bytes, draw: Draw) -> bytes:
    """Replace, remove or double values anywhere; sometimes bytes."""
    if draw.randrange(4) == 0:
        return damage_bytes(content, draw)
    document = json.loads(content)
    for _ in range(draw.choice((1, 1, 2, 3))):
        places = [place for place in _places(document) if place[0]]
        if not places:
            break
        holder, key = draw.choice(places)
        how = draw.randrange(6)
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif how == 2:
            count = draw.choice((1, 2, 300))
            holder[key] = [copy.deepcopy(holder[key]) for _ in range(count)]
        else:
            holder[key] = copy.deepcopy(draw.choice(_ODD))
    return json.dumps(document).encode()


def _places(node: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - JSON
    pairs = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
    for key, value in pairs:
        yield node, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def network() -> bytes:
    """Return a dense layer from (1, 8, 8, 3) real numbers to 3 scores."""
    flat = (1, _SIDE * _SIDE * 3)
    weights = np.random.default_rng(1).normal(size=(_CLASSES, flat[1])).astype("<f4")
    tensors = (
        Tensor("image", (1, _SIDE, _SIDE, 3), "FLOAT32", 0),
        Tensor("shape", (2,), "INT32", 1),
        Tensor("flat", flat, "FLOAT32", 0),
        Tensor("weights", weights.shape, "FLOAT32", 2),
        Tensor("scores", (1, _CLASSES), "FLOAT32", 0),
    )
    reshape = Operator(
        "RESHAPE", 1, (0, 1), (2,), {"new_shape": flat}, "ReshapeOptions", builtin_code=22
    )
    options = {"fused_activation_function": "NONE"}
    dense = Operator(
        "FULLY_CONNECTED", 1, (2, 3, -1), (4,), options, "FullyConnectedOptions", builtin_code=9
    )
    buffers = tuple(
        np.frombuffer(raw, np.uint8) for raw in (b"", np.array(flat, "<i4").tobytes(), weights)
    )
    return write_model(Model((Subgraph(tensors, (0,), (4,), (reshape, dense)),), buffers))


def prepare(folder: Path) -> None:
    """Make the good files that commands need besides the damaged one."""
    from PIL import Image  # noqa: PLC0415 - only here

    draw = np.random.default_rng(2)
    (folder / "model.tflite").write_bytes(network())
    pixels = draw.integers(0, 256, (12, _SIDE, _SIDE, 3), np.uint8)
    np.savez(str(folder / "good.npz"), x=pixels, y=np.arange(12) % _CLASSES)
    for name in ("calibration", "other"):
        values = draw.random((48, _SIDE, _SIDE, 3), np.float32)
        np.savez(str(folder / f"{name}.npz"), x=values, y=np.arange(48) % _CLASSES)
    Image.fromarray(pixels[0]).save(str(folder / "image.png"))
    (folder / "labels.txt").write_text("cat\ndog\nfish\n")
    _call("bundle", folder / "model.tflite", "--labels", folder / "labels.txt", "-o",
          folder / "good.edgekit")  # fmt: skip
    journal = ("--journal", folder / "good.journal")
    _call("evaluate", folder / "model.tflite", "--data", folder / "good.npz", *journal)
    for name, command in (("evaluate", ("--data", folder / "good.npz")), ("benchmark", ())):
        with _output_into(folder / f"{name}.json"):
            _call(name, folder / "model.tflite", *command, "--json")


def _arrays(folder: Path) -> list[bytes]:
    """Return alternately a data set and one sample, in the order of `_EVALUATE` and `_RUN`."""
    del folder
    draw, found = np.random.default_rng(3), []
    for save in (np.savez, np.savez_compressed):
        for dtype in (np.uint8, np.float32, np.float64):
            pixels = draw.integers(0, 2, (4, _SIDE, _SIDE, 3)).astype(dtype)
            for arrays in ({"x": pixels, "y": np.arange(4) % _CLASSES}, {"image": pixels[0]}):
                stream = io.BytesIO()
                save(stream, **arrays)
                found.append(stream.getvalue())
    return found


def _array(folder: Path) -> list[bytes]:
    del folder
    found = []
    for dtype in (np.uint8, np.float32, np.int64):
        for shape in ((2, _SIDE, _SIDE, 3), (_SIDE, _SIDE, 3)):
            stream = io.BytesIO()
            np.save(stream, np.ones(shape, dtype))
            found.append(stream.getvalue())
    return found


def _use_dataset(path: Path, folder: Path) -> None:
    del folder
    for sample in open_dataset(path, inputs=[InputSpec("image", (1, _SIDE, _SIDE, 3))]):
        np.asarray(sample.inputs[0], np.float32)


def _images(folder: Path) -> list[bytes]:
    from PIL import Image  # noqa: PLC0415

    found = []
    with Image.open(folder / "image.png") as image:
        for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"):
            for mode in ("RGB", "L"):
                stream = io.BytesIO()
                exif = Image.Exif()
                exif[0x0112] = 6
                extra = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP") else {}
                image.convert(mode).save(stream, kind, **extra)
                found.append(stream.getvalue())
    return found


def _coco(folder: Path) -> list[bytes]:
    shutil.copy(folder / "image.png", folder / "a.png")
    shutil.copy(folder / "image.png", folder / "b.png")
    rows = [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 2,
            "bbox": [0, 1, 4, 4.5],
            "area": 18,
            "iscrowd": 0,
        },
        {
            "id": 2,
            "image_id": 2,
            "category_id": 5,
            "bbox": [2, 2, 3, 3],
            "area": 9.0,
            "iscrowd": 1,
            "segmentation": [[2, 2, 5, 2, 5, 5]],
            "keypoints": [2, 2, 2] * 17,
            "num_keypoints": 17,
        },
    ]
    document = {
        "info": {},
        "images": [
            {"id": 1, "file_name": "a.png", "width": 8, "height": 8},
            {"id": 2, "file_name": "b.png", "width": 8, "height": 8},
        ],
        "annotations": rows,
        "categories": [{"id": 2, "name": "cat"}, {"id": 5, "name": "person"}],
    }
    return [json.dumps(document).encode()]


def _use_coco(path: Path, folder: Path) -> None:
    del folder  # the damaged file is in it, next to its images
    inputs = [InputSpec("image", (1, _SIDE, _SIDE, 3))]
    dataset = open_dataset(path, inputs=inputs)
    if isinstance(dataset, CocoDataset):
        ids = [each for sample in range(2) for each in dataset.chunk(sample, sample + 1).targets]
        dataset.identity(2)
        category = next(iter(dataset.categories), 0)
        boxes = [
            {"image_id": each, "category_id": category, "bbox": [0, 0, 4, 4], "score": 0.5}
            for each in ids
        ]
        score_coco(dataset.document, ids, boxes, "bbox")


def _csv(folder: Path) -> list[bytes]:
    place = folder / "csv"
    place.mkdir()
    for name in "abcd":
        shutil.copy(folder / "image.png", place / f"{name}.png")
    rows = [f"{name}.png,{index % _CLASSES},0.5" for index, name in enumerate("abcd")]
    return ["\n".join([head, *rows]).encode() for head in ("file,class,x", "file,y,z")]


def _use_csv(path: Path, folder: Path) -> None:
    shutil.copy(path, folder / "csv" / "labels.csv")
    edgekit(["evaluate", str(folder / "model.tflite"), "--data", str(folder / "csv")])


def _attached(folder: Path) -> list[bytes]:
    notes = Notes("unit", ("cat", "dog", "fish"))
    return [with_notes((folder / "model.tflite").read_bytes(), notes)]


def damage_behind(content: bytes, draw: Draw) -> bytes:
    """Damage only what is attached after the model; another script damages graphs."""
    start = content.index(b"PK\x03\x04")
    return content[:start] + damage_bytes(content[start:], draw)


def _by_command(name: str, *words: str) -> Callable[[Path], list[bytes]]:
    """Return the file ``name`` that a command writes; it runs in a process of its own.

    Words with capital letters are good files, as for `_command`.
    """

    def make(folder: Path) -> list[bytes]:
        command = [sys.executable, "-m", "edgekit", *_placed(words, folder)]
        subprocess.run(command, check=True, capture_output=True)
        return [(folder / name).read_bytes()]

    return make


def _placed(words: Iterable[str], folder: Path) -> list[str]:
    """Return a command's words, with the paths of good files for those in capital letters."""
    sound = {"MODEL": "model.tflite", "GOOD": "good.npz", "IMAGE": "image.png"}
    sound |= {"RESULT": "evaluate.json", "DATA": "calibration.npz", "OTHER": "other.npz"}
    return [str(folder / sound[word]) if word in sound else _in(folder, word) for word in words]


def _in(folder: Path, word: str) -> str:
    return str(folder / word[2:]) if word.startswith("./") else word


def damage_toml(content: bytes, draw: Draw) -> bytes:
    """Damage values of a TOML file, or its bytes."""
    if draw.randrange(4) == 0:
        return damage_bytes(content, draw)
    try:
        document = json.loads(
            damage_json(json.dumps(tomllib.loads(content.decode())).encode(), draw)
        )
    except ValueError:
        return content
    lines, tables = [], []
    for key, value in document.items() if isinstance(document, dict) else ():
        if isinstance(value, dict) and value:
            tables += [f"[{json.dumps(key)}]"]
            tables += [f"{json.dumps(name)} = {json.dumps(each)}" for name, each in value.items()]
        else:
            lines.append(f"{json.dumps(key)} = {json.dumps(value)}")
    return "\n".join([*lines, *tables, ""]).encode()


def damage_lines(content: bytes, draw: Draw) -> bytes:
    """Damage the entries of a journal, with the checksums that belong to them; sometimes bytes."""
    if draw.randrange(4) == 0:
        return damage_bytes(content, draw)
    lines, crc = content.splitlines(), 0
    at, made = draw.randrange(len(lines)), []
    for number, line in enumerate(lines):
        entry = {key: each for key, each in json.loads(line).items() if key != "crc"}
        body = json.dumps(entry, separators=(",", ":")).encode()
        if number == at:
            body = damage_json(body, draw)
        crc = zlib.crc32(body[:-1], crc)
        made.append(b'%s,"crc":%d}\n' % (body[:-1], crc))
    return b"".join(made)


def damage_checkpoint(content: bytes, draw: Draw) -> bytes:
    """Damage what a checkpoint states, exchange its arrays, or damage its bytes."""
    how = draw.randrange(3)
    if how == 0:
        return damage_bytes(content, draw)
    with np.load(io.BytesIO(content)) as stored:
        arrays = dict(stored)
    if how == 1:
        head = damage_json(str(arrays["head"]).encode(), draw)
        arrays["head"] = np.array(head.decode(errors="replace"))
    else:
        names = sorted(arrays)
        arrays[draw.choice(names)] = arrays[draw.choice(names)]
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _used_as(name: str, *words: str) -> Callable[[Path, Path], object]:
    """Return a command that finds the damaged file as ``name`` in the folder."""

    def use(path: Path, folder: Path) -> None:
        shutil.copy(path, folder / name)
        edgekit(_placed(words, folder))

    return use


def _log(folder: Path) -> list[bytes]:
    del folder
    lines = [
        "Edge TPU Compiler version 16.0.384591198",
        "Started a compilation timeout timer of 180",
    ]
    lines += [
        "Model compiled successfully in 12 ms.",
        "Input model: m.tflite",
        "Input size: 3.1KiB",
    ]
    lines += [
        "On-chip memory used for caching model parameters: 5.00KiB",
        "Operator  Count  Status",
    ]
    lines += ["CONV_2D  1  Mapped to Edge TPU", "SOFTMAX 1 Operation is not supported"]
    return ["\n".join(lines).encode()]


def _call(*words: object) -> None:
    try:
        edgekit([str(word) for word in words])
    except SystemExit as end:
        if end.code:
            raise


def _command(*words: str) -> Callable[[Path, Path], object]:
    """Return a command; FILE is the damaged file, other capital names are good files."""

    def use(path: Path, folder: Path) -> None:
        edgekit([str(path) if word == "FILE" else word for word in _placed(words, folder)])

    return use


def _either(*uses: Callable[[Path, Path], object]) -> Callable[[Path, Path], object]:
    return lambda path, folder: uses[int(path.stem) % len(uses)](path, folder)


def _file(name: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [(folder / name).read_bytes()]


_RUN = _command("run", "MODEL", "FILE", "--json")
_EVALUATE = _command("evaluate", "MODEL", "--data", "FILE", "--json")
_RUN_MODEL = _command("run", "FILE", "IMAGE")
_BUNDLE = _either(_command("verify", "FILE"), _RUN_MODEL, _command("inspect", "FILE"))
_RESULTS = _either(
    _command("compare", "RESULT", "FILE"), _command("bundle", "MODEL", "--metrics", "FILE",
    "-o", "/dev/null"),
)  # fmt: skip
_TUNE = ("tune", "MODEL", "--data", "DATA", "--eval", "OTHER", "--max-trials", "2", "-o",
         "./tuned.tflite")  # fmt: skip
_TRAIN = ("train", "MODEL", "--data", "DATA", "--eval", "OTHER", "--epochs", "1", "-o",
          "./trained.tflite")  # fmt: skip
_BUILD = ("build", "MODEL", "--data", "DATA", "-o", "./build")
KINDS = {
    "npz": Kind(".npz", _arrays, _either(_EVALUATE, _RUN), damage_bytes),
    "npy": Kind(".npy", _array, _either(_use_dataset, _RUN), damage_bytes),
    "image": Kind(".png", _images, _RUN, damage_bytes),
    "result": Kind(".json", _file("evaluate.json"), _RESULTS, damage_json),
    "benchmark": Kind(".json", _file("benchmark.json"), _RESULTS, damage_json),
    "coco": Kind(".json", _coco, _use_coco, damage_json),
    "labels": Kind(
        ".txt",
        _file("labels.txt"),
        _command("run", "MODEL", "IMAGE", "--labels", "FILE"),
        damage_bytes,
    ),
    "csv": Kind(".csv", _csv, _use_csv, damage_bytes),
    "bundle": Kind(".edgekit", _file("good.edgekit"), _BUNDLE, damage_bytes),
    "journal": Kind(
        ".journal",
        _file("good.journal"),
        _command("evaluate", "MODEL", "--data", "GOOD", "--journal", "FILE", "--resume"),
        damage_bytes,
    ),
    "attached": Kind(
        ".tflite", _attached, _either(_RUN_MODEL, _command("inspect", "FILE")), damage_behind
    ),
    "log": Kind(".log", _log, _command("explain", "FILE"), damage_bytes),
    "recipe": Kind(
        ".toml",
        _by_command("tuned.recipe.toml", *_TUNE),
        _command("convert", "MODEL", "--data", "DATA", "--recipe", "FILE", "-o", "./int8.tflite"),
        damage_toml,
    ),
    "trials": Kind(
        ".jsonl",
        _by_command("tuned.journal.jsonl", *_TUNE),
        _used_as("tuned.journal.jsonl", *_TUNE),
        damage_lines,
    ),
    "checkpoint": Kind(
        ".npz",
        _by_command("trained.checkpoint.npz", *_TRAIN),
        _used_as("trained.checkpoint.npz", *_TRAIN, "--resume"),
        damage_checkpoint,
    ),
    "record": Kind(
        ".json",
        _by_command("build/.edgekit-build", *_BUILD),
        _used_as("build/.edgekit-build", *_BUILD),
        damage_json,
    ),
    "toml": Kind(
        ".toml",
        _by_command("build/edgekit.toml", *_BUILD),
        _used_as("build/edgekit.toml", "build", "./build/edgekit.toml"),
        damage_toml,
    ),
}


def fuzz(
    name: str, kind: Kind, numbers: range, seed: int, scratch: Path, keep: Path | None
) -> Tally:
    """Damage and use the files ``numbers`` of a kind; each batch in its own process."""
    start_s, tally = time.monotonic(), Tally()
    sound = kind.sound(scratch)
    for start in range(numbers.start, numbers.stop, _BATCH):
        pending = list(range(start, min(start + _BATCH, numbers.stop)))
        while pending:
            done = _in_child(kind, sound, pending, f"{seed}/{name}", scratch, tally)
            pending = pending[done:]
    if keep is not None:
        for failure in tally.failures:
            number = int(failure.split()[0])
            draw = Draw(f"{seed}/{name}/{number}")
            content = kind.damage(sound[number % len(sound)], draw)
            (keep / f"{name}-{number}{kind.suffix}").write_bytes(content)
    tally.failures = [f"{name} {failure}" for failure in tally.failures]
    counts = ", ".join(f"{key}: {n}" for key, n in sorted(tally.statuses.items()))
    taken_s = time.monotonic() - start_s
    print(f"{name:12} {len(numbers):6} files  {counts}  ({taken_s:.0f} s)", flush=True)
    return tally


def report(tally: Tally) -> int:
    """Print the failures and the totals; return the exit status."""
    for failure in tally.failures[:_LISTED]:
        print(failure)
    count, peak = sum(tally.statuses.values()), tally.peak_rss_bytes >> 20
    print(f"{count} files, {len(tally.failures)} failures, peak {peak} MiB")
    return 1 if tally.failures else 0


def _in_child(
    kind: Kind, sound: list[bytes], numbers: list[int], seed: str, scratch: Path, tally: Tally
) -> int:
    """Run the files in a child; return how many were done (the last may have crashed it)."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            _use_all(kind, sound, numbers, seed, scratch, writer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as heard:
        lines = [json.loads(line) for line in heard]
    _, ended = os.waitpid(child, 0)
    for number, status, text, peak in lines:
        tally.statuses[str(status)] += 1
        tally.peak_rss_bytes = max(tally.peak_rss_bytes, peak)
        if status not in ACCEPTED:
            tally.failures.append(f"{number} status {status}: {text}")
        if peak > MOST_BYTES:
            tally.failures.append(f"{number} took {peak >> 20} MiB")
            return len(lines)
    if len(lines) < len(numbers):
        tally.statuses["died"] += 1
        tally.failures.append(f"{numbers[len(lines)]} the process ended with {ended}")
        return len(lines) + 1
    return len(lines)


def _use_all(
    kind: Kind, sound: list[bytes], numbers: list[int], seed: str, scratch: Path, writer: int
) -> None:
    """In the child: damage and use each file, and print its outcome."""
    with os.fdopen(writer, "w") as said:
        _silence()
        for number in numbers:
            draw = Draw(f"{seed}/{number}")
            path = scratch / f"{number}{kind.suffix}"
            path.write_bytes(kind.damage(sound[number % len(sound)], draw))
            status, text = _status(kind, path, scratch)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            said.write(json.dumps([number, status, text, peak]) + "\n")
            said.flush()
            path.unlink()


def _status(kind: Kind, path: Path, scratch: Path) -> tuple[int, str]:
    signal.signal(signal.SIGALRM, _expired)
    signal.alarm(kind.deadline_s)
    try:
        kind.use(path, scratch)
    except SystemExit as end:
        return int(end.code or 0), ""
    except EdgeKitError as error:
        return error.exit_status, error.what
    except BaseException:  # noqa: BLE001 - must not happen; it is listed
        return 1, traceback.format_exc()[-1500:]
    finally:
        signal.alarm(0)
    return 0, ""


def _expired(*_: object) -> None:
    raise TimeoutError("it took too long")


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


class _output_into:  # noqa: N801 - reads as a function
    """Standard output into a file, for a command."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._old, sys.stdout = sys.stdout, self._path.open("w", encoding="utf-8")

    def __exit__(self, *_: object) -> None:
        sys.stdout.close()
        sys.stdout = self._old


def arguments(description: str | None, kinds: Iterable[str], number: int) -> argparse.Namespace:
    """Parse the command line of a script that damages files of several kinds."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--number", type=int, default=number, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(kinds))
    parser.add_argument("--keep", type=Path, help="folder for the files that failed")
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    return options


def main() -> int:
    """Damage, run, report."""
    options = arguments(__doc__, KINDS, 11_000)
    whole, names = Tally(), options.kinds.split(",")
    each = -(-options.number // len(names))
    with tempfile.TemporaryDirectory(prefix="edgekit-fuzz-") as folder:
        place = Path(folder)
        with _output_into(place / "said.txt"):
            prepare(place)
        for name in names:
            whole.add(fuzz(name, KINDS[name], range(each), options.seed, place, options.keep))
    return report(whole)


if __name__ == "__main__":
    sys.exit(main())
