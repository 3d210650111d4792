# SPDX-License-Identifier: Apache-2.0
"""Export networks of PyTorch with random weights, for torch_table.py.

    python torch_networks.py FOLDER PHOTOGRAPHS [--recipe] [NAME...]

The Python is one of an environment with torch, torchvision, timm, Ultralytics and onnx; edgekit has
none of them. Ultralytics is AGPL: it is called here, not copied. Normalization layers get the
statistics of photographs, so that no activation is far too large or zero everywhere.

With ``--recipe``, Ultralytics' own export for the Edge TPU is run on its networks, in an
environment with TensorFlow, up to Google's compiler: FOLDER/recipe/NAME.tflite is its input.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

os.environ["YOLO_OFFLINE"] = "1"
# Else it downloads packages, and Google's compiler, for a long time.
os.environ["YOLO_AUTOINSTALL"] = "false"
_CLASSES = 100


def _vision(name: str, **options: Any) -> Callable[[], Any]:  # noqa: ANN401
    def build() -> Any:  # noqa: ANN401
        import torchvision  # noqa: PLC0415

        return getattr(torchvision.models, name)(weights=None, num_classes=_CLASSES, **options)

    return build


def _timm(name: str) -> Callable[[], Any]:
    def build() -> Any:  # noqa: ANN401
        import timm  # type: ignore[import-not-found] # noqa: PLC0415

        return timm.create_model(name, pretrained=False, num_classes=_CLASSES)

    return build


def _segmentation(name: str) -> Callable[[], Any]:
    def build() -> Any:  # noqa: ANN401
        from torchvision.models import segmentation  # noqa: PLC0415

        return getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=21)

    return build


def _ssdlite() -> Any:  # noqa: ANN401
    from torchvision.models import detection  # noqa: PLC0415

    network = detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=21
    )
    return network.backbone


def _pyramid() -> Any:  # noqa: ANN401
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone  # noqa: PLC0415

    return resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=torch.nn.BatchNorm2d
    )


class _Sequence(torch.nn.Module):  # type: ignore[misc] # torch is not in edgekit's environment
    """A recurrent layer over 16 steps of 8 numbers, and a dense layer on its last answer."""

    def __init__(self, kind: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.layer, self.dense = kind(8, 24, batch_first=True), torch.nn.Linear(24, 6)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        answers, _ = self.layer(steps)
        return self.dense(answers[:, -1])


# Name -> (how to build it, the side of its square input in pixels; 0 is a sequence).
NETWORKS: dict[str, tuple[Callable[[], Any], int]] = {
    "mobilenet_v2": (_vision("mobilenet_v2"), 160),
    "mobilenet_v3_small": (_vision("mobilenet_v3_small"), 160),
    "efficientnet_b0": (_vision("efficientnet_b0"), 160),
    "resnet18": (_vision("resnet18"), 160),
    "shufflenet_v2_x0_5": (_vision("shufflenet_v2_x0_5"), 160),
    "squeezenet1_1": (_vision("squeezenet1_1"), 160),
    "regnet_y_400mf": (_vision("regnet_y_400mf"), 160),
    "mobilenetv4_conv_small": (_timm("mobilenetv4_conv_small"), 160),
    "tf_efficientnet_lite0": (_timm("tf_efficientnet_lite0"), 160),
    "ghostnet_100": (_timm("ghostnet_100"), 160),
    "lcnet_050": (_timm("lcnet_050"), 160),
    "repvgg_a0": (_timm("repvgg_a0"), 160),
    "ssdlite320 backbone": (_ssdlite, 160),
    "resnet18 FPN backbone": (_pyramid, 160),
    "lraspp_mobilenet_v3_large": (_segmentation("lraspp_mobilenet_v3_large"), 160),
    "deeplabv3_mobilenet_v3_large": (_segmentation("deeplabv3_mobilenet_v3_large"), 160),
    "LSTM": (lambda: _Sequence(torch.nn.LSTM), 0),
    "GRU": (lambda: _Sequence(torch.nn.GRU), 0),
}
ULTRALYTICS = ("yolov5n", "yolov8n", "yolo11n", "yolo26n", "yolov8n-seg", "yolo11n-pose")
_YOLO_SIDE = 192


def main() -> None:
    """Write FOLDER/NAME.pt2, and FOLDER/NAME.onnx or FOLDER/recipe/NAME.tflite for Ultralytics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--recipe", action="store_true")
    words = parser.parse_intermixed_args()
    folder = words.folder.resolve() / "recipe" if words.recipe else words.folder
    names = words.names or ([] if words.recipe else [*NETWORKS]) + [*ULTRALYTICS]
    paths = sorted(words.photographs.resolve().rglob("*.jp*g"))[:12]
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        torch.manual_seed(0)
        done = [each for each in folder.glob(f"{name}.*") if each.suffix != ".json"]
        if done:
            continue
        try:
            if words.recipe:
                _follow_recipe(name, folder / f"{name}.tflite", paths)
            elif name in NETWORKS:
                _export(name, folder / f"{name}.pt2", paths)
            else:
                _export_yolo(name, folder / f"{name}.onnx", paths)
        except Exception as error:  # noqa: BLE001 - the others go on
            print(f"{name}: {type(error).__name__}: {error}")
        else:
            print(name)


