# SPDX-License-Identifier: Apache-2.0
"""Work with TensorFlow and Google's compiler. Both run as processes, so importing this is cheap."""
