# SPDX-License-Identifier: Apache-2.0
"""The child process of `edgekit.fix.interpreter`: runs models and returns their outputs."""

from edgekit.fix.worker import main

if __name__ == "__main__":
    main()
