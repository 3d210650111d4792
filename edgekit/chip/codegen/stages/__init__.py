# SPDX-License-Identifier: Apache-2.0
"""The stages of a program: one module for each kind, from blocks to instructions."""
