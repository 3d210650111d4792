# SPDX-License-Identifier: Apache-2.0
"""What needs TensorFlow or Google's compiler, which run as processes: importing this is cheap."""
