# SPDX-License-Identifier: Apache-2.0
"""File formats: from bytes to frozen dataclasses and back."""
