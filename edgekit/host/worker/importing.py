# SPDX-License-Identifier: Apache-2.0
"""Import TensorFlow in about half the time."""

from __future__ import annotations

import gc
import sys
from typing import Any

# Keras imports these where they are installed, for plots, data frames and scikit-learn's interface.
# A conversion uses none of them.
_UNUSED = ("matplotlib", "pandas", "sklearn")


def import_tensorflow() -> Any:  # noqa: ANN401 - a module without type hints
    """Import TensorFlow, and Keras with it.

    The garbage collector waits until the end: half a million objects are created, almost none of
    them becomes garbage, and each collection would visit all of them. It never visits them later.

    Raises:
        ModuleNotFoundError: TensorFlow is not installed.
    """
    if "tensorflow" in sys.modules:  # imported for an earlier request
        return sys.modules["tensorflow"]
    hidden = [name for name in _UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None: cannot be imported
    gc.disable()
    try:
        import tensorflow  # noqa: PLC0415
    finally:
        gc.freeze()
        gc.enable()
        for name in hidden:  # a layer's own code may import it
            del sys.modules[name]
    return tensorflow
