# SPDX-License-Identifier: Apache-2.0
"""Compare `edgekit convert` with a bare TFLiteConverter script, each in its own process.

The script does the same as the tutorial, with a fixed batch and dense weights per tensor, so both
create the same operators. Runs alternate; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from networks import NUM_SAMPLES, save_networks

_BARE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
import numpy as np, tensorflow as tf
source, samples, output = sys.argv[1:]
model = tf.keras.models.load_model(source, compile=False)
images = np.load(samples, mmap_mode="r")
fixed = tf.keras.Input(batch_shape=(1, *model.input_shape[1:]))
converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(fixed, model(fixed)))
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([image[None]] for image in images)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.uint8
converter._experimental_disable_per_channel_quantization_for_dense_layers = True
open(output, "wb").write(converter.convert())
"""


def _seconds(*words: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print seconds and ratio for both networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network, source in save_networks(folder).items():
            samples, out = str(folder / f"{network}.npy"), str(folder / "out.tflite")
            bare, ours = [], []
            for _ in range(runs):
                bare.append(_seconds("-c", _BARE, str(source), samples, out))
                ours.append(
                    _seconds("-m", "edgekit", "convert", str(source), "--data", samples, "-o", out)
                )
            ratio = statistics.median(ours) / statistics.median(bare)
            print(
                f"{network:10} bare {statistics.median(bare):6.2f} s, edgekit "
                f"{statistics.median(ours):6.2f} s: {ratio:.2f} times "
                f"({NUM_SAMPLES} samples; agreement with the float model measured as well)"
            )


if __name__ == "__main__":
    main()
