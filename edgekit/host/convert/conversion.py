# SPDX-License-Identifier: Apache-2.0
"""Convert a trained network to a checked int8 model: all of `edgekit convert`."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from edgekit.edgetpu.macs import model_macs
from edgekit.errors import EdgeKitError, UnsupportedModelError, UsageError
from edgekit.evaluate.causes import Making
from edgekit.evaluate.gates import Gates
from edgekit.evaluate.outputs import Agreement, agreement_warnings, measure_outputs
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.formats.tflite import Model, write_model
from edgekit.host.convert.activations import parse_replacements, with_replacements
from edgekit.host.convert.blockers import find_blockers
from edgekit.host.convert.calibration import Calibration, num_held_out, num_trials
from edgekit.host.convert.child import ConverterChild, Loaded
from edgekit.host.convert.enforce import enforce, lower_versions, refuse
from edgekit.host.convert.float_answers import one_sided
from edgekit.host.convert.float_tflite import (
    cut,
    float_model_of,
    refuse_unquantizable,
    tflite_inputs,
)
from edgekit.host.convert.improve.improve import Improvement, Improver
from edgekit.host.convert.input_pixels import InputPixels
from edgekit.host.convert.labelled import (
    LabelCheck,
    LabelledAnswers,
    label_warnings,
    should_try_others,
)
from edgekit.host.convert.options import CALIBRATED, MODES, ConvertOptions, shape_words
from edgekit.host.convert.outcome import outcome_of
from edgekit.host.convert.recipe import Recipe
from edgekit.host.convert.result import ConvertResult, endpoints
from edgekit.host.convert.rewriting import Rewritten, apply_rewrites
from edgekit.host.convert.shapes import RawInput, parse_input_shapes, static_shapes
from edgekit.host.convert.sources import SourceFile, find_source, saved_object
from edgekit.host.convert.static_tflite import (
    fold_constants,
    make_static,
    refuse_nan,
    require_runnable,
)
from edgekit.host.convert.suspect import Batches, with_suspect
from edgekit.host.convert.trained_ranges import trained_notes, with_trained_ranges
from edgekit.host.convert.training_data import unlike_training
from edgekit.host.convert.use import check_labels, names_of, order_notes, with_use
from edgekit.host.convert.way_out import FLOAT_FILE, cut_command
from edgekit.progress import Progress, no_progress
from edgekit.rewrite import (
    changes_scale,
    fix_copied_scales,
    prepare,
    slice_partial_splits,
    turn_inputs,
)
from edgekit.rewrite.outputs import separate_outputs
from edgekit.runtime.native_output import chatter_logged
from edgekit.runtime.quality import DOUBTFUL, Finding
from edgekit.tasks.prepare import maker_preprocess
from edgekit.version import __version__

_FEW = 4  # batches to prove changes on

__all__ = ["MODES", "ConvertOptions", "ConvertResult", "convert"]


def convert(  # noqa: PLR0913 - public: its options are keywords
    source: Any,  # noqa: ANN401 - a path, or a Keras model of any version
    *,
    data: Any = None,  # noqa: ANN401 - anything that open_dataset takes
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
    fix: bool = True,
    stop_early: bool = True,
    plain: bool = False,
    clip_logits: bool = False,
    ranges: str = "minmax",
    recipe: Recipe | files.PathLike | None = None,
) -> ConvertResult:
    """Convert a network to an integer-only .tflite that the Edge TPU compiler can read.

    TensorFlow runs in a child process: if that crashes, this raises an error. ``output`` is
    written only after the new model has passed every rule (only mode int8 has rules).

    Args:
        source: A ``.keras``, ``.h5`` or frozen ``.pb`` file, a SavedModel's folder, a float
            ``.tflite``, or a Keras model object. Loading a SavedModel runs operations of its graph,
            but no Python from it.
        data: Calibration samples: anything that `open_dataset` takes. Required for ``int8`` and
            ``float-fallback``.
        output: The .tflite to write.
        preprocess: How pixels become the network's input (``unit``, ``tf``, ``raw``, ...).
        num_samples: How many samples to calibrate with, spread over the data and its classes.
        batch_size: The value for an unknown first dimension.
        input_shape: Unknown dimensions: (1, 224, 224, 3), "1,224,224,3", or for several inputs
            ["left=1,8", "right=1,4,4,2"].
        signature: The signature of a SavedModel.
        inputs: Tensors to feed instead of the inputs, by their names in the float .tflite or in a
            frozen graph; or layers, for their outputs. ``name=value`` fixes a placeholder of a
            frozen graph.
        outputs: Tensors to compute instead of the outputs.
        io: Type of the model's inputs and outputs: ``uint8``, ``int8``, ``float32``.
        mode: ``int8``, or another mode of the tutorial: ``float``, ``dynamic``,
            ``float-fallback``.
        converter_python: The Python interpreter of another environment whose TensorFlow to use.
        trust_source: Allow code that a Keras file carries (Lambda layers) to run.
        timeout_s: Stop the conversion after this many seconds.
        replace_activations: ``mappable``, ``relu`` or ``relu6`` for all activations that do not
            map, or ``gelu=relu6,elu=mappable`` for some; done before calibration.
        labels: A text file with one class per line, or the names, for the model's metadata; None
            uses the names of the data's class folders if their number is that of the classes.
        min_agreement: The share of the float model's answers that the int8 model must keep: the
            same classes (close calls included), F1 of objects and of scores, the overlap of masks.
        min_snr_db: The smallest allowed ratio of every output's signal, about each element's
            mean, to its error, in dB.
        progress: Called with (samples done, samples in all).
        fix: Apply every rewrite that makes more of the model map and whose outputs are
            bit-identical; otherwise the file stays as the quantizer made it, except for its silent
            errors and for versions that compiler 16 cannot read.
        stop_early: Before calibration, refuse a network that cannot become an Edge TPU model.
            Otherwise it is quantized first, so that the error contains the ``model``.
        plain: Quantize the network as it is, without what improves it.
        clip_logits: Limit scores (logits) far beyond -16 to 16 to that range.
        ranges: How the ranges of tensors come from the values on the samples: ``minmax``, ``mse``,
            or ``percentile:P``, such as ``percentile:99.99``.
        recipe: A recipe of `tune`, or its file: it states ``num_samples``, ``replace_activations``,
            ``clip_logits``, ``ranges``, and which improvements to apply.

    Raises:
        GateError: ``min_agreement`` or ``min_snr_db`` is not met; nothing is written.
        NotEdgeTpuModelError: The converted model breaks rules; ``issues`` lists all of them.
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
        input_shape=shape_words(input_shape),
        signature=signature,
        inputs=tuple(inputs or ()),
        outputs=tuple(outputs or ()),
        converter_python=None if converter_python is None else str(converter_python),
        trust_source=trust_source,
        timeout_s=timeout_s,
        replace_activations=replace_activations,
        gates=Gates(min_agreement, min_snr_db),
        labels=labels,
        fix=fix,
        plain=plain,
        clip_logits=clip_logits,
        ranges=ranges,
    )
    if recipe is not None:
        options = options.with_recipe(recipe)
    if isinstance(labels, (str, Path)):
        read_labels(labels)  # report an unreadable file before the long steps
    if data is None and mode in CALIBRATED:
        raise UsageError(
            f"--mode {mode} needs calibration data", fix="--data FOLDER|NPZ|MODULE:FUNCTION"
        )
    files.check_writable(output)
    with _opened(source) as file:
        options.refuse_unused(file)
        files.refuse_overwriting(output, file.path, data, labels)
        where = _name_of(source)
        job = _Conversion(file, where, options, data, preprocess, progress or no_progress)
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
        self._specs: list[InputSpec] = []
        self._label_check: LabelCheck | None = None
        self._notes: list[str] = []
        self._unlike: tuple[Finding, ...] = ()  # why the samples are not like the training data
        self._has_statistics = False  # whether the network contains some of its training data
        self._improver: Improver | None = None
        self._separate: tuple[Improvement, ...] = ()
        self._trained: dict[str, tuple[float, float]] = {}  # ranges of quantization-aware training
        self._loader = "tflite"
        self._tflite: ModelFile | None = None  # the source, if it is one
        self._turned: set[str] = set()  # inputs that are in NHWC now, in NCHW in the source
        self.stop_early = True

    def run(self, output: Path) -> ConvertResult:
        start = time.monotonic()
        options = self._options
        with ConverterChild(options.converter_python, options.timeout_s, self._where) as child:
            is_tflite = self._source.kind == "tflite"
            network = self._read_tflite() if is_tflite else self._to_float(child)
            quantizable, made = None, network
            if options.mode in CALIBRATED:
                refuse_nan(network.model, self._where)
                quantizable = self._quantizable(self._replace_activations(network))
                made = self._quantize(child, quantizable)
                if self._calibration is not None:
                    self._unlike = unlike_training(child.statistics, self._calibration.count)
                    self._has_statistics = bool(child.statistics)
        outcome = None
        if options.mode == "int8":
            made = quantized = self._separated(self._fix_model(made))
            rewritten = apply_rewrites(made.model) if options.fix else Rewritten(made.model)
            self._notes.extend(rewritten.notes)
            made = made if rewritten.model is made.model else ModelFile.of(rewritten.model)
            enforce(made.model, options.io, self._where)
            outcome = outcome_of(quantized, made, rewritten.certificates, rewritten.offer)
        self._labels = self._find_labels(made.model)
        agreement = None
        if quantizable is not None:
            # Replaced activations change the network too: compare with the network as trained.
            is_same = options.replace_activations is None
            reference = quantizable if is_same else network
            if self._improver is not None:
                reference = self._improver.limited(reference)
            agreement = self._agreement(reference, made, output)
        judged = self._calibration if agreement else None
        content = self._with_use(made)
        files.write_bytes(output, content)
        calibration = self._calibration
        ranges = calibration.ranges if calibration and calibration.count else []
        inputs, outputs = endpoints(made.model, ranges)
        return ConvertResult(
            source=self._where,
            source_kind=self._source.kind,
            source_sha256=self._source.sha256(),
            loader=self._loader,
            output=str(output),
            sha256=files.sha256_hex(content),
            bytes=len(content),
            float_bytes=None if quantizable is None else len(quantizable.content),
            mode=options.mode,
            enforced=options.mode == "int8",
            inputs=inputs,
            outputs=outputs,
            operators=made.model.operator_counts(),
            num_samples=calibration.count if calibration else 0,
            samples_per_class=calibration.samples_per_class if calibration else {},
            promised_range=calibration.promised_range if calibration else None,
            num_judged=judged.num_judged if judged else 0,
            held_out=judged.is_held_out if judged else None,
            like_training=self._like_training(agreement),
            label_check=self._label_check,
            data=self._dataset.describe() if self._dataset else {},
            agreement=agreement,
            versions={"edgekit": __version__, **child.versions},
            time_s=time.monotonic() - start,
            peak_rss_bytes=child.peak_rss_bytes,
            warnings=(
                *(calibration.warnings if calibration and ranges else ()),
                *self._pixels.warnings(ranges, self._dataset),
                *self._notes,
            ),
            preprocess=self._pixels.used_for(self._dataset),
            preprocess_reason=self._pixels.reason,
            labels=self._labels,
            improvements=(*(self._improver.applied if self._improver else ()), *self._separate),
            asked=options.requested_options(),
            outcome=outcome,
        )

    def _with_use(self, made: ModelFile) -> bytes:
        """Return the model with preprocessing and labels in its metadata."""
        how = self._pixels.used_for(self._dataset)
        source = self._whole_source()
        given = None if source is None else source.given
        return with_use(made.content, given, how, self._labels, self._notes.append)

    def _find_labels(self, model: Model) -> tuple[str, ...]:
        """Return the class names: as given, else the source's, else those of the data's folders."""
        source = self._whole_source()
        noted = source.notes.labels if source is not None else ()
        asked = check_labels(self._options.labels, model)
        labels = asked or names_of(model, noted, self._dataset)
        if not asked:
            self._notes.extend(order_notes(labels, self._dataset))
        return labels

    def _whole_source(self) -> ModelFile | None:
        """Return the source .tflite; None if only a part of it, or another format, is converted."""
        is_cut = self._options.inputs or self._options.outputs
        return None if is_cut else self._tflite

    # -- to a float model with static shapes

    def _to_float(self, child: ConverterChild) -> ModelFile:
        """Return the float .tflite of a TensorFlow network; mode ``dynamic`` has int8 weights."""
        options, where = self._options, self._where
        loaded = child.load(options.job(self._source))
        self._loader = loaded.loader
        raw = _raw_inputs(loaded)
        given = parse_input_shapes(options.input_shape)
        shapes = static_shapes(raw, given, options.batch_size, where)
        if not (options.cuts_float(self._source) and options.inputs):
            self._open(raw, shapes)  # report unusable data before the conversion
        converted = child.to_float(shapes)
        self._notes.extend(converted.notes)
        self._trained = converted.ranges
        if self._trained:
            self._notes.extend(trained_notes(len(self._trained), options))
        network = ModelFile(converted.content)
        if options.cuts_float(self._source):
            part = cut(
                network.model, options.inputs, options.outputs, where, self._listing_command()
            )
            return self._from_float(part, tflite_inputs(part))
        model = self._channels_last(network.model, raw)
        if model is not network.model:
            network, shapes = ModelFile.of(model), _input_shapes(model)
            self._open(raw, shapes)
        wanted = [wanted_pixels(steps_from(each)) for each in converted.network_start]
        self._pixels.take_others(_other_images(raw, shapes, wanted))
        if shapes and may_be_pixels(shapes[0]):
            first = wanted[0] if wanted else None
            if self._pixels.take_network(first or wanted_by_weights(network.model)):
                self._open(raw, shapes)
        return network

    def _read_tflite(self) -> ModelFile:
        """Return a float .tflite, cut and made static as the options require."""
        options, where = self._options, self._where
        file = self._tflite = read_model_file(self._source.path)
        model = float_model_of(file, options.mode)
        noted = maker_preprocess(file, model)
        self._pixels.take_noted(*(("", "") if options.inputs else noted))
        model = cut(model, options.inputs, options.outputs, where, self._listing_command())
        self._refuse(self._replaced(model)[0], open_shapes=True)
        refuse_unquantizable(model, where)
        raw = tflite_inputs(model)
        given = parse_input_shapes(options.input_shape)
        shapes = static_shapes(raw, given, options.batch_size, where)
        return self._from_float(make_static(model, shapes, where), raw)

    def _listing_command(self) -> str:
        """Return the commands that list the tensors of the source."""
        if self._source.kind == "tflite":
            return f"edgekit inspect {shlex.quote(self._where)}"
        first = f"convert(..., mode='float', output='{FLOAT_FILE}')"  # for a model object
        if self._is_file:
            first = self._options.float_command(self._where)
        return f"{first}, then edgekit inspect {FLOAT_FILE}"

    @property
    def _is_file(self) -> bool:
        """Whether the source is a file or folder, not a model object."""
        return str(self._source.path) == self._where

    def _from_float(self, model: Model, raw: Sequence[RawInput]) -> ModelFile:
        """Return a float model with static shapes, and open the data for it."""
        model = self._channels_last(model, raw)
        shapes = _input_shapes(model)
        self._pixels.take_network(wanted_by(model))
        starts = [wanted_pixels(first_steps(model, place)) for place in range(len(raw))]
        self._pixels.take_others(_other_images(raw, shapes, starts))
        self._open(raw, shapes)
        return ModelFile.of(model)

    def _channels_last(self, model: Model, raw: Sequence[RawInput]) -> Model:
        """Return ``model`` with inputs in NHWC where NCHW would keep it on the CPU."""
        if self._options.mode != "int8" or not self._options.fix:
            return model
        turned = turn_inputs(model) or model
        ends = zip(raw, model.main.inputs, turned.main.inputs, strict=True)
        for each, old, new in ends:
            before, after = model.main.tensors[old], turned.main.tensors[new]
            if before.shape != after.shape:
                self._turned.add(each.name)
                self._notes.append(
                    f"the input {each.name} is {list(after.shape)} now (channels last), in the "
                    f"source {list(before.shape)}: a TRANSPOSE there would keep the network on "
                    "the CPU; --no-fix leaves it"
                )
        return turned

    # -- from there to an int8 model

    def _replace_activations(self, network: ModelFile) -> ModelFile:
        check_labels(self._options.labels, network.model)
        replaced, notes = self._replaced(network.model)
        self._notes.extend(notes)
        return network if replaced is network.model else ModelFile.of(replaced)

    def _replaced(self, model: Model) -> tuple[Model, list[str]]:
        """Return ``model`` with activations replaced, and in the forms that can be quantized."""
        forms = parse_replacements(self._options.replace_activations)
        replaced, notes = with_replacements(model, forms)
        prepares = self._options.mode == "int8" and self._options.fix
        return (prepare(replaced) if prepares else replaced), notes

    def _quantizable(self, network: ModelFile) -> ModelFile:
        """Rewrite operators that the quantizer would leave in real numbers; values stay the same.

        These are operations on constants only, and splits with an unused part.

        Raises:
            NotEdgeTpuModelError: The network cannot become an Edge TPU model.
        """
        if self._options.mode != "int8":
            return network
        self._refuse(network.model)
        better = slice_partial_splits(fold_constants(network.model, self._where))
        quantizable = network if better is network.model else ModelFile.of(better)
        require_runnable(quantizable, self._where)
        return quantizable

    def _quantize(self, child: ConverterChild, network: ModelFile) -> ModelFile:
        try:
            if self._options.improves and not self._trained:
                return ModelFile(self._improved(child, network))
            return ModelFile(self._quantized(child, network.content, self._batches))
        except EdgeKitError as error:
            if not child.ended_by_itself:
                raise
            raise with_suspect(error, network.content, self._quantize_part) from error

    def _quantize_part(self, content: bytes, batches: Batches, seconds: float) -> None:
        with ConverterChild(self._options.converter_python, seconds, self._where) as child:
            self._quantized(child, content, batches)

    def _improved(self, child: ConverterChild, network: ModelFile) -> bytes:
        """Return the integer model of the network with what improves it."""
        calibration = self._calibration
        if calibration is None:
            raise _no_data()
        improver = Improver(
            network,
            self._options.choice,
            lambda content: self._to_integers(child, content),
            list(itertools.islice(calibration.same_batches(), _FEW)),
        )
        calibrated = child.calibrate(
            improver.calibrated.content,
            lambda: improver.watch(self._batches()),
            with_statistics=not self._options.inputs,
        )
        samples = calibration.trial_batches(num_trials(model_macs(network.model)))
        made = improver.quantized(calibrated, samples, calibration.same_batches)
        self._improver = improver
        self._notes.extend(improver.notes)
        return made

    def _quantized(self, child: ConverterChild, content: bytes, batches: Batches) -> bytes:
        calibrated = child.calibrate(content, batches, with_statistics=not self._options.inputs)
        calibrated = with_trained_ranges(calibrated, self._trained)
        return self._to_integers(child, calibrated)

    def _to_integers(self, child: ConverterChild, calibrated: bytes) -> bytes:
        is_int8 = self._options.mode == "int8"
        return child.quantize(
            calibrated,
            io=self._options.io if is_int8 else "float32",
            per_tensor_dense=is_int8,
        )

    def _refuse(self, model: Model, *, open_shapes: bool = False) -> None:
        if self._options.mode != "int8":
            return
        io = self._options.io
        found = find_blockers(model, io, open_shapes=open_shapes)
        certain = [each for each in found if not each[1].code.startswith(("quant.", "io."))]
        if not found or not (certain or self.stop_early):
            return  # rules for the quantized model are checked on it
        blockers = {index for index, _ in found if index is not None}
        refuse([issue for _, issue in found], self._where, way_out=self._way_out(model, blockers))

    def _way_out(self, model: Model, blockers: set[int]) -> str:
        """Return the commands that convert the part without ``blockers``; empty if none do."""
        options = self._options
        is_frozen = self._source.kind == "frozen_graph"  # it is cut by its own graph's names
        if options.inputs or options.outputs or self._turned or not self._is_file:
            return ""
        part = cut_command(
            model,
            blockers,
            options.io,
            FLOAT_FILE if is_frozen else self._where,
            options.part_words(self._source),
        )
        first = f"{options.float_command(self._where)}, then " if is_frozen else ""
        return f"or convert the part without these: {first}{part}" if part else ""

    def _fix_model(self, made: ModelFile) -> ModelFile:
        """Fix the quantizer's silent errors, and versions that compiler 16 cannot read."""
        fixed = model = made.model
        graph = model.main
        wrong = [each.label for each in graph.operators if changes_scale(each, graph.tensors)]
        if wrong:
            fixed = fix_copied_scales(model)
            self._notes.append(
                f"TensorFlow gave the output of {', '.join(wrong)} another scale than its input, "
                "which makes every value wrong; edgekit put a QUANTIZE there"
            )
        fixed = lower_versions(fixed)
        return made if fixed is model else ModelFile(write_model(fixed))

    def _separated(self, made: ModelFile) -> ModelFile:
        """Give boxes and scores that are joined in an output outputs and scales of their own."""
        wanted = self._options.choice.wants("outputs") and self._options.fix
        separated = separate_outputs(made.model) if wanted else None
        if separated is None:
            return made
        before, after = (len(each.main.outputs) for each in (made.model, separated))
        self._separate = (
            Improvement(
                "outputs",
                f"{before} outputs became {after}: values of very different ranges have outputs "
                "and scales of their own, in the order in which they were joined",
                exact=True,
                float_snr_db=None,
                before_db=(),
                after_db=(),
            ),
        )
        return ModelFile.of(separated)

    def _open(self, raw: Sequence[RawInput], shapes: Sequence[tuple[int, ...]]) -> None:
        if self._data is None:
            return
        specs = [
            InputSpec(each.name, shape, each.name in self._turned)
            for each, shape in zip(raw, shapes, strict=True)
        ]
        self._specs = specs
        self._dataset = self._opened(self._pixels.how)
        dtypes = [each.dtype for each in raw]
        self._calibration = Calibration(self._dataset, specs, dtypes, self._options.num_samples)

    def _opened(self, how: Preprocess) -> Dataset:
        inputs = sample_specs(self._specs)
        with chatter_logged():  # a program that gives samples may import TensorFlow
            return open_dataset(self._data, inputs=inputs, preprocess=how, split="train")

    def _batches(self) -> Iterator[list[NDArray[Any]]]:
        if self._calibration is None:
            raise _no_data()
        self._calibration.made_for = self._pixels.made_for
        return self._calibration.batches(self._progress)

    def _agreement(self, reference: ModelFile, made: ModelFile, output: Path) -> Agreement | None:
        """Compare the model with the float model; warn about what is worse."""
        calibration, dataset = self._calibration, self._dataset
        if calibration is None or dataset is None:
            return None
        is_random = dataset.describe().get("kind") == RANDOM
        model = made.model
        making = Making(model, str(output), calibration.count, dataset.num_samples, is_random)
        macs = model_macs(model)
        batches = calibration.judging_batches(num_held_out(macs))
        labels = calibration.judged_labels
        answers = LabelledAnswers(reference, labels, dataset, self._labels)
        agreement = measure_outputs(reference, made, batches, making, answers.add)
        self._check_finite(agreement, calibration.num_judged, is_random=is_random)
        shown = tuple(one_sided(agreement))
        unlike = (*calibration.narrow, *calibration.clipped, *self._unlike, *shown)
        agreement = agreement.with_unlike(unlike)
        self._options.gates.check(agreement, self._where)
        self._notes.extend(each.text for each in self._unlike)
        self._notes.extend(agreement_warnings(agreement))
        causes = [each.text for each in agreement.causes]
        self._notes.extend(each.text for each in shown if each.text not in causes)
        by_labels = self._check_labels_right(answers, macs)
        self._notes.extend(each.text for each in by_labels)
        return agreement.with_unlike((*agreement.unlike, *by_labels))

    def _like_training(self, agreement: Agreement | None) -> bool | None:
        if agreement is not None and agreement.unlike:
            return False
        found = self._label_check
        is_shown = self._has_statistics or (found is not None and not found.is_guessing)
        return True if is_shown else None

    def _check_finite(self, agreement: Agreement, num_judged: int, *, is_random: bool) -> None:
        """Warn of samples that the float model answers with NaN or infinity.

        Raises:
            UnsupportedModelError: All answers are such, and the samples are not random numbers.
        """
        number = max((each.record.num_not_finite for each in agreement.outputs), default=0)
        what = f"the float model answers {number} of {num_judged} samples with NaN or infinity"
        if number and number == num_judged and not is_random:
            raise UnsupportedModelError(
                what,
                where=self._where,
                why="its weights may be NaN, or values may overflow",
                fix="check the network's training, the data and --preprocess",
            )
        if number:
            self._notes.append(f"{what}, which were left out of the comparison")

    def _check_labels_right(self, answers: LabelledAnswers, macs: int) -> tuple[Finding, ...]:
        """Return findings if the float model is wrong by the labels; name what would be right."""
        self._label_check = found = answers.check()
        if found is None or self._dataset is None:
            return ()
        how, may_try = self._pixels.how, self._dataset.describe().get("kind") == "folder"
        if may_try and should_try_others(found, is_guess=self._pixels.is_guess):
            raw = replace(how, scale="raw", mean=(), std=(), is_default=False)
            self._label_check = found = answers.with_others(found, how, self._opened(raw), macs)
        texts = label_warnings(found, how, may_try=may_try)
        return tuple(Finding("quality.wrong_by_labels", DOUBTFUL, "", text) for text in texts)


