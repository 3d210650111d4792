# SPDX-License-Identifier: Apache-2.0
"""The options of `convert`, and which can be combined."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekit import files
from edgekit.errors import UsageError
from edgekit.evaluate.gates import Gates
from edgekit.evaluate.result import set_options
from edgekit.host.convert.activations import parse_replacements
from edgekit.host.convert.enforce import IO_TYPES
from edgekit.host.convert.improve.improve import Choice
from edgekit.host.convert.improve.range_rules import MIN_MAX, RangeRule
from edgekit.host.convert.recipe import Recipe, read_recipe
from edgekit.host.convert.sources import SOURCE_KINDS, SourceFile
from edgekit.host.convert.way_out import FLOAT_FILE

MODES = ("int8", "float-fallback", "dynamic", "float")
CALIBRATED = ("int8", "float-fallback")
AUTO, EDGEKIT, TENSORFLOW = QUANTIZERS = ("auto", "edgekit", "tensorflow")
_NUM_SAMPLES = 100
# Option -> the kinds of source that it applies to.
_APPLIES_TO = {
    "--signature": ("saved_model",),
    "--custom-objects": ("keras", "torch_pickle"),
    "--trust-source": ("keras", "saved_model", "frozen_graph", "torch", "torch_pickle"),
}
# What `requested_options` leaves out.
_DEFAULTS = {
    "io": "uint8",
    "batch_size": 1,
    "trust_source": False,
    "no_fix": False,
    "plain": False,
    "clip_logits": False,
    "normalize_inputs": False,
    "ranges": MIN_MAX,
    "quantizer": AUTO,
}


@dataclass(frozen=True)
class ConvertOptions:
    """The options of a conversion; the fields are the arguments of `convert`."""

    mode: str = "int8"
    io: str = "uint8"
    num_samples: int = _NUM_SAMPLES
    batch_size: int = 1
    input_shape: tuple[str, ...] = ()
    signature: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    converter_python: str | None = None
    trust_source: bool = False
    custom_objects: tuple[str, ...] = ()
    timeout_s: float | None = None
    replace_activations: str | None = None
    labels: files.PathLike | Sequence[str] | None = None
    gates: Gates = field(default_factory=Gates)
    fix: bool = True
    plain: bool = False
    clip_logits: bool = False
    normalize_inputs: bool = False
    ranges: str = MIN_MAX
    recipe: Recipe | None = None
    recipe_name: str = ""  # its file, for the result
    quantizer: str = AUTO

    def __post_init__(self) -> None:
        for name, value, known in (
            ("--mode", self.mode, MODES),
            ("--io", self.io, IO_TYPES),
            ("--quantizer", self.quantizer, QUANTIZERS),
        ):
            if value not in known:
                raise UsageError(
                    f"{name} {value!r} is unknown", fix=f"use one of {', '.join(known)}"
                )
        if self.gates.names and self.mode not in CALIBRATED:
            raise UsageError(
                f"{self.gates.names[0]} has no effect in --mode {self.mode}",
                fix=f"use --mode {' or '.join(CALIBRATED)}",
            )
        parse_replacements(self.replace_activations)
        RangeRule.parse(self.ranges)
        for option, is_given in (
            ("--clip-logits", self.clip_logits),
            ("--normalize-inputs", self.normalize_inputs),
            ("--ranges", self.ranges != MIN_MAX),
            ("--plain", self.plain),
            ("--quantizer", self.quantizer != AUTO),
        ):
            if is_given and self.mode != "int8":
                raise UsageError(
                    f"{option} has no effect in --mode {self.mode}", fix="use --mode int8"
                )
        for option, number in (
            ("--num-samples", self.num_samples),
            ("--batch-size", self.batch_size),
        ):
            if number < 1:
                raise UsageError(f"{option} is {number}", fix="give a number greater than zero")
        if self.num_samples != _NUM_SAMPLES and self.mode not in CALIBRATED:
            raise UsageError(
                f"--num-samples has no effect in --mode {self.mode}, which does not calibrate",
                fix=f"leave it out, or use --mode {' or '.join(CALIBRATED)}",
            )
        if self.replace_activations and self.mode not in CALIBRATED:
            raise UsageError(
                f"--replace-activations has no effect in --mode {self.mode}",
                fix=f"use --mode {' or '.join(CALIBRATED)}",
            )
        if not self.fix and self.mode != "int8":
            raise UsageError(
                f"--no-fix has no effect in --mode {self.mode}, which nothing rewrites",
                fix="leave --no-fix out, or use --mode int8",
            )
        if self.io == "int8" and self.mode != "int8":
            raise UsageError(
                f"--io {self.io} has no effect in --mode {self.mode}, whose inputs and outputs are "
                "real numbers",
                fix="leave --io out, or use --mode int8",
            )

    def with_recipe(self, recipe: Recipe | files.PathLike) -> ConvertOptions:
        """Return these options with the choices of ``recipe``.

        Raises:
            UsageError: An option that is set states what the recipe states too.
            InputError: The file cannot be read, or is not a recipe.
        """
        if self.mode != "int8":
            raise UsageError(f"--recipe has no effect in --mode {self.mode}", fix="use --mode int8")
        given = [name for name, is_set in self._of_recipes() if is_set]
        if given:
            raise UsageError(
                f"{given[0]} and --recipe contradict each other",
                why="a recipe states it",
                fix=f"leave {given[0]} out, or change the recipe's file",
            )
        found = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
        replaced = found.replace_activations or None
        return replace(
            self,
            recipe=found,
            recipe_name="RECIPE.toml" if isinstance(recipe, Recipe) else str(recipe),
            num_samples=found.num_samples,
            replace_activations=replaced,
        )

    def _of_recipes(self) -> Iterator[tuple[str, bool]]:
        """Yield the options that a recipe states, and whether they are set."""
        yield "--num-samples", self.num_samples != _NUM_SAMPLES
        yield "--replace-activations", self.replace_activations is not None
        yield "--plain", self.plain
        yield "--clip-logits", self.clip_logits
        yield "--normalize-inputs", self.normalize_inputs
        yield "--ranges", self.ranges != MIN_MAX

    @property
    def sample_set(self) -> int:
        """Which of the disjoint choices of calibration samples to use."""
        return 0 if self.recipe is None else self.recipe.sample_set

    @property
    def choice(self) -> Choice:
        """What to do with the network before quantization."""
        if self.recipe is not None:
            return self.recipe.choice
        improvements = () if self.plain else None
        rule = RangeRule.parse(self.ranges)
        normalizes = self.normalize_inputs
        return Choice(improvements, self.clip_logits, rule, normalize_inputs=normalizes)

    @property
    def improves(self) -> bool:
        """Whether something is done with the network before quantization."""
        return self.mode == "int8" and replace(self.choice, is_tuned=False) != Choice(())

    def refuse_unused(self, source: SourceFile) -> None:
        """Refuse options that have no effect on this kind of ``source``.

        Raises:
            UsageError: The user gave such an option.
        """
        given = {
            "--signature": self.signature,
            "--custom-objects": self.custom_objects,
            "--trust-source": self.trust_source,
        }
        for option, kinds in _APPLIES_TO.items():
            if given[option] and source.kind not in kinds:
                raise UsageError(
                    f"{option} has no effect on {SOURCE_KINDS[source.kind]}",
                    where=str(source.path),
                    why=f"it is for {', '.join(SOURCE_KINDS[kind] for kind in kinds)}",
                    fix=f"leave {option} out",
                )

    def cuts_float(self, source: SourceFile) -> bool:
        """Whether the float .tflite of ``source`` is cut; a frozen graph is cut itself."""
        return source.kind != "frozen_graph" and bool(self.inputs or self.outputs)

    def job(self, source: SourceFile) -> dict[str, Any]:
        """Return the child's options for loading ``source``."""
        return {
            "source_kind": source.kind,
            "source": str(source.path.resolve()),
            "dynamic": self.mode == "dynamic",
            "signature": self.signature,
            "inputs": [] if self.cuts_float(source) else list(self.inputs),
            "outputs": [] if self.cuts_float(source) else list(self.outputs),
            "trust_source": self.trust_source or source.trusted,
            "custom_objects": list(self.custom_objects),
            "folder": str(Path.cwd()),
        }

    def tensorflow_python(self, source: SourceFile) -> str | None:
        """Return the interpreter with TensorFlow; that of ONNX's converter does not need it."""
        return None if source.is_foreign else self.converter_python

    def source_words(self) -> list[str]:
        """Return the options with which a command reads the source in the same way."""
        words = [word for shape in self.input_shape for word in ("--input-shape", shape)]
        words += ["--batch-size", str(self.batch_size)] if self.batch_size > 1 else []
        words += ["--signature", self.signature] if self.signature else []
        words += ["--converter-python", self.converter_python] if self.converter_python else []
        words += [word for each in self.custom_objects for word in ("--custom-objects", each)]
        return words + (["--trust-source"] if self.trust_source else [])

    def float_command(self, where: str) -> str:
        """Return the command that makes a float .tflite of the source in the same shapes."""
        words = ["edgekit", "convert", where, "--mode", "float", *self.source_words()]
        return shlex.join([*words, "-o", FLOAT_FILE])

    def part_words(self, source: SourceFile) -> list[str]:
        """Return the options that a command needs which converts a part of ``source``.

        The shapes of a .tflite are left out, as its part may have other inputs; the command for a
        frozen graph starts with `float_command`.
        """
        from_float = source.kind in {"tflite", "frozen_graph"}
        words = [] if from_float else self.source_words()
        words += ["--io", self.io] if self.io != _DEFAULTS["io"] else []
        replaced = self.replace_activations
        return words + (["--replace-activations", replaced] if replaced else [])

    def requested_options(self) -> dict[str, str]:
        """Return the options that the user set besides source, data, mode, samples and output."""
        shapes = self.input_shape
        return set_options(
            _DEFAULTS,
            io=self.io,
            batch_size=self.batch_size,
            input_shape=shapes[0] if len(shapes) == 1 else None,
            signature=self.signature,
            inputs=",".join(self.inputs) or None,
            outputs=",".join(self.outputs) or None,
            converter_python=self.converter_python,
            trust_source=self.trust_source,
            custom_objects=self.custom_objects or None,
            replace_activations=None if self.recipe else self.replace_activations,
            recipe=self.recipe_name or None,
            labels=self.labels,
            plain=self.plain,
            clip_logits=self.clip_logits,
            normalize_inputs=self.normalize_inputs,
            ranges=self.ranges,
            quantizer=self.quantizer,
            min_agreement=self.gates.min_agreement,
            min_snr_db=self.gates.min_snr_db,
            no_fix=not self.fix,
        )


def shape_words(shape: str | Sequence[str] | Sequence[int] | None) -> tuple[str, ...]:
    """Return ``--input-shape``, in any form that `convert` takes, as words."""
    if shape is None:
        return ()
    if isinstance(shape, str):
        return (shape,)
    if all(isinstance(size, int) for size in shape):
        return (",".join(str(size) for size in shape),)
    return tuple(str(word) for word in shape)
