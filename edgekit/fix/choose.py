# SPDX-License-Identifier: Apache-2.0
"""List rules and choose them by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Sequence

from edgekit.errors import UsageError
from edgekit.fix.mapping import mapped_alone
from edgekit.result import Result
from edgekit.rewrite import IO_KINDS, IO_RULE, Rule, rules


@dataclass(frozen=True)
class RuleInfo(Result):
    """One rule in the list for users."""

    name: str
    description: str
    exact: bool  # whether its outputs must be bit-identical


@dataclass(frozen=True)
class RuleList(Result):
    """All rules in the order in which they are applied."""

    schema: ClassVar[str] = "edgekit.fix-rules/1"
    rules: tuple[RuleInfo, ...]

    @classmethod
    def of(cls, io: str = "auto") -> RuleList:
        """Return the rules; the one for inputs and outputs is described for ``io``."""
        chosen = choose_rules((), (), io)
        return cls(tuple(RuleInfo(each.name, each.description, each.exact) for each in chosen))


def choose_rules(rule: Sequence[str], skip: Sequence[str], io: str) -> tuple[Rule, ...]:
    """Return the rules with these names, in the order in which they are applied.

    Raises:
        UsageError: A rule does not exist, or ``io`` is unknown.
    """
    if io not in IO_KINDS:
        raise UsageError(f"--io {io!r} is unknown", fix=f"use one of {', '.join(IO_KINDS)}")
    known = rules(io)
    names = [each.name for each in known]
    for name in (*rule, *skip):
        if name not in names:
            raise UsageError(f"there is no rule {name!r}", fix=f"use one of {', '.join(names)}")
    wanted = set(rule or names)
    if rule and io not in ("auto", "keep"):
        wanted.add(IO_RULE)
    chosen = [each for each in known if each.name in wanted and each.name not in skip]
    return tuple(each if each.name in rule else _where_unmapped(each) for each in chosen)


def _where_unmapped(rule: Rule) -> Rule:
    """Limit ``rule`` to operators that do not map yet, if it supports that."""
    apply = rule.apply_to_others
    if apply is None:
        return rule
    return replace(rule, apply=lambda model: apply(model, mapped_alone(model)))
