# SPDX-License-Identifier: Apache-2.0
"""The version of edgekit; both distributions read it here."""

__version__ = "0.1.0"
