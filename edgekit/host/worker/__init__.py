# SPDX-License-Identifier: Apache-2.0
"""The child process that holds TensorFlow.

These files run in any interpreter with Python 3.7 and TensorFlow 2.4 or newer, so they import the
standard library, numpy and TensorFlow only, and of edgekit nothing but each other.
"""
