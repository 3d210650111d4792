# SPDX-License-Identifier: Apache-2.0
"""Rewrite a model so that more of it maps, with a certificate for each rewrite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, Sequence

from edgekit import files
from edgekit.edgetpu.estimate import estimated_ms
from edgekit.edgetpu.findings import is_float
from edgekit.errors import UnsupportedModelError
from edgekit.fix.apply import Fixing
from edgekit.fix.certificate import warnings_of
from edgekit.fix.choose import choose_rules
from edgekit.fix.mapping import num_mapped
from edgekit.fix.prove import Prover
from edgekit.fix.result import FixResult
from edgekit.fix.samples import Samples
from edgekit.formats.model_file import read_model_file
from edgekit.formats.tflite import Model, is_compiled, write_model
from edgekit.formats.tflite_metadata import keep_files
from edgekit.progress import Progress, no_progress
from edgekit.rewrite import is_editable
from edgekit.runtime.interpreters import load_library

if TYPE_CHECKING:
    from edgekit.data import Preprocess

_SLOWER = 1.02  # smaller differences are rounding of the estimate


def fix(  # noqa: PLR0913 - public: its options are keywords
    model: files.PathLike | bytes,
    output: files.PathLike,
    *,
    rule: Sequence[str] = (),
    skip: Sequence[str] = (),
    io: str = "auto",
    data: Any = None,  # noqa: ANN401 - anything that open_dataset takes
    preprocess: str | Preprocess | None = None,
    num_random: int = 8,
    num_samples: int = 16,
    runtime: str | None = None,
    unproved: bool = False,
    progress: Progress | None = None,
) -> FixResult:
    """Rewrite ``model`` so that more of it maps to the Edge TPU.

    Every rewrite is compared with the model before it, on reference kernels. A rewrite of an
    exact rule whose outputs differ is rejected. Applied to its own output, fix changes nothing.

    Args:
        model: Path or content of a .tflite file.
        output: The .tflite to write.
        rule: Names of the rules to apply; empty means all.
        skip: Names of rules to leave out.
        io: ``auto`` (float inputs and outputs become the integers behind them), ``keep``,
            ``uint8``, ``int8`` or ``float32``.
        data: Samples to compare on, besides random ones: anything that `open_dataset` takes.
        preprocess: How pixels become the network's input.
        num_random: How many random inputs to compare on.
        num_samples: How many samples of ``data`` to compare on.
        runtime: See `Runner`.
        unproved: Accept rewrites that cannot be run here; their certificates note it.
        progress: Called with (number of certificates so far, None).

    Raises:
        UnsupportedModelError: The model is already compiled, has several subgraphs, or cannot be
            run here.
        UsageError: An unknown rule, or arguments that contradict each other.
        InputError: ``model`` or ``data`` cannot be read.
        OutputError: ``output`` cannot be written.
    """
    chosen = choose_rules(rule, skip, io)
    files.check_writable(output)
    files.refuse_overwriting(output, model, data)
    file = read_model_file(model)
    before, content, name = file.model, file.content, file.path or "bytes"
    _refuse_uneditable(before, name)
    samples = Samples(
        before,
        num_random=num_random,
        data=data,
        preprocess=preprocess,
        noted=file.notes.preprocess,
        num_data=num_samples,
    )
    with Prover(samples, runtime) as prover:
        job = Fixing(chosen, prover, unproved, progress or no_progress)
        # This runtime computes such models wrongly, so its results must not reject a rewrite.
        job.trusts_measurements = not _misread(before, load_library(runtime).runtime)
        after = job.run(before)
        changed = bool(job.steps)
        whole = job.whole() if changed else None
    written = keep_files(content, write_model(after)) if changed else content
    files.write_bytes(output, written)
    library = load_library(runtime)
    mapped = num_mapped(before), num_mapped(after)
    times = [estimated_ms(each) if count else None for each, count in zip((before, after), mapped)]
    return FixResult(
        model=name,
        sha256=file.sha256,
        output=str(output),
        output_sha256=files.sha256_hex(written),
        changed=changed,
        certificates=tuple(job.certificates),
        whole=whole,
        rejected=tuple(job.rejected),
        operators_before=before.operator_counts(),
        operators_after=after.operator_counts(),
        mapped_before=mapped[0],
        mapped_after=mapped[1],
        runtime=library.runtime,
        versions=library.versions,
        warnings=(
            *_warnings(before, after, library.runtime, job),
            *_slower(*times),
            *(warnings_of(whole) if whole is not None else ()),
        ),
        estimated_ms_before=times[0],
        estimated_ms_after=times[1],
    )


def _refuse_uneditable(model: Model, where: str) -> None:
    if is_editable(model):
        return
    compiled = is_compiled(model)
    raise UnsupportedModelError(
        "the model cannot be rewritten",
        where=where,
        why="it is already compiled for the Edge TPU"
        if compiled
        else f"it has {len(model.subgraphs)} subgraphs: a loop or a branch",
        fix="give the file that it was compiled from"
        if compiled
        else "convert the source with edgekit convert, which unrolls loops of fixed length",
    )


def _warnings(before: Model, after: Model, runtime: str, job: Fixing) -> list[str]:
    found = []
    if is_float(before):
        found.append(
            "the model contains real numbers, which the Edge TPU does not have, and most rules "
            "are for integers: convert it first (edgekit convert MODEL --data DATA -o OUT.tflite; "
            "--replace-activations mappable replaces activations that do not map)"
        )
    if len(before.main.outputs) != len(after.main.outputs):
        count = len(after.main.outputs)
        found.append(f"the model now has {count} outputs, before {len(before.main.outputs)}")
    for kind in ("inputs", "outputs"):
        old, new = (
            sorted({m.main.tensors[i].dtype.lower() for i in getattr(m.main, kind)})
            for m in (before, after)
        )
        if old != new:
            found.append(f"its {kind} are now {', '.join(new)}, before {', '.join(old)}")
    for old_end, new_end in zip(before.main.inputs, after.main.inputs):
        was, now = before.main.tensors[old_end], after.main.tensors[new_end]
        if was.shape != now.shape:
            found.append(
                f"its input {now.name} is {list(now.shape)} now (channels last), before "
                f"{list(was.shape)}: feed it in this order, or keep it with --skip channels-last"
            )
    if _misread(before, runtime):
        found.append(
            "tflite-runtime computes dense layers with a scale for each output wrongly, so a "
            "comparison with them is meaningless: use ai-edge-litert to prove the rewrites"
        )
    found.extend(
        f"{each.rule} must give equal outputs, but they differed here: rejected"
        for each in job.rejected
    )
    return found


def _slower(before_ms: float | None, after_ms: float | None) -> Iterator[str]:
    if before_ms and after_ms and after_ms > _SLOWER * before_ms:
        yield (
            f"the new model is probably slower: estimated {after_ms:.2f} ms, before "
            f"{before_ms:.2f} ms; leave rules out with --skip"
        )


def _misread(model: Model, runtime: str) -> bool:
    """Whether ``runtime`` computes ``model`` wrongly without an error."""
    tensors = model.main.tensors
    dense = [op for op in model.main.operators if op.opcode == "FULLY_CONNECTED"]
    weights = [tensors[op.inputs[1]].quantization for op in dense]
    return runtime == "tflite-runtime" and any(each and each.per_channel for each in weights)
