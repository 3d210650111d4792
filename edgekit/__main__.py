# SPDX-License-Identifier: Apache-2.0
"""``python -m edgekit`` is the ``edgekit`` command."""

import os
import sys

if __name__ == "__main__" and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - pathlib is not loaded yet
    # Python puts the current folder first; a json.py there must not be imported.
    del sys.path[0]


def start() -> None:
    """Run the command line; Ctrl-C is status 130, also while its modules are imported."""
    try:
        from edgekit.cli.main import main  # noqa: PLC0415 - inside the try
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    main()


if __name__ == "__main__":
    start()
