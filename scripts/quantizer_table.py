# SPDX-License-Identifier: Apache-2.0
"""Write docs/quantizers.md: edgekit's quantizer beside TensorFlow's, network by network.

    python -m scripts.quantizer_table WORK [--group layers|corpus|applications|growth] [NAME...]

Each network becomes a float .tflite, which both quantizers quantize with the same samples; those of
``growth`` in processes of their own, which are timed. The measurements stay in
scripts/quantizer_table.json: a run replaces those of its networks. EDGEKIT_CORPUS names the corpus.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgeKitError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, Tensor, write_model
from edgekit.host.convert import convert
from edgekit.host.convert.child import ConverterChild, kept_converters
from edgekit.host.convert.enforce import lower_versions
from edgekit.host.convert.quantizer import unknown_operators
from edgekit.host.convert.quantizers import EdgekitQuantizer, Quantizer, TensorFlowQuantizer
from edgekit.host.convert.static_tflite import fold_constants
from edgekit.rewrite import prepare, slice_partial_splits
from edgekit.runtime import Runner

_RECORDS = Path(__file__).with_suffix(".json")
_PAGE = Path(__file__).resolve().parents[1] / "docs" / "quantizers.md"
_GROUPS = ("layers", "corpus", "applications", "growth")
_CORPUS = (
    "keras/mlcommons__tiny/ad01.h5",
    "keras/mlcommons__tiny/kws_ref_model",
    "keras/mlcommons__tiny/str_ww_ref_model.h5",
    "keras/oarriaga__face_classification/fer2013_mini_XCEPTION.102-0.66.hdf5",
    "keras/oarriaga__face_classification/fer2013_mini_XCEPTION.119-0.65.hdf5",
    "keras/oarriaga__face_classification/mini_XCEPTION_KDEF.hdf5",
    "keras/oarriaga__face_classification/tiny_XCEPTION_KDEF.hdf5",
    "keras/arth-simon__edge_tpu_lane_detection/model_result",
    "keras/spotify__basic-pitch/nmp",
)
_GROWTH = ("MobileNetV2", "EfficientNetB0", "ResNet50")
_SAMPLES, _HELD_OUT, _GROWTH_SAMPLES = 16, 8, 20
_SAME_SCALE = 1e-4  # relative: float kernels round differently
_STEPS = ("edgekit", "tensorflow", "bare")


@dataclass
class Record:
    """What was measured of one network."""

    group: str
    weights_bytes: int = 0
    unknown: list[str] = field(default_factory=list)  # operators that only TensorFlow's knows
    num_operators: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # quantizer -> why
    different: list[str] = field(default_factory=list)  # operators of one of the two only
    num_scales: int = 0
    num_same_scales: int = 0
    snr_db: dict[str, float] = field(default_factory=dict)  # quantizer -> of the worst output
    time_s: dict[str, float] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_mib: dict[str, int] = field(default_factory=dict)
    num_samples: int = _SAMPLES


def main() -> None:
    """Measure, or do one step of a measurement; then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--group", choices=_GROUPS, action="append")
    parser.add_argument("--step", choices=_STEPS)
    parser.add_argument("--samples", type=int, default=_SAMPLES)
    args = parser.parse_args()
    if args.step:
        _step(args.step, args.work, args.samples)
        args.work.with_suffix(".peak").write_text(str(_peak_mib()))
        return
    records = json.loads(_RECORDS.read_text()) if _RECORDS.exists() else {}
    args.work.mkdir(parents=True, exist_ok=True)
    with kept_converters():
        for group in args.group or ():
            for name, make in _networks(group, args.work):
                if args.names and name not in args.names:
                    continue
                try:
                    record = _measured(group, args.work / _file_name(name), make)
                except EdgeKitError as error:
                    print(f"{name}: no float network: {error.what}")
                    continue
                records[name] = asdict(record)
                print(name, record, flush=True)
                _RECORDS.write_text(json.dumps(records, indent=1, sort_keys=True) + "\n")
    _PAGE.write_text("\n".join(_page({k: Record(**v) for k, v in records.items()})) + "\n")


# -- networks


