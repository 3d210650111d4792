# SPDX-License-Identifier: Apache-2.0
"""Run `edgekit.convert` on damaged Keras files, SavedModels, frozen graphs and ONNX files.

    python -m scripts.fuzz_sources [--number 1000] [--seed 1] [--kinds keras,...] [--keep FOLDER]

ONNX files need an interpreter with onnx2tf, which the variable EDGEKIT_ONNX_PYTHON names; without
it they are left out.

Like `scripts.fuzz_inputs`, for the formats that TensorFlow reads. Starting TensorFlow takes
seconds, so one process imports it once and forks a worker for each conversion. `convert` starts a
launcher as its Python, which passes its pipes to that process. Everything else is as for a user.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit.host.convert import convert
from scripts.fuzz_inputs import (
    Draw,
    Kind,
    Tally,
    arguments,
    damage_bytes,
    damage_json,
    fuzz,
    report,
)

_ONNX_PYTHON = os.environ.get("EDGEKIT_ONNX_PYTHON", "")
_SOCKET = "EDGEKIT_FUZZ_SOCKET"
_TIMEOUT_S = 150
_MODEL_CONFIG = "model_config"
# `convert` starts this as its Python: it passes on its streams, then ends like the worker.
_LAUNCHER = """#!{python} -SE
import array, os, signal, socket
link = socket.socket(socket.AF_UNIX)
link.connect(os.environ["EDGEKIT_FUZZ_SOCKET"])
link.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
for number in (0, 1, 2):
    os.close(number)
status = int(link.recv(16) or b"9")
if status & 127:
    signal.signal(status & 127, signal.SIG_DFL) if status & 127 != 9 else None
    os.kill(os.getpid(), status & 127)
os._exit(status >> 8)
"""


def serve(place: str) -> None:
    """Import TensorFlow once; fork a worker for each launcher that connects."""
    os.environ.update(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="2")
    import h5py  # noqa: F401, PLC0415
    import tensorflow as tf  # noqa: PLC0415
    import tf_keras  # noqa: PLC0415

    from edgekit.host.worker.session import main as work  # noqa: PLC0415

    assert tf.keras.__version__ != tf_keras.__version__  # noqa: S101 - imports both now instead of lazily
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    listening.listen()
    peak = 0
    while True:
        link, _ = listening.accept()
        _, pipes, _, _ = socket.recv_fds(link, 1, 3)
        child = os.fork()
        if child == 0:
            for number, pipe in enumerate(pipes):
                os.dup2(pipe, number)
            signal.alarm(_TIMEOUT_S + 30)
            _work(work)
        for pipe in pipes:
            os.close(pipe)
        _, status, usage = os.wait4(child, 0)
        if usage.ru_maxrss > peak:
            peak = usage.ru_maxrss
            Path(f"{place}.peak").write_text(str(peak * 1024))
        with link, contextlib.suppress(OSError):  # `convert` may already have stopped the launcher
            link.sendall(str(status).encode())


def _work(work: Callable[[], None]) -> None:
    import traceback  # noqa: PLC0415

    status = 1
    try:
        work()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - as the interpreter would print it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _networks(keras: Any) -> list[Any]:  # noqa: ANN401
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    branch = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    added = layers.Add()([branch, layers.Conv2D(4, 1)(inputs)])
    joined = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(added))
    stacked = [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3)]
    return [keras.Model(inputs, joined), keras.Sequential(stacked)]


def make_sound(folder: str) -> None:
    """Save the networks in every form, with one folder per kind."""
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415
    import tf_keras  # noqa: PLC0415

    warnings.simplefilter("ignore")
    for kind in KINDS:
        Path(folder, kind).mkdir(parents=True)
    for module, kind in ((keras, "keras3"), (tf_keras, "keras2")):
        for index, model in enumerate(_networks(module)):
            model.save(f"{folder}/{kind}/{index}.keras")
            model.save(f"{folder}/{kind}-h5/{index}.h5")
    for index, model in enumerate(_networks(keras)):
        place = Path(folder, f"exported-{index}")
        if index:
            model.export(str(place), verbose=False)
        else:
            tf.saved_model.save(model, str(place))
        Path(folder, "saved_model", f"{index}.zip").write_bytes(_packed(place))
    Path(folder, "frozen", "0.pb").write_bytes(_frozen())
    if "onnx" in KINDS:
        Path(folder, "onnx", "0.onnx").write_bytes(_onnx())


def _packed(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    return stream.getvalue()


def _frozen() -> bytes:
    import numpy as np  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    draw = np.random.default_rng(4)
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 3), "image")
        kernel = tf.constant(draw.normal(size=(3, 3, 3, 4)).astype(np.float32))
        hidden = tf.nn.relu(tf.nn.conv2d(image, kernel, 2, "SAME"))
        flat = tf.reshape(hidden, (-1, 64))
        tf.nn.softmax(tf.matmul(flat, tf.constant(draw.normal(size=(64, 3)).astype(np.float32))))
    content: bytes = graph.as_graph_def().SerializeToString()
    return content


def _onnx() -> bytes:
    """Return a graph of one Relu in onnx.proto's format: (number << 3 | type), length, bytes."""

    def part(number: int, content: bytes) -> bytes:
        return bytes((number << 3 | 2, len(content))) + content

    def tensor(name: bytes) -> bytes:
        sizes = part(1, b"\x08\x01") + part(1, b"\x08\x08")
        return part(1, name) + part(2, part(1, b"\x08\x01" + part(2, sizes)))

    node = part(1, b"x") + part(2, b"y") + part(4, b"Relu")
    graph = part(1, node) + part(2, b"g") + part(11, tensor(b"x")) + part(12, tensor(b"y"))
    return b"\x08\x08" + part(7, graph) + part(8, b"\x10\x11")


