# SPDX-License-Identifier: Apache-2.0
"""``python -m edgekit`` is the ``edgekit`` command."""

import os
import sys

if __name__ == "__main__" and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - pathlib is not loaded yet
    # Python puts the current folder first; a json.py there must not be imported.
    del sys.path[0]


def start() -> None:
    """Run the command line; Ctrl-C is status 130, also while its modules are imported."""
    # The emulator multiplies many small matrices. With more threads, numpy's library lets them wait
    # for each other: an inference of MobileNet took 2.1 instead of 0.2 s on two busy cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from edgekit.cli.main import main  # noqa: PLC0415 - inside the try
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    main()


if __name__ == "__main__":
    start()
