# SPDX-License-Identifier: Apache-2.0
"""Compile a model in memory with edgekit's own compiler."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

from edgekit.chip.codegen import BEHIND_CPU, Partition, Program
from edgekit.chip.isa.decode import decode_package
from edgekit.chip.vocabulary import Audit, Vocabulary, audit, read_evidence
from edgekit.edgetpu.chip import LATEST_RUNTIME
from edgekit.edgetpu.rules import SECOND_SUBGRAPH, UNSPECIFIED
from edgekit.edgetpu.support import judge_operators
from edgekit.explain import MAPPED
from edgekit.formats.darwinn import arithmetic_cycles, write_custom_options, write_package
from edgekit.formats.tflite import Model, write_model
from edgekit.formats.tflite_metadata import (
    IN_EMULATOR,
    NOT_VERIFIED,
    OPEN_COMPILER,
    PROGRAM_SHA256,
    CompilerNote,
    write_compiler_note,
)
from edgekit.opencompiler.errors import NotCompiledError
from edgekit.opencompiler.result import OperatorCount, Verification
from edgekit.opencompiler.translate import translate_all
from edgekit.opencompiler.verify import only_part, verify, verify_together
from edgekit.rewrite.custom_operator import EdgeTpuPart, with_custom_operators

if TYPE_CHECKING:
    from edgekit.formats.darwinn import Package

# What `check` says of Google's compiler that is not why edgekit's leaves an operator to the CPU.
_OWN_REASON = (SECOND_SUBGRAPH, UNSPECIFIED)


@dataclass(frozen=True)
class CompiledProgram:
    """A compiled model and its properties."""

    content: bytes  # of the .tflite
    part: Partition
    program: Program
    verification: Verification | None
    audit: Audit
    operators: tuple[OperatorCount, ...]

    @property
    def package(self) -> Package:
        """The program for the Edge TPU."""
        return self.program.package

    @property
    def num_operators(self) -> int:
        """The number of the source model's operators."""
        return sum(row.count for row in self.operators)

    @property
    def num_mapped(self) -> int:
        """The number of operators that run on the Edge TPU."""
        return sum(row.count for row in self.operators if row.mapped)

    @property
    def predicted_cycles(self) -> int:
        """Cycles of the busiest tile's arithmetic."""
        return max(arithmetic_cycles(self.package.inference))


def compile_program(
    model: Model, where: str = "", *, verified: bool = True, allow_unseen: bool = True
) -> CompiledProgram:
    """Compile one model, see `compile_programs`."""
    (made,) = compile_programs([(model, where)], verified=verified, allow_unseen=allow_unseen)
    return made


def compile_programs(
    sources: Sequence[tuple[Model, str]],
    *,
    verified: bool = True,
    allow_unseen: bool = True,
    runtime: int = LATEST_RUNTIME,
) -> tuple[CompiledProgram, ...]:
    """Compile models that share one Edge TPU: each keeps its parameters while the others run.

    Args:
        sources: Integer-only models, each with its path for messages.
        verified: Whether the programs are run in the emulator first.
        allow_unseen: Whether a program may contain forms of instructions, level patterns or
            orders that none of Google's programs contains.
        runtime: The oldest version of the Edge TPU runtime that must run them, 10 to 14.

    Raises:
        NotCompiledError: A model is float, no operator maps, it does not fit, or its program
            has unseen forms that are not allowed.
        VerificationError: A program is wrong.
    """
    translated = translate_all(sources, runtime)
    if verified and len(sources) > 1:
        verify_together([program.package for _, program in translated])
    return tuple(
        _finish(model, where, made, verified=verified, allow_unseen=allow_unseen)
        for (model, where), made in zip(sources, translated)
    )


def _finish(
    model: Model,
    where: str,
    made: tuple[Partition, Program],
    *,
    verified: bool,
    allow_unseen: bool,
) -> CompiledProgram:
    """Audit, verify, and put the program into the model."""
    part, program = made
    network = part.network
    audited = audit_package(program.package)
    if not audited.is_seen and not allow_unseen:
        raise _unseen(audited, where)
    cycles = max(arithmetic_cycles(program.package.inference))
    verification = None
    if verified:
        source = only_part(model, part)
        verification = verify(source, program.package, network.outputs, cycles)
    options = write_custom_options(write_package(program.package))
    custom = EdgeTpuPart(frozenset(part.mapped), network.inputs, network.outputs, options)
    content = write_model(with_custom_operators(model, [custom]))
    note = CompilerNote(
        OPEN_COMPILER,
        IN_EMULATOR if verification else NOT_VERIFIED,
        {
            **(verification.to_dict() if verification else {}),
            "seen_share": audited.seen_share,
            "num_unseen": audited.num_unseen,
            PROGRAM_SHA256: program.package.sha256,
        },
    )
    content = write_compiler_note(content, note)
    return CompiledProgram(content, part, program, verification, audited, _operators(model, part))


def audit_package(package: Package) -> Audit:
    """Compare the instructions of a package with those of Google's programs and with evidence."""
    return audit(Vocabulary.load(read_evidence().trusted), *decode_package(package))


def _unseen(audited: Audit, where: str) -> NotCompiledError:
    lines = str(audited.findings[0]).splitlines()
    return NotCompiledError(
        f"{audited.num_unseen} of {audited.num_instructions} instructions have a form that none "
        "of Google's programs has",
        where=where,
        why="no chip is known to have run them; the first: " + "\n       ".join(lines),
        fix=f"edgekit compile {where} --compiler edgekit compiles it nevertheless; the emulator "
        "verifies the program. With an Edge TPU, edgekit confirm can confirm such forms",
        code="compiler.unseen",
    )


def _operators(model: Model, part: Partition) -> tuple[OperatorCount, ...]:
    """The operator table: the reasons are those of `check` where it has one."""
    verdicts = {each.index: each for each in judge_operators(model)}
    rows: Counter[tuple[str, str]] = Counter()
    mapped = set(part.mapped)
    for index, operator in enumerate(model.main.operators):
        status = MAPPED
        if index not in mapped:
            known, own = verdicts[index].status, part.reasons[index]
            is_first = own != BEHIND_CPU and known in _OWN_REASON
            status = own if is_first or known == MAPPED else known
        rows[operator.label, status] += 1
    return tuple(OperatorCount(opcode, count, status) for (opcode, status), count in rows.items())
