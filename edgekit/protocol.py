# SPDX-License-Identifier: Apache-2.0
"""``Protocol`` for every Python: `typing` has none on 3.7, where a protocol is a plain class.

Nothing checks a protocol at run time, so loading ``typing_extensions`` for it is not necessary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Protocol
else:
    Protocol = object

__all__ = ["Protocol"]
