# SPDX-License-Identifier: Apache-2.0
"""The ``edgekit`` command: one thin file per sub-command."""
