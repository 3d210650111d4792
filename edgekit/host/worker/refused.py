# SPDX-License-Identifier: Apache-2.0
"""What the child says when it will not, or cannot, go on for a reason that it knows."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - an answer, not a mistake
    """An expected failure; the parent raises the `EdgeKitError` whose code is ``code``."""

    def __init__(self, code: str, what: str, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.code, self.what, self.where, self.why, self.fix = code, what, where, why, fix