def _networks(group: str, work: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the name of each network, and what returns its path or its Keras model."""
    if group == "corpus":
        corpus = Path(os.environ["EDGEKIT_CORPUS"])
        yield from ((each.removeprefix("keras/"), lambda p=corpus / each: p) for each in _CORPUS)
    elif group == "growth":
        yield from ((f"{name}, 224", lambda n=name: _trained_like(n)) for name in _GROWTH)
        yield "VGG16, 224", lambda: _vgg16(work / "vgg16.tflite")
    else:
        from scripts import layer_networks  # noqa: PLC0415 - imports TensorFlow

        for name, build in getattr(layer_networks, group.upper()).items():
            yield name, partial(_built, build, is_fitted=group == "applications")


def _built(build: Callable[[], Any], *, is_fitted: bool) -> Any:  # noqa: ANN401
    return _fitted(build()) if is_fitted else build()


def _trained_like(name: str) -> Any:  # noqa: ANN401 - a Keras model
    """Return an application whose batch normalizations fit its random weights."""
    import keras  # noqa: PLC0415 - only for this group

    keras.utils.set_random_seed(1)
    return _fitted(getattr(keras.applications, name)(weights=None))


def _fitted(model: Any) -> Any:  # noqa: ANN401 - a Keras model
    """Return the model with batch normalizations that fit its random weights.

    Without them its values vanish, and ranges of 1e-30 say nothing.
    """
    import keras  # noqa: PLC0415 - only for these groups

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(_random((4, *model.input_shape[1:]), 9), training=True)
    return model


def _vgg16(path: Path) -> Path:
    """Write VGG16 as a float .tflite: TensorFlow needs more than 10 GiB to do that."""
    from tests.host.convert.improve.float_graph import FloatGraph  # noqa: PLC0415

    class Graph(FloatGraph):
        def weights(self, *shape: int) -> int:
            values = self.random.standard_normal(shape, np.float32)
            return self.constant(values * np.float32(np.sqrt(2 / np.prod(shape[1:] or (5000,)))))

    graph = Graph((1, 224, 224, 3))
    x = graph.input
    for count, channels in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(count):
            x = graph.conv(x, channels, 3, "RELU")
        x = graph.pool("MAX_POOL_2D", x)
    x = graph.dense(graph.reshape(x, (1, 25088)), 4096, "RELU")
    x = graph.dense(graph.dense(x, 4096, "RELU"), 1000)
    path.write_bytes(write_model(graph.model(x)))
    return path


def _random(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Return random numbers from 0 to 1; each sample has a brightness of its own."""
    random = np.random.default_rng(seed)
    brightness = random.random((shape[0], *(1,) * (len(shape) - 1)), np.float32)
    return random.random(shape, np.float32) * brightness


# -- measuring


def _measured(group: str, folder: Path, make: Callable[[], Any]) -> Record:
    folder.mkdir(exist_ok=True)
    source, path = make(), folder / "float.tflite"
    if not (isinstance(source, Path) and source.suffix == ".tflite"):
        convert(source, output=path, mode="float", trust_source=True)
        network = slice_partial_splits(
            fold_constants(prepare(ModelFile(path.read_bytes()).model), "")
        )
        path.write_bytes(write_model(network))
    else:
        path.write_bytes(source.read_bytes())
    model = ModelFile(path.read_bytes()).model
    num_samples = _GROWTH_SAMPLES if group == "growth" else _SAMPLES
    record = Record(group, path.stat().st_size, unknown_operators(model), num_samples=num_samples)
    steps = ["tensorflow"] if record.unknown else ["edgekit", "tensorflow"]
    if group == "growth":
        steps.append("bare")
        if hasattr(source, "save"):
            source.save(folder / "model.keras")
        else:
            steps = ["edgekit"]
    made: dict[str, ModelFile] = {}
    for step in steps:
        if group == "growth":
            succeeded = _run(step, path, num_samples, record)
        else:
            succeeded = _tried(step, path, num_samples, record)
        if succeeded and step != "bare":
            made[step] = ModelFile((folder / f"{step}.tflite").read_bytes())
            record.num_operators = len(made[step].model.main.operators)
    _compare(path, made, record)
    return record


def _tried(step: str, path: Path, num_samples: int, record: Record) -> bool:
    """Do one step in this process; return whether it succeeded."""
    try:
        _step(step, path, num_samples)
    except EdgeKitError as error:
        record.failed[step] = error.what
        return False
    return True


def _run(step: str, path: Path, num_samples: int, record: Record) -> bool:
    """Do one step in a process of its own; return whether it succeeded."""
    command = [sys.executable, "-m", "scripts.quantizer_table", str(path), "--step", step]
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*command, "--samples", str(num_samples)], stdout=errors, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        last = (errors.read().strip().splitlines() or [""])[-1]
    if process.returncode:
        record.failed[step] = last[:200]
        return False
    record.time_s[step] = round(time.monotonic() - start, 2)
    record.cpu_s[step] = round(usage.ru_utime + usage.ru_stime, 2)
    record.peak_mib[step] = int(path.with_suffix(".peak").read_text())
    return True


