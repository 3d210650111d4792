# SPDX-License-Identifier: Apache-2.0
"""Make and verify bundles: one file with everything that a device needs."""

from __future__ import annotations

from edgekit.bundle.pack import BundleResult, bundle
from edgekit.bundle.verify import VerifyResult, verify

__all__ = ["BundleResult", "VerifyResult", "bundle", "verify"]
