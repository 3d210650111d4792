# SPDX-License-Identifier: Apache-2.0
"""Advice on several operators becomes one command where one command is enough."""

from __future__ import annotations

from edgekit.edgetpu.advice import advice_for, merge_advice


def test_activations_to_replace_become_one_command() -> None:
    fixes = [advice_for(each, at_source=True) for each in ("GELU", "WHILE", "ELU", "WHILE")]
    assert merge_advice(fixes) == [
        "GELU, ELU: edgekit convert --replace-activations gelu=mappable,elu=mappable replaces them "
        "by operators that map; or train with ReLU or ReLU6",
        fixes[1],
    ]


def test_one_activation_keeps_its_advice() -> None:
    fixes = [advice_for("GELU"), "leave it on the CPU"]
    assert merge_advice(fixes) == fixes
