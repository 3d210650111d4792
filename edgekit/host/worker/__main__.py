# SPDX-License-Identifier: Apache-2.0
"""The child's program: ``python FOLDER``, then messages on stdin and stdout.

    child  -> hello {versions}
    parent -> job {source, source_kind, mode, io, ...}
    child  -> loaded {inputs, outputs, layers, loader}
    parent -> shapes {shapes}
    child  -> float [bytes]       where this TensorFlow shows it; the parent answers with
    parent -> float [bytes]       the same or a better one
    child  -> calibrate           then the parent sends sample [arrays]..., end
    child  -> done {peak_rss_bytes} [bytes]

and at any time ``step {name}``, ``note {text}`` or ``refused {code, what, where, why, fix}``.
Whatever TensorFlow prints goes to stderr; an exception nobody expected ends the child with its
traceback there.
"""

from __future__ import annotations

import os
import sys
import types


def _stand_alone() -> None:
    """Let ``edgekit.host.worker`` be imported, and nothing else from the parent's environment."""
    worker = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - as early as can be
    sys.path = [entry for entry in sys.path if os.path.abspath(entry) != worker]  # noqa: PTH100
    host = os.path.dirname(worker)  # noqa: PTH120
    for name, folder in (("edgekit", os.path.dirname(host)), ("edgekit.host", host)):  # noqa: PTH120
        package = types.ModuleType(name)
        package.__path__ = [folder]
        sys.modules[name] = package


if __name__ == "__main__":
    _stand_alone()
    from edgekit.host.worker.session import main

    main()