def _peak_mib() -> int:
    """The peak of this process, or of the largest of its children.

    A process that was forked counts its parent's memory in ``ru_maxrss``, so it reads its own.
    """
    status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(int(status.split()[0]), children) >> 10


def _step(step: str, path: Path, num_samples: int) -> None:
    if step == "bare":
        _bare_script(path.with_name("model.keras"), num_samples, path.with_name("bare.tflite"))
        return
    network = ModelFile(path.read_bytes())

    def quantize(quantizer: Quantizer) -> None:
        calibrated = quantizer.calibrate(network, lambda: _samples(network.model, num_samples))
        path.with_name(f"{step}.tflite").write_bytes(quantizer.quantize(calibrated))

    if step == "edgekit":
        quantize(EdgekitQuantizer("uint8"))
        return
    with ConverterChild(None, None, str(path)) as child:
        quantize(TensorFlowQuantizer(child, "uint8"))


def _bare_script(path: Path, num_samples: int, output: Path) -> None:
    """The tutorial's script."""
    import tensorflow as tf  # noqa: PLC0415 - its import is part of the script

    model = tf.keras.models.load_model(path)
    shape = (1, *model.input_shape[1:])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([_random(shape, n)] for n in range(num_samples))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    output.write_bytes(converter.convert())


def _samples(model: Model, count: int, first: int = 0) -> Iterator[list[NDArray[Any]]]:
    for number in range(first, first + count):
        yield [_input(model.main.tensors[index], number) for index in model.main.inputs]


def _input(tensor: Tensor, seed: int) -> NDArray[Any]:
    values = _random(tensor.shape or (1,), seed).reshape(tensor.shape)
    return values if tensor.dtype == "FLOAT32" else (values * 3).astype(tensor.dtype.lower())


# -- comparing


def _compare(path: Path, made: dict[str, ModelFile], record: Record) -> None:
    model = ModelFile(path.read_bytes())
    for name, file in made.items():
        record.snr_db[name] = _snr_db(model, file)
    if len(made) < 2:
        return
    ours, theirs = (lower_versions(made[name].model) for name in _STEPS[:2])
    left, right = (
        Counter((op.label, op.version) for op in each.main.operators) for each in (ours, theirs)
    )
    for who, more in (("edgekit", left - right), ("TensorFlow", right - left)):
        record.different += [f"{who}: {op} v{version}" for op, version in more.elements()]
    for label in left.keys() & right.keys():
        pairs = zip(_of(ours, label), _of(theirs, label), strict=False)
        for one, other in pairs:
            for a, b in zip(one, other, strict=False):
                record.num_scales += 1
                record.num_same_scales += _is_same(a, b)


def _of(model: Model, label: tuple[str, int]) -> list[list[Tensor]]:
    """Return the quantized tensors of each operator with this opcode and version."""
    tensors = model.main.tensors
    return [
        [tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0 and tensors[i].quantization]
        for op in model.main.operators
        if (op.label, op.version) == label
    ]


def _is_same(one: Tensor, other: Tensor) -> bool:
    a, b = one.quantization, other.quantization
    if a is None or b is None or len(a.scale) != len(b.scale):
        return False
    return bool(
        np.allclose(a.scale, b.scale, rtol=_SAME_SCALE, atol=0)
        and np.abs(np.subtract(a.zero_point, b.zero_point)).max(initial=0) <= 1
    )