def damage_archive(content: bytes, draw: Draw) -> bytes:
    """Damage or remove one member of an archive, and pack it again."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(sorted(name for name in members if members[name]))
    if draw.randrange(12) == 0:
        del members[name]
    else:
        damage = damage_json if name.endswith(".json") else damage_bytes
        members[name] = damage(members[name], draw)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for each, data in members.items():
            archive.writestr(each, data)
    return stream.getvalue()


def damage_keras(content: bytes, draw: Draw) -> bytes:
    """Damage the archive itself or its content."""
    return (damage_bytes if draw.randrange(4) == 0 else damage_archive)(content, draw)


def damage_hdf5(content: bytes, draw: Draw) -> bytes:
    """Damage the file, or the network's configuration in it."""
    if draw.randrange(2):
        return damage_bytes(content, draw)
    import h5py  # noqa: PLC0415

    stream = io.BytesIO(content)
    with h5py.File(stream, "r+") as file:
        text = file.attrs[_MODEL_CONFIG]
        raw = text if isinstance(text, bytes) else text.encode()
        changed = damage_json(raw, draw)[:60_000]  # the largest size of an attribute
        file.attrs[_MODEL_CONFIG] = changed.replace(b"\0", b" ")
    return stream.getvalue()


def _convert(path: Path, folder: Path) -> None:
    convert(
        path,
        data="random",
        output=folder / "out.tflite",
        num_samples=3,
        converter_python=folder / "python",
        timeout_s=_TIMEOUT_S,
    )


def _convert_onnx(path: Path, folder: Path) -> None:
    convert(
        path,
        data="random",
        output=folder / "out.tflite",
        num_samples=3,
        converter_python=_ONNX_PYTHON,
        timeout_s=_TIMEOUT_S,
    )


def _convert_folder(path: Path, folder: Path) -> None:
    place = folder / f"{path.stem}-unpacked"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(place)
    try:
        _convert(place, folder)
    finally:
        shutil.rmtree(place)


def _kind(
    name: str,
    suffix: str,
    damage: Callable[[bytes, Draw], bytes],
    use: Callable[[Path, Path], object] = _convert,
) -> Kind:
    def sound(folder: Path) -> list[bytes]:
        return [path.read_bytes() for path in sorted((folder / "sound" / name).iterdir())]

    return Kind(suffix, sound, use, damage, deadline_s=2 * _TIMEOUT_S)


KINDS = {
    "keras3": _kind("keras3", ".keras", damage_keras),
    "keras3-h5": _kind("keras3-h5", ".h5", damage_hdf5),
    "keras2": _kind("keras2", ".keras", damage_keras),
    "keras2-h5": _kind("keras2-h5", ".h5", damage_hdf5),
    "saved_model": _kind("saved_model", ".zip", damage_archive, _convert_folder),
    "frozen": _kind("frozen", ".pb", damage_bytes),
}
if _ONNX_PYTHON:
    KINDS["onnx"] = _kind("onnx", ".onnx", damage_bytes, _convert_onnx)


def _python(call: str, *words: str) -> subprocess.Popen[bytes]:
    program = f"import sys; from scripts import fuzz_sources; fuzz_sources.{call}(*sys.argv[1:])"
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=str(Path(__file__).resolve().parents[1]),
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main() -> int:
    """Start the server, damage, convert, report."""
    options = arguments(__doc__, KINDS, 1000)
    names, whole = options.kinds.split(","), Tally()
    with tempfile.TemporaryDirectory(prefix="edgekit-fuzz-") as name:
        folder = Path(name)
        launcher = folder / "python"
        launcher.write_text(_LAUNCHER.format(python=sys.executable))
        launcher.chmod(0o755)
        place = os.environ[_SOCKET] = str(folder / "socket")
        with (
            _python("make_sound", str(folder / "sound")) as making,
            _python("serve", place) as server,
        ):
            try:
                if making.wait():
                    raise RuntimeError("TensorFlow made no sound files")
                while not Path(place).exists() and server.poll() is None:
                    time.sleep(0.2)
                for each in names:
                    count = range(-(-options.number // len(names)))
                    whole.add(fuzz(each, KINDS[each], count, options.seed, folder, options.keep))
            finally:
                server.kill()
        peak = Path(f"{place}.peak")
        if peak.exists():
            whole.peak_rss_bytes = max(whole.peak_rss_bytes, int(peak.read_text()))
    return report(whole)


if __name__ == "__main__":
    sys.exit(main())
