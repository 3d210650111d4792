# SPDX-License-Identifier: Apache-2.0
"""The exception for an expected reason why the child cannot or must not continue."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - a reply, not a bug
    """An expected failure; the parent raises the `EdgeKitError` whose code is ``code``."""

    def __init__(self, code: str, what: str, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.code, self.what, self.where, self.why, self.fix = code, what, where, why, fix


def missing_function(purpose: str, error: ImportError) -> Refused:
    """Return the refusal for a function that this TensorFlow does not have, or has elsewhere.

    Args:
        purpose: Completes "TensorFlow 2.21 cannot ...".
        error: Why its import failed.
    """
    import tensorflow as tf  # noqa: PLC0415

    return Refused(
        "model.unsupported",
        f"TensorFlow {tf.__version__} cannot {purpose}",
        why=str(error),
        fix="try another TensorFlow: --converter-python PATH",
    )
