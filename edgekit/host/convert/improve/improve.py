# SPDX-License-Identifier: Apache-2.0
"""Improve a calibrated float network before it is quantized; its answers stay the same.

Each improvement is proved on samples in float, and is kept only if the quantized network is closer
to the float network with it, on samples that were not used for calibration if the data have enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.features import FEATURES_NAME, Features, features_entry, read_features
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, add_metadata
from edgekit.host.convert.improve.channels import find_channels
from edgekit.host.convert.improve.dense import convolve_dense
from edgekit.host.convert.improve.equalize import equalize, find_factors, num_changed
from edgekit.host.convert.improve.fold import fold_constants_into_layers
from edgekit.host.convert.improve.inputs import normalize_inputs
from edgekit.host.convert.improve.limits import LOGIT_LIMIT, limit_flat, limit_ranges, limit_values
from edgekit.host.convert.improve.observe import Observer
from edgekit.host.convert.improve.range_rules import MIN_MAX, RangeRule, with_rules
from edgekit.host.convert.improve.ranges import with_moved_ranges
from edgekit.host.convert.improve.split import split_outliers, watched_tensors
from edgekit.host.convert.improve.trial import Batch, Trial, try_model, wide_outputs
from edgekit.host.convert.improve.weights import adjust_weights
from edgekit.result import Result

_LEAST_PROOF_DB = 100.0  # rounding in float32 alone leaves about 120 to 130 dB
# Of values far from 0, where the original rounds more than what is compared with it.
_LEAST_PROOF_OF_INPUTS_DB = 60.0
_PROVED_ON = 8  # samples
_MOST_MEASURED = 64  # batches that show what the layers read

Quantize = Callable[[Model], bytes]
# The changes with which a float network's answers stay the same, in the order of their application.
IMPROVEMENTS = ("fold", "equalize", "dense", "flat", "outputs")


@dataclass(frozen=True)
class Improvement(Result):
    """A change of the network before quantization."""

    # fold, equalize, dense, flat, split, clip_logits, ranges, inputs, weights, outputs
    name: str
    text: str  # what was changed
    exact: bool  # whether the float network's answers stay the same; false for what was requested
    float_snr_db: float | None  # of the changed float network to the original; None: bit-equal
    # Centred SNR of each output of the integer model without the change, at most 40 dB. For an
    # output of up to 16 numbers it is the mean of theirs. Empty if it was not measured.
    before_db: tuple[float, ...]
    after_db: tuple[float, ...]  # and with it


@dataclass(frozen=True)
class Choice:
    """What to do with a network before quantization."""

    # Of `IMPROVEMENTS` those to apply; None tries all, and applies each that makes it better.
    improvements: tuple[str, ...] | None = None
    clip_logits: bool = False
    ranges: RangeRule = field(default_factory=RangeRule)
    tensors: tuple[tuple[str, RangeRule], ...] = ()  # other rules for some tensors, by name
    normalize_inputs: bool = False
    split_channels: bool = False
    round_weights: bool = False
    correct_biases: bool = False
    is_tuned: bool = False  # `tune` chose it: it needs no advice

    def wants(self, name: str) -> bool:
        """Whether to try or to apply the improvement ``name``."""
        return self.improvements is None or name in self.improvements


@dataclass(frozen=True)
class _Made:
    """A calibrated network, and the integer model of it."""

    model: Model
    content: bytes


class Improver:
    """The improvements of one network; `watch` comes before `quantized`."""

    def __init__(
        self, network: ModelFile, choice: Choice, quantize: Quantize, samples: Sequence[Batch]
    ) -> None:
        """Improve a network.

        Args:
            network: Float, with static shapes.
            choice: The user's options.
            quantize: Makes an integer model of a calibrated network.
            samples: Some inputs, to prove the changes before calibration on.
        """
        self._network, self._choice, self._quantize = network, choice, quantize
        self._samples = samples
        self._trials: dict[str, Trial] = {}  # by the model's hash
        self._places: Sequence[int] = ()  # outputs, counted from 0
        self._features: dict[str, Features] = {}  # of inputs, by name
        self._reference = network  # what the integer model is to equal
        self.applied: list[Improvement] = []
        self.notes: list[str] = []
        self.calibrated = self._folded() if choice.wants("fold") else network  # what to calibrate
        self.best = self.calibrated.model  # with the ranges that `quantized` chose
        self._channels = find_channels(self.calibrated.model)
        free = self._channels.free() if choice.wants("equalize") else []
        self._observer = Observer(self.calibrated.model, free)

    def _folded(self) -> ModelFile:
        folded = fold_constants_into_layers(self._network.model)
        if folded is None:
            return self._network
        model, count = folded
        proof = self._proof(model)
        if not _is_proved(proof):
            return self._network
        text = f"{_counted(count, 'constant')} of MUL, ADD or SUB folded into the layers before"
        self.applied.append(Improvement("fold", text, True, proof, (), ()))
        return ModelFile.of(model)

    def watch(self, batches: Iterator[list[NDArray[Any]]]) -> Iterator[list[NDArray[Any]]]:
        """Yield the calibration batches unchanged, and gather the ranges of channels."""
        return self._observer.watch(batches)

    def quantized(
        self, calibrated: Model, samples: Sequence[Batch], batches: Callable[[], Iterable[Batch]]
    ) -> bytes:
        """Return the best integer model.

        Args:
            calibrated: `self.calibrated` with ranges of calibration.
            samples: Inputs to judge by, not those of calibration if the data have enough.
            batches: Returns an iterator over the calibration samples again.
        """
        self._samples = samples
        model = calibrated
        if self._choice.clip_logits:
            model = self._clipped(model)
        best = self._made(model)
        for name, change in self._changes():
            best = self._better(best, name, change)
        if self._choice.split_channels:
            best = self._with_split_channels(best, batches)
        if self._choice.ranges.kind != MIN_MAX or self._choice.tensors:
            best = self._ranged(best, batches)
        if self._choice.normalize_inputs:
            best, batches = self._with_normalized_inputs(best, batches)
        if self._choice.round_weights or self._choice.correct_biases:
            best = self._with_weights(best, batches)
        self.best = best.model
        return best.content

    def limited(self, network: ModelFile) -> ModelFile:
        """Return a float network with the limits of --clip-logits on its outputs."""
        if not self._places:
            return network
        return ModelFile.of(limit_values(network.model, self._places))

    def _changes(self) -> Iterator[tuple[str, Callable[[Model], tuple[Model, str] | None]]]:
        """Yield the changes to try; equalization is first, as it needs the first tensor indices."""
        changes = (("equalize", self._equalized), ("dense", _convolved), ("flat", _narrowed))
        return (each for each in changes if self._choice.wants(each[0]))

    def _made(self, model: Model) -> _Made:
        content = self._quantize(model)
        if self._features:
            content = add_metadata(content, {FEATURES_NAME: features_entry(self._features)})
        return _Made(model, content)

    def _trial(self, made: _Made) -> Trial:
        file = ModelFile(made.content)
        if file.sha256 not in self._trials:
            self._trials[file.sha256] = try_model(self._reference, file, self._samples)
        return self._trials[file.sha256]

    def _better(
        self, best: _Made, name: str, change: Callable[[Model], tuple[Model, str] | None]
    ) -> _Made:
        """Return ``best`` with a change if that is better or requested, else ``best``."""
        changed = change(best.model)
        if changed is None:
            return best
        model, text = changed
        proof = self._proof(model)
        if not _is_proved(proof):
            return best
        before, made = self._trial(best), self._made(model)
        after = self._trial(made)
        if self._choice.improvements is None and not after.is_better_than(before):
            return best
        self._apply(name, text, before, after, exact=True, proof=proof)
        return made

    def _apply(
        self,
        name: str,
        text: str,
        before: Trial,
        after: Trial,
        *,
        exact: bool = False,
        proof: float | None = None,
    ) -> None:
        self.applied.append(Improvement(name, text, exact, proof, before.scores, after.scores))

    def _proof(self, model: Model) -> float | None:
        """Return the lowest SNR of the outputs in float; None if they are equal."""
        trial = try_model(self._network, ModelFile.of(model), self._samples[:_PROVED_ON])
        return min((each for each in trial.snr_db if each is not None), default=None)

    def _equalized(self, model: Model) -> tuple[Model, str] | None:
        ranges = self._observer.ranges
        factors = find_factors(model, self._channels, ranges)
        if factors is None:
            return None
        count = num_changed(self._channels, factors)
        text = f"channels of {_counted(count, 'tensor')} got factors that make their ranges similar"
        dead = int(np.isinf(factors).sum())
        if dead:
            text += f", and {_counted(dead, 'channel')} that nothing reads became 0"
        return equalize(model, self._channels, factors, ranges), text

    def _clipped(self, model: Model) -> Model:
        wide = wide_outputs(self._network, self._samples)
        if not wide:
            self._advise(
                f"--clip-logits changes nothing: no output has scores beyond -{LOGIT_LIMIT:g} to "
                f"{LOGIT_LIMIT:g}"
            )
            return model
        narrow = limit_ranges(model, wide)
        self._places = wide
        self._reference = self.limited(self._network)
        before, after = (self._trial(self._made(each)) for each in (model, narrow))
        names = ", ".join(model.main.tensors[model.main.outputs[place]].name for place in wide)
        text = f"scores of {names} are limited to -{LOGIT_LIMIT:g} to {LOGIT_LIMIT:g}"
        self._apply("clip_logits", text, before, after)
        return narrow

    def _ranged(self, best: _Made, batches: Callable[[], Iterable[Batch]]) -> _Made:
        """Return the model with ranges by the rules that the user or a recipe chose."""
        rule, own = self._choice.ranges, self._own_rules(best.model)
        made_by = {index for op in best.model.main.operators for index in op.outputs}
        rules = {**dict.fromkeys(sorted(made_by), rule), **own}
        narrowing = {index: each for index, each in rules.items() if each.kind != MIN_MAX}
        ranged = with_moved_ranges(with_rules(best.model, narrowing, batches()), own)
        before, made = self._trial(best), self._made(ranged)
        after = self._trial(made)
        text = f"ranges by {rule}"
        text += f", of {_counted(len(own), 'tensor')} by rules of their own" * bool(own)
        self._apply("ranges", text, before, after)
        if not after.is_better_than(before):
            self._advise(f"--ranges {rule} does not make the model better: leave it out")
        return made

    def _with_normalized_inputs(
        self, best: _Made, batches: Callable[[], Iterable[Batch]]
    ) -> tuple[_Made, Callable[[], Iterable[Batch]]]:
        """Return the model with normalized inputs, and the samples as it reads them."""
        found = normalize_inputs(best.model, batches)
        proof = None if found is None else self._proof(found.model)
        if found is None or not _is_proved(proof, _LEAST_PROOF_OF_INPUTS_DB):
            self.notes.append(
                "--normalize-inputs changes nothing: no weights can undo the normalization"
            )
            return best, batches
        tensors = found.model.main.tensors
        known = read_features(found.model).items()
        self._features = {tensors[index].name: each for index, each in known}
        made, names = self._made(found.model), ", ".join(self._features)
        text = f"the features of {names} are normalized before the network: (value - mean) / std"
        self._apply("inputs", text, self._trial(best), self._trial(made), exact=True, proof=proof)
        self.notes.append(
            f"edgekit normalizes the features of {names} itself; code of your own must do it too: "
            "edgekit inspect prints mean and std"
        )
        return made, lambda: found.batches(batches())

    def _with_split_channels(self, best: _Made, batches: Callable[[], Iterable[Batch]]) -> _Made:
        observer = Observer(best.model, watched_tensors(best.model))
        for _ in observer.watch(list(each) for each in batches()):
            pass
        changed = split_outliers(best.model, observer.ranges)
        if changed is None:
            return best
        model, text = changed
        proof = self._proof(model)
        if not _is_proved(proof):
            return best
        made = self._made(model)
        before, after = self._trial(best), self._trial(made)
        self._apply("split", text, before, after, exact=True, proof=proof)
        return made

    def _own_rules(self, model: Model) -> dict[int, RangeRule]:
        """Return tensor index -> rule, of the tensors that have rules of their own."""
        names = {tensor.name: index for index, tensor in enumerate(model.main.tensors)}
        for name, _ in self._choice.tensors:
            if name not in names:
                self.notes.append(f"the network has no tensor {name}: the rule for it is left out")
        return {names[name]: rule for name, rule in self._choice.tensors if name in names}

    def _with_weights(self, best: _Made, batches: Callable[[], Iterable[Batch]]) -> _Made:
        rounds, corrects = self._choice.round_weights, self._choice.correct_biases
        some = itertools.islice(batches(), _MOST_MEASURED)
        model, count = adjust_weights(best.model, some, rounds=rounds, corrects=corrects)
        made = self._made(model)
        parts = ["weights rounded for the least error of the outputs"] * rounds
        parts += ["biases cancel the mean error of weights"] * corrects
        text = f"{' and '.join(parts)} in {_counted(count, 'layer')}"
        self._apply("weights", text, self._trial(best), self._trial(made))
        return made

    def _advise(self, text: str) -> None:
        if not self._choice.is_tuned:
            self.notes.append(text)


def _is_proved(snr_db: float | None, least_db: float = _LEAST_PROOF_DB) -> bool:
    """Whether a changed float network has the original's answers, by `Improver._proof`."""
    return snr_db is None or snr_db >= least_db


def _convolved(model: Model) -> tuple[Model, str] | None:
    changed = convolve_dense(model)
    if changed is None:
        return None
    layers = _counted(changed[1], "dense layer")
    text = f"{layers} computed as 1x1 convolution, which has a scale for each output"
    return changed[0], text


def _narrowed(model: Model) -> tuple[Model, str] | None:
    changed = limit_flat(model)
    if changed is None:
        return None
    text = f"ranges of {_counted(changed[1], 'input')} of LOGISTIC or TANH end where these are flat"
    return changed[0], text


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
