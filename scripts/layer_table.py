# SPDX-License-Identifier: Apache-2.0
"""Write docs/layers.md: what maps of one network for each kind of layer, and how exact it is.

    python scripts/layer_table.py [--only TEXT] [--work FOLDER] [-o docs/layers.md]

Each network of `layer_networks` is built with random weights, and converted twice: by the recipe of
Coral's tutorial with TensorFlow's own converter, and by ``edgekit convert``. TensorFlow runs in a
child process, because it crashes on some networks.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import check, convert, files
from edgekit.edgetpu import CheckReport
from edgekit.errors import EdgeKitError
from edgekit.fix.mapping import num_mapped
from edgekit.formats.tflite import read_model
from edgekit.host.convert import ConvertResult, NotEdgeTpuModelError
from edgekit.host.convert.child import Converters

_NUM_SAMPLES = 20
_GROUPS = (
    ("LAYERS", "Layers of Keras 3"),
    ("EXPORTS", "Float .tflite files in NCHW, as exporters of PyTorch networks write them"),
    ("APPLICATIONS", "Applications of Keras (64 x 64 pixels)"),
)
_HEAD = """# Layers: what maps, and how exactly

Made by `scripts/layer_table.py`; do not edit. {count} small networks with random weights, converted
twice:

- **TensorFlow**: `TFLiteConverter` of version {version} with the recipe of Coral's tutorial
  (`Optimize.DEFAULT`, a representative data set, `TFLITE_BUILTINS_INT8`, uint8 in and out);
- **edgekit**: `edgekit convert NETWORK --data SAMPLES`, with no other option, unless the row names
  one.

A cell is the number of operators that map according to `edgekit check`, of all operators. *Refused*
means that compiler 16 cannot read the file, so nothing maps. The ratio of signal to error (SNR)
compares edgekit's int8 model with the float network on random samples; of several outputs the worst
counts. It says how exact the integers are, not how good the network is.

{summary}
"""
_TABLE = """
## {title}

| network | TensorFlow | edgekit | SNR, dB | what stays on the CPU, or options |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """One network."""

    name: str
    before: str
    after: str
    snr_db: str
    remark: str
    is_whole: Sequence[bool]  # whether everything maps, by TensorFlow and by edgekit

    @property
    def line(self) -> str:
        """The row of the table."""
        return f"| {self.name} | {self.before} | {self.after} | {self.snr_db} | {self.remark} |"


def main() -> None:
    """Build, convert, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--work", type=Path, help="keep files and rows here, and go on with them")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/layers.md"))
    words = parser.parse_args()
    if words.make is not None:
        make(words.make, words.only)
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = words.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        make_all(work, words.only)
        kept = Converters()
        try:
            with kept.used():
                tables = {title: list(rows(work, group)) for group, title in _GROUPS}
        finally:
            kept.close()
    files.write_text(words.output, page(tables))


def page(tables: dict[str, list[Row]]) -> str:
    """Return the page."""
    import tensorflow as tf  # noqa: PLC0415 - slow

    every = [row for found in tables.values() for row in found]
    whole = [sum(row.is_whole[column] for row in every) for column in (0, 1)]
    summary = (
        f"Everything maps of {whole[0]} of {len(every)} networks with TensorFlow's converter, and "
        f"of {whole[1]} with edgekit."
    )
    text = _HEAD.format(count=len(every), version=tf.__version__, summary=summary)
    for title, found in tables.items():
        text += _TABLE.format(title=title) + "".join(f"{row.line}\n" for row in found)
    return text


# -- in the child process: networks, and TensorFlow's converter


def make_all(work: Path, only: str) -> None:
    """Make all files; note a network on which TensorFlow crashes, and go on."""
    command = [sys.executable, "-m", "scripts.layer_table", "--make", str(work), "--only", only]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    while True:
        status = subprocess.run(command, check=False, env=quiet).returncode
        if status == 0:
            return
        note = _note(work, (work / "begun").read_text(encoding="utf-8"))
        if note.exists():
            raise SystemExit(f"the child process failed, exit status {status}")
        note.write_text(f"crashes (exit status {status})", encoding="utf-8")


def make(work: Path, only: str) -> None:
    """Write the files of all networks that have none yet: source, samples, TensorFlow's result."""
    import keras  # noqa: PLC0415 - only in the child

    from scripts import layer_networks  # noqa: PLC0415

    for group, _ in _GROUPS:
        for name, network in getattr(layer_networks, group).items():
            base = work / slug(name)
            if only not in name or base.with_suffix(".group").exists():
                continue
            (work / "begun").write_text(name, encoding="utf-8")
            keras.utils.set_random_seed(1)
            if not _note(work, name).exists():
                _make_one(base, network)
            base.with_suffix(".group").write_text(f"{group}\n{name}", encoding="utf-8")


