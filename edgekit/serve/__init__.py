# SPDX-License-Identifier: Apache-2.0
"""A local page and a JSON API that answer with models; needs ``edgekit[serve]``."""

from __future__ import annotations

from edgekit.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgekit.serve.app import make_app
    from edgekit.serve.server import serve

__all__ = ["make_app", "serve"]

__getattr__ = lazy_names(
    __name__, {"make_app": "edgekit.serve.app", "serve": "edgekit.serve.server"}
)
