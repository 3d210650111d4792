# SPDX-License-Identifier: Apache-2.0
"""The child's program: messages on stdin and stdout.

``python FOLDER`` has TensorFlow:

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

``python FOLDER import`` has onnx2tf and onnxruntime, or litert-torch:

    parent -> open {source, source_kind, trusted, custom_objects, folder}
    child  -> opened {loader, inputs, outputs, notes, properties}
    parent -> import {shapes}
    child  -> imported {notes, ranges, operations} [bytes]
    parent -> answer [inputs]     one sample
    child  -> answered [outputs]  of the source's own runtime
    parent -> trace {names} [inputs]
    child  -> traced [values of the named tensors]

Each answer has ``peak_rss_bytes``; before each, ``hello {versions}`` is sent, and at any time
``step {name}`` or ``refused {code, what, where, why, fix}``. All other output goes to stderr; an
unexpected exception ends the child with a traceback on stderr.
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
    if sys.argv[1:] == ["import"]:
        from edgekit.host.worker.importing import main
    else:
        from edgekit.host.worker.session import main

    main()
