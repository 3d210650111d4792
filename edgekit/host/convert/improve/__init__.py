# SPDX-License-Identifier: Apache-2.0
"""Change a float network before quantization so that less is lost; its answers stay the same."""

from __future__ import annotations
