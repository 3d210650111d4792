# SPDX-License-Identifier: Apache-2.0
"""The child that `edgekit.fix.interpreter` starts: runs models, answers with their outputs."""

from edgekit.fix.worker import main

if __name__ == "__main__":
    main()
