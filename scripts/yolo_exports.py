# SPDX-License-Identifier: Apache-2.0
"""Export YOLOs with random weights by Ultralytics, and save its results for their outputs.

`check_yolo.py` runs this file under the Python of an environment that has Ultralytics, torch, onnx
and onnxruntime; edgekit does not. Ultralytics is AGPL: it is called here, but not copied.

For each network: set its normalization layers on images, give its heads weights that yield
objects, export it to ONNX with Ultralytics' own exporter, run it with onnxruntime, and save which
objects Ultralytics' own predictor finds in the same image.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # not in edgekit's environment, as those below
import torch
from numpy.typing import NDArray
from ultralytics import YOLO  # type: ignore[import-not-found]
from ultralytics.engine.results import Results  # type: ignore[import-not-found]

_SIDE = 320
_SCORE, _IOU = 0.25, 0.7
_SHARE_OF_PLACES = 0.01  # share of the places with an object
_THRESHOLD_LOGIT = -1.1  # the logit of the score 0.25
_SHOWN = 7  # the seed of the image for the comparison
_SPREAD = 1.5  # standard deviation of the logits


def _image(seed: int) -> NDArray[np.uint8]:
    """Return patches of random colours of several sizes, as (side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    image = np.zeros((_SIDE, _SIDE, 3))
    for cell in (4, 16, 64):
        count = _SIDE // cell
        patches = rng.random((count, count, 3))
        image += patches.repeat(cell, axis=0).repeat(cell, axis=1) / 3
    return (image * 255).astype(np.uint8)


def _tensor(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def _last_convolutions(head: torch.nn.Module, names: tuple[str, ...]) -> list[torch.nn.Conv2d]:
    found = []
    for name in names:
        for branch in getattr(head, name, None) or []:
            layers = [each for each in branch.modules() if isinstance(each, torch.nn.Conv2d)]
            found += layers[-1:]
    return found


def _add_objects(model: torch.nn.Module) -> None:
    """Change a network with random weights: features of unit size, varied boxes, some objects."""
    torch.manual_seed(0)
    images = torch.from_numpy(
        np.concatenate([_tensor(_image(seed)) for seed in range(_SHOWN - 3, _SHOWN + 1)])
    )
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
            layer.reset_running_stats()
    with torch.no_grad():
        model.train()
        model(images)
        model.eval()
        head = model.model[-1]
        for layer in _last_convolutions(head, ("cv2", "one2one_cv2")):
            layer.weight.normal_(0, 0.1)
        for layer in _last_convolutions(head, ("cv4", "one2one_cv4")):
            layer.weight.normal_(0, 0.1)
        for name in ("cv3", "one2one_cv3"):
            shown = torch.from_numpy(_tensor(_image(_SHOWN)))
            _set_scores(model, shown, _last_convolutions(head, (name,)))


def _set_scores(
    model: torch.nn.Module, images: torch.Tensor, layers: list[torch.nn.Conv2d]
) -> None:
    seen: list[torch.Tensor] = []
    hooks = [each.register_forward_hook(lambda *args: seen.append(args[2])) for each in layers]
    for layer in layers:
        layer.weight.normal_(0, 0.2)
        layer.bias.zero_()
    model(images)
    for hook in hooks:
        hook.remove()
    if not seen:
        return
    factor = _SPREAD / torch.cat([each.flatten() for each in seen]).std()
    best = torch.cat([each.amax(1).flatten() for each in seen]) * factor
    shift = _THRESHOLD_LOGIT - torch.quantile(best, 1 - _SHARE_OF_PLACES)
    for layer in layers:
        layer.weight.mul_(factor)
        layer.bias.fill_(float(shift))


def _answers(result: Results) -> dict[str, NDArray[np.generic]]:
    """Return the objects that Ultralytics finds, as arrays in pixels."""
    found: dict[str, NDArray[np.generic]] = {}
    if result.probs is not None:
        found["probabilities"] = result.probs.data.numpy()
    boxes = result.obb if result.obb is not None else result.boxes
    if boxes is not None:
        found["boxes"] = boxes.xyxy.numpy()
        found["scores"], found["classes"] = boxes.conf.numpy(), boxes.cls.numpy()
    if result.obb is not None:
        found["corners"] = result.obb.xyxyxyxy.numpy()
    if result.masks is not None:
        found["masks"] = result.masks.data.numpy().astype(bool)
    if result.keypoints is not None:
        found["keypoints"] = result.keypoints.data.numpy()
    return found


def export(name: str, options: dict[str, bool], folder: Path) -> None:
    """Write ``folder/NAME.npz``: outputs for two images, and Ultralytics' results."""
    yolo = YOLO(f"{name}.yaml")
    _add_objects(yolo.model)
    path = Path(str(yolo.export(format="onnx", imgsz=_SIDE, simplify=False, opset=17, **options)))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    image = _image(_SHOWN)
    outputs = session.run(None, {feed: _tensor(image)})
    other = session.run(None, {feed: _tensor(_image(_SHOWN + 1))})
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    judge = YOLO(str(path))
    (result,) = judge.predict(
        image[..., ::-1], imgsz=_SIDE, conf=_SCORE, iou=_IOU, verbose=False, rect=False
    )
    label = "-".join([name, *(f"{key}={value}" for key, value in options.items())])
    arrays = {
        **{f"output{i}": each for i, each in enumerate(outputs)},
        **{f"other{i}": each for i, each in enumerate(other)},
        **_answers(result),
        "metadata": np.array(json.dumps(metadata)),
    }
    np.savez(folder / f"{label}.npz", allow_pickle=False, **arrays)
    path.unlink()


def main() -> None:
    """Export the given networks, each with its options as JSON: NAME or NAME={"nms": true}."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs="+")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for network in arguments.networks:
        name, _, options = network.partition("=")
        try:
            export(name, json.loads(options or "{}"), arguments.folder)
        except Exception as error:  # noqa: BLE001 - one failing network must not hide the others
            print(f"{network}: {type(error).__name__}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