def _other_images(
    raw: Sequence[RawInput], shapes: Sequence[tuple[int, ...]], wanted: Sequence[Wanted | None]
) -> dict[int, tuple[str, Wanted | None]]:
    """Return the inputs after the first that can be images: by index, name and what each shows."""
    return {
        place: (raw[place].name, wanted[place])
        for place in range(1, min(len(raw), len(wanted)))
        if may_be_pixels(shapes[place])
    }


def _raw_inputs(loaded: Loaded) -> list[RawInput]:
    return [
        RawInput(
            each["name"], None if each["shape"] is None else tuple(each["shape"]), each["dtype"]
        )
        for each in loaded.inputs
    ]


def _input_shapes(model: Model) -> list[tuple[int, ...]]:
    return [model.main.tensors[index].shape for index in model.main.inputs]


@contextlib.contextmanager
def _opened(source: Any) -> Iterator[SourceFile]:  # noqa: ANN401
    if isinstance(source, (str, Path)):
        yield find_source(source)
        return
    with saved_object(source) as file:
        yield file


def _name_of(source: Any) -> str:  # noqa: ANN401
    return str(source) if isinstance(source, (str, Path)) else f"Keras model {source.name}"


def _no_data() -> UsageError:
    return UsageError("the converter needs calibration data", fix="--data DATA")