def _snr_db(model: ModelFile, made: ModelFile) -> float:
    """Return the SNR about the mean of the worst output on samples that did not calibrate."""
    with Runner(model) as real, Runner(made) as integer:
        pairs = [
            (real.invoke(*sample), integer.predict(*sample))
            for sample in _samples(model.model, _HELD_OUT, 1000)
        ]
    found = []
    for place in range(len(pairs[0][0])):
        expected, actual = (np.stack([pair[side][place] for pair in pairs]) for side in (0, 1))
        signal = float(((expected - expected.mean(0)) ** 2).sum())
        noise = float(((actual - expected) ** 2).sum())
        found.append(10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30)))
    return round(float(min(found)), 2)


# -- the page


def _page(records: dict[str, Record]) -> Iterator[str]:
    yield "<!-- made by scripts/quantizer_table.py from scripts/quantizer_table.json -->"
    yield "# The two quantizers"
    yield ""
    yield (
        "`edgekit convert` has two quantizers: its own, which runs without TensorFlow, and "
        "TensorFlow's. `--quantizer auto` takes edgekit's if it has a rule for every operator of "
        "the network. Here both quantize the same float .tflite with the same samples."
    )
    compared = {name: each for name, each in records.items() if len(each.snr_db) == 2}
    total = sum(each.num_scales for each in compared.values())
    same = sum(each.num_same_scales for each in compared.values())
    equal = sum(not each.different for each in compared.values())
    yield ""
    yield (
        f"Both quantized {len(compared)} networks. Operators and versions are equal in {equal}; "
        f"{same:,} of {total:,} scales are equal: within {_SAME_SCALE:g} of their value, because "
        "the interpreters round differently, and a zero point within 1."
    )
    yield from _growth({k: v for k, v in records.items() if v.group == "growth"})
    for group, title in (
        ("corpus", "Networks of the corpus"),
        ("applications", "keras.applications, 64x64 pixels, random weights"),
        ("layers", "Small networks, one for each kind of layer"),
    ):
        chosen = {k: v for k, v in records.items() if v.group == group}
        if chosen:
            yield from _agreement(title, chosen)


def _growth(records: dict[str, Record]) -> Iterator[str]:
    yield from ("", "## Time and memory as networks grow", "")
    yield (
        "From the start of the process to the written model, imports included. The quantizers "
        "start from the float .tflite, the bare script (the tutorial's) from the Keras file; "
        f"{_GROWTH_SAMPLES} samples of 224x224 pixels, 2 cores. Memory is the peak of the largest "
        "process. Weights are random, batch normalizations fit them."
    )
    yield from ("", "| network | float MiB | | edgekit | TensorFlow | bare script |")
    yield "|---|---|---|---|---|---|"
    for name, each in sorted(records.items(), key=lambda pair: pair[1].weights_bytes):
        for label, values, unit in (
            ("time", each.time_s, "s"),
            ("processor time", each.cpu_s, "s"),
            ("memory", each.peak_mib, "MiB"),
        ):
            cells = [f"{values[step]:,} {unit}" if step in values else "-" for step in _STEPS]
            head = f"{name} | {each.weights_bytes / 2**20:,.0f}" if label == "time" else " | "
            yield f"| {head} | {label} | {' | '.join(cells)} |"
    if any("VGG16" in name for name in records):
        yield from (
            "",
            (
                "TensorFlow was not run on VGG16 here: earlier, its quantizer needed 13.5 GiB and "
                "145 s there, a bare script 15.4 GiB and 124 s."
            ),
        )


def _agreement(title: str, records: dict[str, Record]) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    yield "SNR: of the worst output, about its mean, on samples that did not calibrate."
    yield from ("", "| network | operators | scales equal | SNR, edgekit | SNR, TensorFlow | |")
    yield "|---|---|---|---|---|---|"
    for name, each in sorted(records.items()):
        notes = [f"no rule for {', '.join(each.unknown)}"] if each.unknown else []
        notes += [f"{who} fails" for who in each.failed]
        notes += [", ".join(f"{n} {op}" for op, n in Counter(each.different).items())]
        scales = f"{each.num_same_scales} of {each.num_scales}" if each.num_scales else "-"
        snr = [f"{each.snr_db[step]:.1f} dB" if step in each.snr_db else "-" for step in _STEPS[:2]]
        note = "; ".join(filter(None, notes))
        yield f"| {name} | {each.num_operators} | {scales} | {' | '.join(snr)} | {note} |"


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


if __name__ == "__main__":
    main()
