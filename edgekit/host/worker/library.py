# SPDX-License-Identifier: Apache-2.0
"""Import TensorFlow without libraries that a conversion does not use."""

from __future__ import annotations

import sys
from typing import Any

# If they are installed, Keras imports them for its wrappers and pictures; they take a quarter of
# the time of `import tensorflow`.
_UNUSED = ("matplotlib", "sklearn")


def import_tensorflow() -> Any:  # noqa: ANN401 - TensorFlow has no types
    """Import TensorFlow and return it; the code of a source can still import every library."""
    hidden = [name for name in _UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None: it cannot be imported
    try:
        import tensorflow as tf  # noqa: PLC0415 - slow
    finally:
        for name in hidden:
            del sys.modules[name]
    return tf
