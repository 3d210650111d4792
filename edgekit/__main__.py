# SPDX-License-Identifier: Apache-2.0
"""``python -m edgekit`` is the ``edgekit`` command."""

from edgekit.cli.main import main

if __name__ == "__main__":
    main()