def _export(name: str, path: Path, photographs: list[Path]) -> None:
    build, side = NETWORKS[name]
    network = build()
    if side:
        images = _images(photographs, side)
        _set_normalization(network, images)
        inputs = images[:1]
    else:
        inputs = torch.rand(1, 16, 8)
    torch.export.save(torch.export.export(network.eval(), (inputs,)), str(path))


def _yolo(name: str, photographs: list[Path]) -> Any:  # noqa: ANN401
    from ultralytics import YOLO  # type: ignore[import-not-found] # noqa: PLC0415

    model = YOLO(f"{name}.yaml")
    # Left to itself it expects losses in training mode.
    _set_normalization(model.model.model[:-1], _images(photographs, _YOLO_SIDE), model.model)
    return model


def _export_yolo(name: str, path: Path, photographs: list[Path]) -> None:
    model = _yolo(name, photographs)
    shutil.move(model.export(format="onnx", imgsz=_YOLO_SIDE, simplify=False, opset=17), path)


def _follow_recipe(name: str, path: Path, photographs: list[Path]) -> None:
    """Run Ultralytics' export for the Edge TPU; keep the model that is ready for the compiler."""
    model = _yolo(name, photographs)
    with tempfile.TemporaryDirectory(prefix="edgekit-recipe-") as folder:
        data = _data_set(Path(folder, "data"), photographs, model.model)
        before = Path.cwd()
        os.chdir(folder)
        # Ultralytics downloads this file for onnx2tf's own checks unless it is there.
        samples = _images(photographs, 128).numpy().transpose(0, 2, 3, 1)
        np.save(
            "calibration_image_sample_data_20x128x128x3_float32.npy",
            np.resize(samples, (20, 128, 128, 3)),
        )
        try:
            model.export(format="edgetpu", imgsz=_YOLO_SIDE, data=str(data))
        except Exception as error:  # the compiler is not there, and it says so in many ways
            made = sorted(Path(folder).rglob("*_full_integer_quant.tflite"))
            if not made:
                raise
            print(f"{name}: ends at the compiler: {type(error).__name__}")
            shutil.move(made[0], path)
        finally:
            os.chdir(before)


def _data_set(folder: Path, photographs: list[Path], network: Any) -> Path:  # noqa: ANN401
    """Write what Ultralytics takes as a data set: photographs without objects."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for path in photographs:
        shutil.copy(path, folder / "images")
        (folder / "labels" / f"{path.stem}.txt").touch()
    described = {
        "path": str(folder),
        "train": "images",
        "val": "images",
        "names": {int(key): str(value) for key, value in network.names.items()},
        "kpt_shape": [17, 3],
    }
    (folder / "data.yaml").write_text(json.dumps(described))  # JSON is YAML
    return folder / "data.yaml"


def _images(paths: list[Path], side: int) -> torch.Tensor:
    """Return (n, 3, side, side) photographs, 0 to 1."""
    images = [
        np.asarray(Image.open(path).convert("RGB").resize((side, side)), np.float32) / 255
        for path in paths
    ]
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())


def _set_normalization(layers: Any, images: torch.Tensor, network: Any = None) -> None:  # noqa: ANN401
    """Give batch normalizations the statistics of images: each is set by one batch."""
    norms = [each for each in layers.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    momenta = [each.momentum for each in norms]
    (network or layers).eval()
    for each in norms:
        each.momentum = None  # a plain mean over the batches
        each.train()
        each.reset_running_stats()
    with torch.no_grad():
        (network or layers)(images)
    for each, momentum in zip(norms, momenta, strict=True):
        each.momentum = momentum
        each.eval()


if __name__ == "__main__":
    main()
