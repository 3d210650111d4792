# SPDX-License-Identifier: Apache-2.0
"""``edgekit train``: fine-tune a network so that its int8 model answers like the float one."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import files
from edgekit.data import Dataset, InputSpec, Preprocess, open_dataset
from edgekit.errors import DataError, UnsupportedModelError, UsageError
from edgekit.evaluate import evaluate
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, write_model
from edgekit.host.convert.activations import parse_replacements, with_replacements
from edgekit.host.convert.child import kept_converters
from edgekit.host.convert.conversion import convert
from edgekit.host.convert.improve.improve import Choice, Improver
from edgekit.host.convert.improve.limits import limit_values
from edgekit.host.convert.improve.range_rules import MSE, PERCENTILE, RangeRule
from edgekit.host.convert.improve.trial import wide_outputs
from edgekit.host.convert.options import shape_words
from edgekit.host.convert.quantizer import calibrate, quantize
from edgekit.host.convert.quantizer import unknown_operators as not_quantizable
from edgekit.host.convert.quantizer.fuse import fuse_activations
from edgekit.host.convert.result import ConvertResult
from edgekit.host.convert.static_tflite import fold_constants
from edgekit.host.train.loop import (
    BOTH,
    DISTILL,
    LABELS,
    START_AGAIN,
    Checkpoint,
    OnEpoch,
    State,
    Training,
    TrainSettings,
)
from edgekit.host.train.network import answers, run_float
from edgekit.host.train.operators import unknown_operators
from edgekit.host.train.result import TrainResult
from edgekit.host.train.samples import TrainingSamples, read_samples
from edgekit.host.tune.network import float_network
from edgekit.host.tune.options import SourceOptions
from edgekit.host.tune.score import Score, score_of
from edgekit.host.worker.library import import_tensorflow
from edgekit.progress import Progress, no_progress
from edgekit.rewrite.before_quantization import prepare
from edgekit.rewrite.partial_split import slice_partial_splits
from edgekit.runtime import Runner
from edgekit.runtime.native_output import chatter_logged

LOSSES = ("auto", DISTILL, LABELS, BOTH)
_CALIBRATION = 200  # samples
_FEW, _TRIALS = 4, 32  # samples to prove and to try changes on
# The rules for the ranges to start from; the one with the least loss is taken.
_RULES = (RangeRule(), RangeRule(MSE), RangeRule(PERCENTILE, 99.99))
_NARROW_RULES = (RangeRule(MSE), RangeRule(PERCENTILE, 99.0), RangeRule(PERCENTILE, 97.0))
_CHECKED = 4  # samples on which the network to train is compared with the interpreter
_MOST_DIFFERENCE = 1e-3  # of the largest value


def train(  # noqa: PLR0913 - public: its options are keywords
    source: Any,  # noqa: ANN401 - a path, or a Keras model of any version
    *,
    data: Any,  # noqa: ANN401 - anything that open_dataset takes
    eval_data: Any,  # noqa: ANN401 - anything that open_dataset takes
    output: files.PathLike,
    epochs: int = 10,
    train_batch: int = 32,
    learning_rate: float = 1e-3,
    loss: str = "auto",
    patience: int = 3,
    num_samples: int = 2000,
    num_eval: int | None = None,
    clip_logits: bool = False,
    replace_activations: str | None = None,
    preprocess: str | Preprocess | None = None,
    labels: files.PathLike | None = None,
    input_shape: Any = None,  # noqa: ANN401 - as for `convert`
    signature: str | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    trust_source: bool = False,
    io: str = "uint8",
    resume: bool = False,
    progress: Progress = no_progress,
    on_epoch: OnEpoch | None = None,
) -> TrainResult:
    """Fine-tune a network with its int8 rounding, and convert it with exactly the trained ranges.

    The network is trained as the float .tflite that `convert` would quantize: batch normalization
    is folded, activations are fused. In training, weights and activations are rounded as the
    integer network rounds them, by the same rules; gradients pass through the rounding. Ranges of
    activations are trained too. After each epoch the int8 model itself is evaluated, and the best
    one is kept.

    Args:
        source: Anything that `convert` takes.
        data: Training samples; with class labels or without.
        eval_data: Other samples, which choose the best epoch; a third set is needed to report on.
        output: The int8 .tflite to write. The trained float network (``_float``) and the
            checkpoint (``.checkpoint.npz``) are written beside it.
        epochs: The largest number of passes over the training samples.
        train_batch: Samples for each step.
        learning_rate: Relative: weights move in units of their root mean square.
        loss: ``distill``: answer like the float network; ``labels``: cross-entropy of the first
            output; ``both``; ``auto`` is ``both`` if the samples have classes that fit, else
            ``distill``.
        patience: Stop after so many epochs without a better one.
        num_samples: How many training samples to use, spread over the data.
        num_eval: How many evaluation samples to use; None uses all.
        clip_logits: As for `convert`: outputs with scores far beyond -16 to 16 are limited to that
            range, and those of the float network, which the training aims at, too.
        replace_activations: As for `convert`; the training compensates the replacement.
        preprocess: As for `convert`.
        labels: As for `convert`.
        input_shape: As for `convert`.
        signature: As for `convert`.
        inputs: As for `convert`.
        outputs: As for `convert`.
        trust_source: As for `convert`.
        io: As for `convert`.
        resume: Continue from the checkpoint.
        progress: Called with (steps done, steps in all).
        on_epoch: Called after each epoch with it and the best one so far.

    Raises:
        UnsupportedModelError: The network has an operator that cannot be trained or quantized.
        UsageError: An argument is out of range.
        DataError: The data do not fit, or the checkpoint is that of another training, or there is
            one and ``resume`` is off.
        EdgeKitError: As for `convert` and `evaluate`.
    """
    start = time.monotonic()
    _check_numbers(
        epochs=epochs, train_batch=train_batch, patience=patience, num_samples=num_samples
    )
    if loss not in LOSSES:
        raise UsageError(f"--loss {loss} is unknown", fix=f"give one of {', '.join(LOSSES)}")
    target, network, checkpoint_path = _places(output, source, data, eval_data, labels)
    if checkpoint_path.exists() and not resume:
        raise DataError(
            "there is a checkpoint of an earlier training",
            where=str(checkpoint_path),
            fix=f"use --resume to continue it; {START_AGAIN}",
        )
    reading = SourceOptions(
        preprocess=preprocess,
        labels=labels,
        io=io,
        input_shape=shape_words(input_shape),
        signature=signature,
        inputs=tuple(inputs or ()),
        outputs=tuple(outputs or ()),
        trust_source=trust_source,
    )
    of_model: dict[str, Any] = {"preprocess": preprocess, "labels": labels, "io": io}
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder, kept_converters():
        job = _Job(source, data, eval_data, Path(folder), num_eval, clips=clip_logits)
        job.convert(replace_activations, reading)
        samples = job.read(num_samples, progress)
        chosen = _loss_for(loss, samples, job.teacher)
        settings = TrainSettings(epochs, train_batch, learning_rate, chosen, patience)
        key = {
            **job.key(),
            "samples": samples.sha256(),
            "settings": settings.key(),
            "reading": reading.key(),
            "replaced": replace_activations,
            "num_eval": num_eval,
            "clip_logits": clip_logits,
        }
        checkpoint = Checkpoint(checkpoint_path, key)
        state = checkpoint.read() if resume and checkpoint_path.exists() else State()
        training = job.training(samples, settings)
        training.run(
            state, job.judge, checkpoint, progress, on_epoch or (lambda _each, _best: None)
        )
        trained = training.student.trained(state.best_arrays)
        files.write_bytes(network, write_model(trained))
        of_model.update(preprocess=job.how, clip_logits=clip_logits)
        converted = convert(network, data=data, output=target, **of_model)
    return TrainResult(
        source=converted.source if not isinstance(source, (str, Path)) else str(source),
        output=str(target),
        float_output=str(network),
        checkpoint=str(checkpoint_path),
        loss=chosen,
        plain=job.plain_score,
        epochs=tuple(state.epochs),
        best=state.best.number,
        num_train=samples.count,
        num_eval=job.plain_score.num_samples,
        stopped_early=state.epochs[-1].number < epochs,
        convert=converted,
        warnings=(*job.warnings(samples), *training.warnings(), *converted.warnings),
        time_s=time.monotonic() - start,
    )


def _places(output: files.PathLike, *inputs: Any) -> tuple[Path, Path, Path]:  # noqa: ANN401
    """Return the int8 model's path, the float network's and the checkpoint's.

    Raises:
        OutputError: One of them cannot be written.
        UsageError: One of them is an input.
    """
    target = Path(output)
    network = target.with_name(f"{target.stem}_float.tflite")
    places = target, network, target.with_suffix(".checkpoint.npz")
    for path in places:
        files.check_writable(path)
        files.refuse_overwriting(path, *inputs)
    return places


class _Job:
    """The networks and data of one training."""

    def __init__(
        self,
        source: Any,  # noqa: ANN401
        data: Any,  # noqa: ANN401
        eval_data: Any,  # noqa: ANN401
        folder: Path,
        num_eval: int | None,
        *,
        clips: bool,
    ) -> None:
        self._source, self._data, self._eval_data = source, data, eval_data
        self._clips = clips
        self._limited: tuple[int, ...] = ()  # outputs, counted from 0, whose scores are limited
        self._folder, self._num_eval = folder, num_eval
        self.plain: ConvertResult
        self.teacher: Model
        self._untrained: Model
        self.how: str | Preprocess | None = None  # preprocessing
        self.plain_score: Score

    def convert(self, replacements: str | None, options: SourceOptions) -> None:
        """Make the plain int8 model and the float networks; evaluate both.

        Raises:
            UnsupportedModelError: It has an operator that cannot be trained or quantized.
        """
        network = float_network(self._source, options, self._folder).reference.model
        forms = parse_replacements(replacements)
        self.teacher = _trainable(network, {})
        self._untrained = _trainable(network, forms)
        unknown = [*unknown_operators(self.teacher), *unknown_operators(self._untrained)]
        unknown += not_quantizable(self._untrained)
        if unknown:
            raise UnsupportedModelError(
                f"{', '.join(dict.fromkeys(unknown))} cannot be trained",
                where=str(self._source),
                fix="cut the network before it (--outputs), or --replace-activations",
            )
        plain = self._folder / "plain.tflite"
        self.plain = convert(
            self._source,
            data=self._data,
            output=plain,
            replace_activations=replacements,
            clip_logits=self._clips,
            **options.keywords(),
        )
        self.how = self.plain.preprocess or options.preprocess
        if self._clips:
            self._limited = self._wide_outputs()
        self.plain_score = self._score(plain)

    def key(self) -> dict[str, Any]:
        """Return what must be equal for a training to be continued: source and evaluation."""
        score = self.plain_score
        return {
            "source": self.plain.source_sha256,
            "preprocess": self.plain.preprocess,
            "evaluation": [score.measure, score.num_samples, round(score.value, 3)],
        }

    def read(self, num_samples: int, progress: Progress) -> TrainingSamples:
        """Return the training samples."""
        shapes = [self._untrained.main.tensors[i].shape for i in self._untrained.main.inputs]
        return read_samples(self._dataset(), shapes, num_samples, progress)

    def training(self, samples: TrainingSamples, settings: TrainSettings) -> Training:
        """Return the training of the network, calibrated on some of the samples.

        Raises:
            UnsupportedModelError: TensorFlow computes something else than the interpreter.
        """
        tf = _tensorflow()
        _check_equal(tf, self.teacher, samples)
        _check_equal(tf, self._untrained, samples)
        clips = bool(self._limited)
        starts = [_start(self._untrained, rule, None, samples, clips) for rule in _RULES]
        if self.plain.promised_range is None:  # only the samples show what the inputs reach
            starts += [
                _start(self._untrained, rule, rule, samples, clips) for rule in _NARROW_RULES
            ]
        return Training(tf, self.teacher, starts, samples, settings, self._limited)

    def judge(self, trained: Model) -> Score:
        """Return the score of the int8 model of a trained network."""
        return self._score(write_model(quantize(trained)))

    def warnings(self, samples: TrainingSamples) -> list[str]:
        """Remarks on the training."""
        notes = [
            f"the best epoch was chosen on {self.plain_score.num_samples} samples: report on others"
        ]
        if samples.num_far:
            notes.append(
                f"{samples.num_far} training samples with values far larger than all others were "
                "left out"
            )
        if samples.num_left_out:
            notes.append(
                f"{samples.num_left_out} training samples were left out: more than "
                f"{samples.count} do not fit into 1 GiB"
            )
        return notes

    def _wide_outputs(self) -> tuple[int, ...]:
        shapes = [self.teacher.main.tensors[i].shape for i in self.teacher.main.inputs]
        some = read_samples(self._dataset(), shapes, _TRIALS, no_progress)
        rows = [[each[row : row + 1] for each in some.inputs] for row in range(some.count)]
        return tuple(wide_outputs(ModelFile.of(self.teacher), rows))

    def _dataset(self) -> Dataset:
        graph = self._untrained.main
        specs = [InputSpec(graph.tensors[i].name, graph.tensors[i].shape) for i in graph.inputs]
        return open_dataset(self._data, inputs=specs, preprocess=self.how, split="train")

    def _score(self, model: Any) -> Score:  # noqa: ANN401 - a path or bytes
        wanted = limit_values(self.teacher, self._limited) if self._limited else self.teacher
        return score_of(
            evaluate(
                model,
                self._eval_data,
                against=write_model(wanted),
                preprocess=self.how,
                num_samples=self._num_eval,
            )
        )


def _start(
    network: Model,
    rule: RangeRule,
    of_inputs: RangeRule | None,
    samples: TrainingSamples,
    clips: bool,
) -> Model:
    """Return the network with ranges, and with what `convert` changes to make it better in int8."""
    graph = network.main
    own = [] if of_inputs is None else [(graph.tensors[i].name, of_inputs) for i in graph.inputs]
    rows = range(0, samples.count, max(1, samples.count // _CALIBRATION))
    batches = [[each[row : row + 1] for each in samples.inputs] for row in rows]
    improver = Improver(
        ModelFile.of(network),
        Choice(clip_logits=clips, ranges=rule, tensors=tuple(own)),
        lambda model: write_model(quantize(model)),
        batches[:_FEW],
    )
    calibrated = calibrate(improver.calibrated.model, improver.watch(iter(batches)))
    improver.quantized(calibrated, batches[:: max(1, len(batches) // _TRIALS)], lambda: batches)
    return improver.best


def _tensorflow() -> Any:  # noqa: ANN401 - it has no types
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with chatter_logged():
        tf = import_tensorflow()
        tf.zeros(1)  # it looks for devices now, and reports on them
    return tf


def _trainable(network: Model, forms: dict[str, str]) -> Model:
    """Return the float network that `convert` would quantize."""
    replaced, _ = with_replacements(network, forms, prepare)
    return fuse_activations(slice_partial_splits(fold_constants(replaced, "")))


def _check_equal(tf: Any, model: Model, samples: TrainingSamples) -> None:  # noqa: ANN401
    """Check that the network to train is the one that the interpreter runs.

    Raises:
        UnsupportedModelError: Their outputs differ.
    """
    count = min(_CHECKED, samples.count)
    batch = [each[:count] for each in samples.inputs]
    with Runner(write_model(model)) as runner:
        rows = [runner.invoke(*(each[row : row + 1] for each in batch)) for row in range(count)]
    wanted = [np.concatenate(each) for each in zip(*rows, strict=True)]
    try:
        values = run_float(tf, model, [*map(tf.constant, batch)])
        made = [np.asarray(values[index]) for index in model.main.outputs]
    except (tf.errors.OpError, ValueError) as error:
        raise _mixed(model, "an operator does not take several samples at once") from error
    for one, other in zip(made, wanted, strict=True):
        reach = float(np.abs(other).max()) or 1.0
        if one.shape != other.shape or not np.abs(one - other).max() <= _MOST_DIFFERENCE * reach:
            raise _mixed(model, "an operator mixes the samples of a batch")


def _mixed(model: Model, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "the network cannot be trained: TensorFlow does not compute the same in batches",
        where=model.main.tensors[model.main.outputs[0]].name,
        why=why,
        fix="tune it (edgekit tune), or cut it before that operator: --outputs",
    )


def _loss_for(asked: str, samples: TrainingSamples, teacher: Model) -> str:
    """Return the loss, and check that the labels fit it.

    Raises:
        UsageError: There are no classes, or other ones than the network's.
    """
    index = answers(teacher)[0]
    num_classes = teacher.main.tensors[index].num_elements
    classes = samples.labels
    fits = (
        classes is not None
        and len(teacher.main.outputs) == 1
        and num_classes > 1
        and int(classes.min()) >= 0
        and int(classes.max()) < num_classes
    )
    if asked == "auto":
        return BOTH if fits else DISTILL
    if asked != DISTILL and not fits:
        raise UsageError(
            f"--loss {asked} needs one output and a class from 0 to {num_classes - 1} for each "
            "sample",
            fix="--loss distill learns from the float network's answers",
        )
    return asked


def _check_numbers(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise UsageError(f"--{name.replace('_', '-')} is {value}", fix="give 1 or more")
