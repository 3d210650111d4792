# SPDX-License-Identifier: Apache-2.0
"""Bytes to frozen dataclasses and back."""
