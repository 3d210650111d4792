# SPDX-License-Identifier: Apache-2.0
"""The Edge TPU itself: its instructions, its arithmetic, and an emulator of both."""