def _make_one(base: Path, network: Any) -> None:  # noqa: ANN401
    import tensorflow as tf  # noqa: PLC0415

    from scripts import layer_networks  # noqa: PLC0415

    if isinstance(network, layer_networks.Export):
        spec = [tf.TensorSpec(network.shape, tf.float32)]
        traced = tf.function(network.function, input_signature=spec)
        functions = ([traced.get_concrete_function()], tf.Module())
        plain, quantizing = (
            tf.lite.TFLiteConverter.from_concrete_functions(*functions) for _ in range(2)
        )
        shape = network.shape
        base.with_suffix(".tflite").write_bytes(plain.convert())
    else:
        model = network()
        shape = (1, *model.input_shape[1:])
        model.save(base.with_suffix(".keras"))
        quantizing = tf.lite.TFLiteConverter.from_keras_model(model)
    random = np.random.default_rng(0)
    samples = random.uniform(0, 1, (_NUM_SAMPLES, *shape[1:])).astype(np.float32)
    np.savez(base.with_suffix(".npz"), x=samples)
    quantizing.optimizations = [tf.lite.Optimize.DEFAULT]
    quantizing.representative_dataset = lambda: ([sample[None]] for sample in samples)
    quantizing.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    quantizing.inference_input_type = quantizing.inference_output_type = tf.uint8
    result = base.parent / f"{base.name}.tf"
    try:
        result.write_bytes(quantizing.convert())
    except Exception as error:  # noqa: BLE001 - whatever TensorFlow raises is the result
        result.with_suffix(".tf.txt").write_text(f"fails: {type(error).__name__}", encoding="utf-8")


def _note(work: Path, name: str) -> Path:
    """Return the file that says why TensorFlow's converter made nothing of a network."""
    return work / f"{slug(name)}.tf.txt"


def slug(name: str) -> str:
    """Return a file name."""
    return "".join(each if each.isalnum() else "-" for each in name)


# -- edgekit


def rows(work: Path, group: str) -> Iterator[Row]:
    """Yield the rows of a group in the order of their names' definition."""
    found = {}
    for path in work.glob("*.group"):
        kind, name = path.read_text(encoding="utf-8").split("\n")
        if kind == group:
            found[path.stat().st_mtime_ns] = name
    for _, name in sorted(found.items()):
        kept = work / f"{slug(name)}.row"
        if not kept.exists():
            row = _row(work / slug(name), name)
            kept.write_text(json.dumps(asdict(row)), encoding="utf-8")
            print(row.line, flush=True)
        yield Row(**json.loads(kept.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class _Attempt:
    """What edgekit made, without or with replaced activations."""

    replaced: str
    result: ConvertResult
    report: CheckReport

    @property
    def left(self) -> tuple[str, ...]:
        """The operators that do not map by themselves."""
        labels = (each.label for each in self.report.operators if each.alone != "tpu")
        return tuple(dict.fromkeys(labels))


def _row(base: Path, name: str) -> Row:
    before, was_whole = _by_tensorflow(base)
    attempts: list[_Attempt] = []
    reasons: list[str] = []
    for replaced in ("", "mappable"):
        try:
            attempts.append(_attempt(base, replaced))
        except NotEdgeTpuModelError as error:
            reasons.append("; ".join(dict.fromkeys(each.message for each in error.issues[:3])))
        except EdgeKitError as error:
            reasons.append(error.what)
        if attempts and not attempts[-1].left:
            break
    if not attempts:
        return Row(name, before, "refused", "", reasons[0], (was_whole, False))
    best = max(attempts, key=lambda each: each.report.num_mapped / each.report.num_operators)
    option = f"`--replace-activations {best.replaced}`" if best.replaced else ""
    remark = ", ".join(filter(None, (option, *best.left)))
    cell = f"{best.report.num_mapped} of {best.report.num_operators}"
    is_whole = best.report.num_mapped == best.report.num_operators
    return Row(name, before, cell, _snr(best.result), remark, (was_whole, is_whole))


def _attempt(base: Path, replaced: str) -> _Attempt:
    sources = (base.with_suffix(".keras"), base.with_suffix(".tflite"))
    output = base.with_suffix(f".{replaced or 'plain'}")
    result = convert(
        next(path for path in sources if path.exists()),
        data=base.with_suffix(".npz"),
        preprocess="raw",
        output=output,
        replace_activations=replaced or None,
    )
    return _Attempt(replaced, result, check(output))


def _by_tensorflow(base: Path) -> tuple[str, bool]:
    failure = base.parent / f"{base.name}.tf.txt"
    if failure.exists():
        return failure.read_text(encoding="utf-8"), False
    model = read_model((base.parent / f"{base.name}.tf").read_bytes())
    mapped, count = num_mapped(model), len(model.main.operators)
    return (f"{mapped} of {count}" if mapped else f"refused, 0 of {count}"), mapped == count


def _snr(result: ConvertResult) -> str:
    ratios = [] if result.agreement is None else list(result.agreement.snr_db)
    known = [each for each in ratios if each is not None]
    return f"{min(known):.1f}" if known else "-"


if __name__ == "__main__":
    main()
