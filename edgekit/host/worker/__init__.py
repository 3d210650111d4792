# SPDX-License-Identifier: Apache-2.0
"""The child process that runs TensorFlow.

These files run in any environment with Python 3.7 and TensorFlow 2.4 or newer, so they import only
the standard library, numpy, TensorFlow and each other, not the rest of edgekit.
"""
