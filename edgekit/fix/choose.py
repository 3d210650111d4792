# SPDX-License-Identifier: Apache-2.0
"""Rules by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Sequence

from edgekit.errors import UsageError
from edgekit.fix.mapping import mapped_alone
from edgekit.result import Result
from edgekit.rewrite import IO_KINDS, IO_RULE, Rule, rules


@dataclass(frozen=True)
class RuleInfo(Result):
    """One rule, for people to choose from."""

    name: str
    description: str
    exact: bool  # promises bit-identical outputs


@dataclass(frozen=True)
class RuleList(Result):
    """All rules in the order in which they are applied."""

    schema: ClassVar[str] = "edgekit.fix-rules/1"
    rules: tuple[RuleInfo, ...]

    @classmethod
    def of(cls, io: str = "auto") -> RuleList:
        """The rules, with what the one for inputs and outputs does under ``io``."""
        chosen = choose_rules((), (), io)
        return cls(tuple(RuleInfo(each.name, each.description, each.exact) for each in chosen))


def choose_rules(rule: Sequence[str], skip: Sequence[str], io: str) -> tuple[Rule, ...]:
    """The rules by name, in their order.

    Raises:
        UsageError: There is no such rule, or ``io`` is unknown.
    """
    if io not in IO_KINDS:
        raise UsageError(f"--io {io!r} is unknown", fix=f"use one of {', '.join(IO_KINDS)}")
    known = rules(io)
    names = [each.name for each in known]
    for name in (*rule, *skip):
        if name not in names:
            raise UsageError(f"no rule {name!r}", fix=f"use one of {', '.join(names)}")
    wanted = set(rule or names)
    if rule and io not in ("auto", "keep"):
        wanted.add(IO_RULE)
    chosen = [each for each in known if each.name in wanted and each.name not in skip]
    return tuple(each if each.name in rule else _where_unmapped(each) for each in chosen)


def _where_unmapped(rule: Rule) -> Rule:
    """Limit ``rule`` to operators that do not map as they are, if it supports that."""
    apply = rule.apply_to_others
    if apply is None:
        return rule
    return replace(rule, apply=lambda model: apply(model, mapped_alone(model)))
