# SPDX-License-Identifier: Apache-2.0
"""The child's program: ``python FOLDER``, then messages on stdin and stdout.

    parent -> to_float {source, source_kind, dynamic, ...}
    child  -> loaded {inputs, outputs, layers, loader}
    parent -> shapes {shapes}
    child  -> float {notes, network_start} [bytes]
    parent -> calibrate [bytes]
    child  -> samples             then the parent sends sample [arrays]..., end
    child  -> calibrated [bytes]
    parent -> compare
    child  -> samples             as above
    child  -> compared {layers} [statistics of each layer...]
    parent -> quantize {io, per_tensor_dense} [bytes]
    child  -> quantized [bytes]

Each answer has ``peak_rss_bytes``; before each, ``hello {versions}`` is sent, and at any time
``step {name}`` or ``refused {code, what, where, why, fix}``. All output of TensorFlow goes to
stderr; an unexpected exception ends the child with a traceback on stderr.
"""

from __future__ import annotations

import os
import sys
import types


def _stand_alone() -> None:
    """Make ``edgekit.host.worker`` importable, and nothing else of the parent's environment."""
    worker = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - before any other import
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
