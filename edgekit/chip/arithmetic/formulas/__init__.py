# SPDX-License-Identifier: Apache-2.0
"""The formulas of the operators. A formula returns None for a case that it does not cover.

Each module says which of its formulas are proved on programs of Google's compiler. Sources of the
formulas: tinycoral, docs/isa/eltwise.md and codegen_eltops.md (multipliers and clamps by the
reciprocal of the output scale, every product is rounded to float32; an addition has integer
weights), and the programs of the corpus.
"""

from __future__ import annotations

from edgekit.chip.arithmetic.formulas.elementwise import add_weights

__all__ = ["add_weights"]
