# SPDX-License-Identifier: Apache-2.0
"""Import TensorFlow without libraries that a conversion does not use."""

from __future__ import annotations

import gc
import sys
from typing import Any

# If they are installed, Keras imports them for its wrappers and pictures; they take a quarter of
# the time of `import tensorflow`.
_UNUSED = ("matplotlib", "sklearn")


def import_tensorflow() -> Any:  # noqa: ANN401 - TensorFlow has no types
    """Import TensorFlow and return it; the code of a source can still import every library.

    The garbage collector waits: half a million objects are created, almost none of them becomes
    garbage, and each collection would visit all of them. Later collections do not visit them.
    """
    if "tensorflow" in sys.modules:  # imported for an earlier request
        return sys.modules["tensorflow"]
    hidden = [name for name in _UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None: it cannot be imported
    gc.disable()
    try:
        import tensorflow as tf  # noqa: PLC0415 - slow
    finally:
        gc.freeze()
        gc.enable()
        for name in hidden:
            del sys.modules[name]
    return tf
