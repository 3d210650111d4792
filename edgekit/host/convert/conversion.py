# SPDX-License-Identifier: Apache-2.0
"""A trained network to a proven int8 model: the whole of `edgekit convert`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgekit import files
from edgekit.data import Dataset, InputSpec, Preprocess, open_dataset, read_labels
from edgekit.data.dataset import sample_specs
from edgekit.data.network_start import (
    Wanted,
    first_steps,
    may_be_pixels,
    steps_from,
    wanted_by,
    wanted_by_weights,
    wanted_pixels,
)
from edgekit.data.random_samples import RANDOM
from edgekit.edgetpu.macs import count_macs
from edgekit.edgetpu.operation import Operation
from edgekit.errors import EdgeKitError, UsageError
from edgekit.evaluate.causes import Making
from edgekit.evaluate.gates import Gates
from edgekit.evaluate.outputs import Agreement, agreement_warnings, measure_outputs
from edgekit.evaluate.result import asked_for
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.formats.tflite_metadata import read_notes
from edgekit.host.convert.activations import parse_replacements, with_replacements
from edgekit.host.convert.blockers import find_blockers
from edgekit.host.convert.calibration import Calibration, Progress, num_held_out
from edgekit.host.convert.child import Converted, ConverterChild, Loaded
from edgekit.host.convert.enforce import IO_TYPES, enforce, lower_versions, refuse
from edgekit.host.convert.float_tflite import (
    cut,
    read_float_tflite,
    refuse_unquantizable,
    tflite_inputs,
)
from edgekit.host.convert.input_pixels import InputPixels
from edgekit.host.convert.result import ConvertResult, endpoints, histogram
from edgekit.host.convert.shapes import RawInput, parse_input_shapes, static_shapes
from edgekit.host.convert.sources import SOURCE_KINDS, SourceFile, find_source, saved_object
from edgekit.host.convert.static_tflite import fold_constants, make_static, require_runnable
from edgekit.host.convert.suspect import Batches, with_suspect
from edgekit.host.convert.use import check_labels, names_of, order_notes, with_use
from edgekit.host.convert.way_out import cut_command
from edgekit.rewrite import changes_scale, mend_copied_scales, slice_partial_splits
from edgekit.version import __version__

__all__ = ["MODES", "ConvertOptions", "ConvertResult", "convert"]

MODES = ("int8", "float-fallback", "dynamic", "float")
_CALIBRATED = ("int8", "float-fallback")
# Option -> the kinds of source that it applies to.
_APPLIES_TO = {
    "--inputs": ("frozen_graph", "tflite"),
    "--outputs": ("frozen_graph", "tflite"),
    "--signature": ("saved_model",),
    "--trust-source": ("keras", "saved_model", "frozen_graph"),
}


@dataclass(frozen=True)
class ConvertOptions:
    """How to convert; the fields are the arguments of `convert`."""

    mode: str = "int8"
    io: str = "uint8"
    num_samples: int = 100
    batch_size: int = 1
    input_shape: tuple[str, ...] = ()
    signature: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    converter_python: str | None = None
    trust_source: bool = False
    timeout_s: float | None = None
    replace_activations: str | None = None
    labels: files.PathLike | Sequence[str] | None = None
    gates: Gates = field(default_factory=Gates)

    def __post_init__(self) -> None:
        if self.gates.names and self.mode not in _CALIBRATED:
            raise UsageError(
                f"{self.gates.names[0]} has no effect in --mode {self.mode}",
                fix=f"use --mode {' or '.join(_CALIBRATED)}",
            )
        parse_replacements(self.replace_activations)
        for name, value, known in (("--mode", self.mode, MODES), ("--io", self.io, IO_TYPES)):
            if value not in known:
                raise UsageError(
                    f"{name} {value!r} is unknown", fix=f"use one of {', '.join(known)}"
                )
        for option, number in (
            ("--num-samples", self.num_samples),
            ("--batch-size", self.batch_size),
        ):
            if number < 1:
                raise UsageError(f"{option} is {number}", fix="give a number above zero")
        if self.replace_activations and self.mode not in _CALIBRATED:
            raise UsageError(
                f"--replace-activations has no effect in --mode {self.mode}",
                fix=f"use --mode {' or '.join(_CALIBRATED)}",
            )
        if self.io == "int8" and self.mode != "int8":
            raise UsageError(
                f"--io {self.io} has no effect in --mode {self.mode}, whose inputs and outputs are "
                "real numbers",
                fix="leave --io out, or use --mode int8",
            )

    def refuse_unused(self, source: SourceFile) -> None:
        """Refuse options that have no effect on this kind of ``source``.

        Raises:
            UsageError: There is one.
        """
        given = {
            "--inputs": self.inputs,
            "--outputs": self.outputs,
            "--signature": self.signature,
            "--trust-source": self.trust_source,
        }
        for option, kinds in _APPLIES_TO.items():
            if given[option] and source.kind not in kinds:
                raise UsageError(
                    f"{option} has no effect on {SOURCE_KINDS[source.kind]}",
                    where=str(source.path),
                    why=f"it is for {' and '.join(SOURCE_KINDS[kind] for kind in kinds)}",
                    fix=_other_way(option),
                )

    def job(self, source: SourceFile) -> dict[str, Any]:
        """What the child is told."""
        return {
            "source_kind": source.kind,
            "source": str(source.path.resolve()),
            "mode": self.mode,
            "io": self.io,
            "signature": self.signature,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "trust_source": self.trust_source or source.trusted,
        }


def convert(
    source: Any,  # noqa: ANN401 - a path, or a Keras model of any version
    *,
    data: Any = None,  # noqa: ANN401 - whatever open_dataset takes
    output: files.PathLike,
    preprocess: str | Preprocess | None = None,
    num_samples: int = 100,
    batch_size: int = 1,
    input_shape: str | Sequence[str] | Sequence[int] | None = None,
    signature: str | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    io: str = "uint8",
    mode: str = "int8",
    converter_python: files.PathLike | None = None,
    trust_source: bool = False,
    timeout_s: float | None = None,
    replace_activations: str | None = None,
    min_agreement: float | None = None,
    min_snr_db: float | None = None,
    labels: files.PathLike | Sequence[str] | None = None,
    progress: Progress | None = None,
    stop_early: bool = True,
) -> ConvertResult:
    """Convert a network to an integer-only .tflite that the Edge TPU compiler can read.

    TensorFlow runs in a child process: whatever happens to it becomes an error here. ``output`` is
    written only after the new model has passed every rule (modes other than int8 have none).

    Args:
        source: A ``.keras``, ``.h5`` or frozen ``.pb`` file, a SavedModel's folder, a float
            ``.tflite``, or a Keras model object. Loading a SavedModel runs operations of its graph,
            but no Python from it.
        data: Calibration samples: whatever `open_dataset` takes. Needed for ``int8`` and
            ``float-fallback``.
        output: The .tflite to write.
        preprocess: How pixels become the network's input (``unit``, ``tf``, ``raw``, ...).
        num_samples: How many samples to calibrate with, from all over the data and its classes.
        batch_size: What an unknown first dimension becomes.
        input_shape: Unknown dimensions: (1, 224, 224, 3), "1,224,224,3", or for several inputs
            ["left=1,8", "right=1,4,4,2"].
        signature: Of a SavedModel.
        inputs: Of a frozen graph or a float .tflite: tensors to feed instead of its own inputs;
            ``name=value`` fixes a placeholder of a frozen graph.
        outputs: Of a frozen graph or a float .tflite: tensors to compute instead.
        io: Type of the model's inputs and outputs: ``uint8``, ``int8``, ``float32``.
        mode: ``int8``, or one of the tutorial's others: ``float``, ``dynamic``,
            ``float-fallback``.
        converter_python: Interpreter of another environment, whose TensorFlow shall convert.
        trust_source: Allow code that a Keras file carries (Lambda layers) to run.
        timeout_s: Give up after that long.
        replace_activations: ``mappable``, ``relu`` or ``relu6`` for all activations that do not
            map, or ``gelu=relu6,elu=mappable`` for some; done before calibration.
        labels: A text file with one class a line, or the names, for the model's metadata; None
            takes the names of the data's class folders if they are as many as the classes.
        min_agreement: What share of the float model's answers the int8 model must keep: the same
            classes (close calls included), F1 of objects and of scores, the overlap of masks.
        min_snr_db: How far the signal of every output, about each element's mean, must be above
            the error.
        progress: Called with (samples done, samples in all).
        stop_early: Refuse a network that cannot become an Edge TPU model before calibration.
            Otherwise it is quantized first, so that the error holds the ``model``.

    Raises:
        GateError: ``min_agreement`` or ``min_snr_db`` is not met; nothing is written.
        NotEdgeTpuModelError: The converted model breaks rules; its ``issues`` has all of them.
        InputError: The source or the data cannot be used.
        OutputError: ``output`` cannot be written.
        ExternalToolError: TensorFlow is missing, crashed or was killed.
        UsageError: The arguments contradict each other or the model.
    """
    options = ConvertOptions(
        mode=mode,
        io=io,
        num_samples=num_samples,
        batch_size=batch_size,
        input_shape=_shape_words(input_shape),
        signature=signature,
        inputs=tuple(inputs or ()),
        outputs=tuple(outputs or ()),
        converter_python=None if converter_python is None else str(converter_python),
        trust_source=trust_source,
        timeout_s=timeout_s,
        replace_activations=replace_activations,
        gates=Gates(min_agreement, min_snr_db),
        labels=labels,
    )
    if isinstance(labels, (str, Path)):
        read_labels(labels)  # an unreadable file, before anything takes long
    if data is None and mode in _CALIBRATED:
        raise UsageError(
            f"--mode {mode} needs calibration data", fix="--data FOLDER|NPZ|MODULE:FUNCTION"
        )
    files.check_writable(output)
    with _opened(source) as file:
        options.refuse_unused(file)
        files.refuse_overwriting(output, file.path, data, labels)
        where = _name_of(source)
        job = _Conversion(file, where, options, data, preprocess, progress or _silent)
        job.stop_early = stop_early
        return job.run(Path(output))


class _Conversion:
    """The state of one conversion, from the source to the result."""

    def __init__(
        self,
        source: SourceFile,
        where: str,
        options: ConvertOptions,
        data: Any,  # noqa: ANN401
        preprocess: str | Preprocess | None,
        progress: Progress,
    ) -> None:
        self._source, self._where, self._options = source, where, options
        self._data, self._progress = data, progress
        self._pixels = InputPixels(preprocess)
        self._labels: tuple[str, ...] = ()
        self._dataset: Dataset | None = None
        self._calibration: Calibration | None = None
        self._notes: list[str] = []
        self._as_trained: bytes | None = None  # the float model before activations were replaced
        self._to_quantize: bytes | None = None  # the float model that the quantizer gets
        self.stop_early = True

    def run(self, output: Path) -> ConvertResult:
        start = time.monotonic()
        options = self._options
        converted = self._tflite() if self._source.kind == "tflite" else self._tensorflow()
        model = read_model(converted.content)
        if options.mode == "int8":
            model, converted = self._mend(model, converted)
            enforce(model, options.io, self._where)
        agreement = self._agreement(converted, model, output)
        judged = self._calibration if agreement else None
        content = self._with_use(converted.content, model)
        files.write_bytes(output, content)
        calibration = self._calibration
        ranges = calibration.ranges if calibration and calibration.count else []
        inputs, outputs = endpoints(model, ranges)
        return ConvertResult(
            source=self._where,
            source_kind=self._source.kind,
            source_sha256=self._source.sha256(),
            loader=converted.loader,
            output=str(output),
            sha256=files.sha256_hex(content),
            bytes=len(content),
            float_bytes=None if converted.float_content is None else len(converted.float_content),
            mode=options.mode,
            enforced=options.mode == "int8",
            inputs=inputs,
            outputs=outputs,
            operators=histogram(model),
            num_samples=calibration.count if calibration else 0,
            samples_per_class=calibration.samples_per_class if calibration else {},
            promised_range=calibration.promised_range if calibration else None,
            num_judged=judged.num_judged if judged else 0,
            held_out=judged.is_held_out if judged else None,
            data=self._dataset.describe() if self._dataset else {},
            agreement=agreement,
            versions={"edgekit": __version__, **converted.versions},
            time_s=time.monotonic() - start,
            peak_rss_bytes=converted.peak_rss_bytes,
            warnings=(
                *(calibration.warnings if calibration else ()),
                *self._pixels.warnings(ranges, self._dataset),
                *self._notes,
            ),
            preprocess=self._pixels.used_for(self._dataset),
            preprocess_reason=self._pixels.reason,
            labels=self._labels,
            asked=_asked(options),
        )

    def _with_use(self, content: bytes, model: Model) -> bytes:
        """The model with what it says of its use in its metadata."""
        options = self._options
        is_whole = self._source.kind == "tflite" and not (options.inputs or options.outputs)
        source = self._source.path.read_bytes() if is_whole else None
        noted = read_notes(source).labels if source is not None else ()
        asked = check_labels(options.labels, model)
        self._labels = asked or names_of(model, noted, self._dataset)
        if not asked:
            self._notes.extend(order_notes(self._labels, self._dataset))
        how = self._pixels.used_for(self._dataset)
        return with_use(content, source, how, self._labels, self._notes.append)

    def _tensorflow(self) -> Converted:
        options, where = self._options, self._where
        with ConverterChild(options.converter_python, options.timeout_s, where) as child:
            loaded = child.load(options.job(self._source))
            raw = _raw_inputs(loaded)
            given = parse_input_shapes(options.input_shape)
            shapes = static_shapes(raw, given, options.batch_size, where)
            self._open(raw, shapes)

            def on_network_start(steps: list[Any]) -> None:
                wanted = [wanted_pixels(steps_from(each)) for each in steps]
                self._pixels.take_others(_other_images(raw, shapes, wanted))
                self._meet_network(wanted[0] if wanted else None, raw, shapes)

            child.on_network_start = on_network_start

            def on_float(content: bytes) -> bytes:
                if not self._pixels.is_wanted:
                    self._meet_network(wanted_by_weights(read_model(content)), raw, shapes)
                return self._improve_float(content)

            with self._explaining(child):
                converted = child.convert(shapes, self._batches, on_float, loaded.loader)
            self._notes.extend(child.notes)
            return converted

    def _tflite(self) -> Converted:
        options, where = self._options, self._where
        model = read_float_tflite(self._source.path, options.mode)
        noted = read_notes(self._source.path.read_bytes(), model).preprocess
        self._pixels.take_noted("" if options.inputs else noted)
        model = cut(model, options.inputs, options.outputs, where)
        replaced = self._replace_activations(model)
        check_labels(options.labels, replaced)
        self._refuse(replaced, open_shapes=True)
        refuse_unquantizable(replaced, where)
        raw = tflite_inputs(model)
        given = parse_input_shapes(options.input_shape)
        shapes = static_shapes(raw, given, options.batch_size, where)
        self._pixels.take_network(wanted_by(replaced))
        starts = [wanted_pixels(first_steps(replaced, place)) for place in range(len(raw))]
        self._pixels.take_others(_other_images(raw, shapes, starts))
        self._open(raw, shapes)
        if replaced is not model:
            self._as_trained = write_model(make_static(model, shapes, where))
        content = write_model(self._quantizable(make_static(replaced, shapes, where)))
        self._to_quantize = content
        child = ConverterChild(options.converter_python, options.timeout_s, where)
        with child, self._explaining(child):
            return child.quantize(content, options.job(self._source), self._batches)

    @contextlib.contextmanager
    def _explaining(self, child: ConverterChild) -> Iterator[None]:
        """Name the operator that fails if the quantizer ends without a message."""
        try:
            yield
        except EdgeKitError as error:
            if not child.died or self._to_quantize is None:
                raise
            raise with_suspect(error, self._to_quantize, self._quantize_part) from error

    def _quantize_part(self, content: bytes, batches: Batches, seconds: float) -> None:
        job = {**self._options.job(self._source), "source_kind": "tflite"}
        with ConverterChild(self._options.converter_python, seconds, self._where) as child:
            child.quantize(content, job, batches)

    def _improve_float(self, content: bytes) -> bytes:
        """Return the float model to quantize; raise if quantization would fail."""
        model = read_model(content)
        check_labels(self._options.labels, model)
        replaced = self._replace_activations(model)
        if replaced is not model:
            self._as_trained = content
        better = self._quantizable(replaced)
        self._to_quantize = content if better is model else write_model(better)
        return self._to_quantize

    def _quantizable(self, model: Model) -> Model:
        """Write what the quantizer would leave real in another way, with the same values.

        That is operations on constants alone, and splits with an unused part.

        Raises:
            NotEdgeTpuModelError: It cannot become an Edge TPU model.
        """
        if self._options.mode != "int8":
            return model
        self._refuse(model)
        better = slice_partial_splits(fold_constants(model, self._where))
        require_runnable(better, self._where)
        return better

    def _refuse(self, model: Model, *, open_shapes: bool = False) -> None:
        if self._options.mode != "int8":
            return
        io = self._options.io
        found = find_blockers(model, io, open_shapes=open_shapes)
        if not self.stop_early:  # rules for the quantized model are checked on it
            found = [each for each in found if not each[1].code.startswith(("quant.", "io."))]
        if not found:
            return
        way_out = ""
        if self._source.kind == "tflite" and not self._options.inputs + self._options.outputs:
            blockers = {index for index, _ in found if index is not None}
            command = cut_command(model, blockers, io, self._where)
            way_out = f"or convert the part without these: {command}" if command else ""
        refuse([issue for _, issue in found], self._where, way_out=way_out)

    def _mend(self, model: Model, converted: Converted) -> tuple[Model, Converted]:
        """Fix what the quantizer silently gets wrong, and versions that compiler 16 cannot read."""
        graph = model.main
        mended = model
        wrong = [each.label for each in graph.operators if changes_scale(each, graph.tensors)]
        if wrong:
            mended = mend_copied_scales(model)
            self._notes.append(
                f"TensorFlow gave the output of {', '.join(wrong)} another scale than its input, "
                "which makes every value wrong; edgekit put a QUANTIZE there"
            )
        mended = lower_versions(mended)
        if mended is model:
            return model, converted
        content = write_model(mended)
        return read_model(content), replace(converted, content=content)

    def _replace_activations(self, model: Model) -> Model:
        forms = parse_replacements(self._options.replace_activations)
        replaced, notes = with_replacements(model, forms)
        self._notes.extend(notes)
        return replaced

    def _meet_network(
        self, wanted: Wanted | None, raw: Sequence[RawInput], shapes: Sequence[tuple[int, ...]]
    ) -> None:
        """Open the data again if the network wants other pixels than were assumed."""
        if not shapes or not may_be_pixels(shapes[0]):
            return
        if self._pixels.take_network(wanted):
            self._open(raw, shapes)

    def _open(self, raw: Sequence[RawInput], shapes: Sequence[tuple[int, ...]]) -> None:
        if self._data is None:
            return
        specs = [InputSpec(each.name, shape) for each, shape in zip(raw, shapes, strict=True)]
        self._dataset = open_dataset(
            self._data, inputs=sample_specs(specs), preprocess=self._pixels.how, split="train"
        )
        dtypes = [each.dtype for each in raw]
        self._calibration = Calibration(self._dataset, specs, dtypes, self._options.num_samples)

    def _batches(self) -> Iterator[list[NDArray[Any]]]:
        if self._calibration is None:
            raise UsageError("the converter asks for calibration data", fix="--data DATA")
        return self._calibration.batches(self._progress)

    def _agreement(self, converted: Converted, model: Model, output: Path) -> Agreement | None:
        """Compare the model with the float one; what is worse becomes a warning."""
        calibration, dataset = self._calibration, self._dataset
        if calibration is None or dataset is None or converted.float_content is None:
            return None
        is_random = dataset.describe().get("kind") == RANDOM
        making = Making(model, str(output), calibration.count, dataset.num_samples, is_random)
        as_trained = self._as_trained or converted.float_content
        operators = range(len(model.main.operators))
        macs = sum(count_macs(Operation(model, index)) for index in operators)
        batches = calibration.judging_batches(num_held_out(macs))
        agreement = measure_outputs(as_trained, converted.content, batches, making)
        self._options.gates.check(agreement, self._where)
        self._notes.extend(agreement_warnings(agreement))
        return agreement


def _other_images(
    raw: Sequence[RawInput], shapes: Sequence[tuple[int, ...]], wanted: Sequence[Wanted | None]
) -> dict[int, tuple[str, Wanted | None]]:
    """The inputs behind the first that can be pictures: by place, name and what each shows."""
    return {
        place: (raw[place].name, wanted[place])
        for place in range(1, min(len(raw), len(wanted)))
        if may_be_pixels(shapes[place])
    }


def _asked(options: ConvertOptions) -> dict[str, str]:
    """What else was set than source, data, mode, number of samples and output."""
    shapes = options.input_shape
    return asked_for(
        {"io": "uint8", "batch_size": 1, "trust_source": False},
        io=options.io,
        batch_size=options.batch_size,
        input_shape=shapes[0] if len(shapes) == 1 else None,
        signature=options.signature,
        inputs=",".join(options.inputs) or None,
        outputs=",".join(options.outputs) or None,
        converter_python=options.converter_python,
        trust_source=options.trust_source,
        replace_activations=options.replace_activations,
        labels=options.labels,
        min_agreement=options.gates.min_agreement,
        min_snr_db=options.gates.min_snr_db,
    )


def _other_way(option: str) -> str:
    if option not in ("--inputs", "--outputs"):
        return f"leave {option} out"
    return (
        "cut the network where it is built: keras.Model(model.inputs, "
        "model.get_layer(NAME).output); or cut its float .tflite: edgekit convert SOURCE "
        f"--mode float -o FLOAT.tflite, then edgekit convert FLOAT.tflite {option} TENSOR ..."
    )


def _raw_inputs(loaded: Loaded) -> list[RawInput]:
    return [
        RawInput(
            each["name"], None if each["shape"] is None else tuple(each["shape"]), each["dtype"]
        )
        for each in loaded.inputs
    ]


@contextlib.contextmanager
def _opened(source: Any) -> Iterator[SourceFile]:  # noqa: ANN401
    if isinstance(source, (str, Path)):
        yield find_source(source)
        return
    with saved_object(source) as file:
        yield file


def _name_of(source: Any) -> str:  # noqa: ANN401
    return str(source) if isinstance(source, (str, Path)) else f"Keras model {source.name}"


def _shape_words(shape: str | Sequence[str] | Sequence[int] | None) -> tuple[str, ...]:
    if shape is None:
        return ()
    if isinstance(shape, str):
        return (shape,)
    if all(isinstance(size, int) for size in shape):
        return (",".join(str(size) for size in shape),)
    return tuple(str(word) for word in shape)


def _silent(_done: int, _total: int | None) -> None:
    pass
