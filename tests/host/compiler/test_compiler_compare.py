# SPDX-License-Identifier: Apache-2.0
"""Compare the compiler's counts with edgekit's verdicts."""

from __future__ import annotations

from edgekit.explain import MAPPED
from edgekit.host.compiler.compare import disagreements
from edgekit.opencompiler.result import OperatorCount

_ROWS = (
    OperatorCount("CONV_2D", 3, MAPPED),
    OperatorCount("CONV_2D", 1, "More than one subgraph is not supported"),
    OperatorCount("ADD", 2, MAPPED),
)


def test_equal_counts_are_not_a_disagreement() -> None:
    verdicts = [("CONV_2D", "tpu")] * 3 + [("CONV_2D", "cpu")] + [("ADD", "tpu")] * 2
    assert not disagreements("m", _ROWS, verdicts)


def test_an_unknown_operation_may_be_mapped_or_not() -> None:
    verdicts = [("CONV_2D", "tpu")] * 2 + [("CONV_2D", "unknown")] * 2 + [("ADD", "tpu")] * 2
    assert not disagreements("m", _ROWS, verdicts)


def test_more_and_fewer_mapped_operators_than_predicted_are_both_shown() -> None:
    verdicts = [("CONV_2D", "tpu")] * 4 + [("ADD", "tpu"), ("ADD", "cpu")]
    add, conv = disagreements("m", _ROWS, verdicts)
    assert (add.opcode, add.compiler_mapped, add.check_mapped) == ("ADD", 2, 1)
    assert (conv.opcode, conv.compiler_mapped, conv.check_mapped) == ("CONV_2D", 3, 4)
    assert str(conv) == "m: the compiler maps 3 CONV_2D, edgekit check 4"
