# SPDX-License-Identifier: Apache-2.0
"""Write a small network of PyTorch; run by an interpreter that has torch.

``python make_torch.py VARIANT FILE``: a classifier of images of 32 x 32 pixels in NCHW, with
convolutions, a batch normalization, a padded max pooling and a dense layer.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch

SIZE, CLASSES = 32, 10


class Net(torch.nn.Module):  # type: ignore[misc] # torch is not in edgekit's environment
    """A network with the traps of PyTorch's exports."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.norm = torch.nn.BatchNorm2d(16)
        self.depthwise = torch.nn.Conv2d(16, 16, 3, 1, 1, groups=16)
        self.pool = torch.nn.MaxPool2d(3, 2, 1)
        self.dense = torch.nn.Linear(16, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(images)))
        x = self.pool(torch.nn.functional.hardswish(self.depthwise(x)))
        return self.dense(x.mean((2, 3)))


class TwoEnds(torch.nn.Module):  # type: ignore[misc] # as above
    """Two inputs, and two outputs in a dictionary whose order is not that of the alphabet."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = torch.nn.Conv2d(3, 8, 3), torch.nn.Linear(4, 8)

    def forward(self, image: torch.Tensor, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        x = torch.relu(self.left(image)).mean((2, 3))
        y = torch.relu(self.right(numbers))
        return {"sum": x + y, "far": x * 3.0}


class Evil:
    """An object whose pickle writes a file when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (Path("evil.txt"), "read")


def network() -> Net:
    """Return the classifier with fixed random weights and spread answers."""
    torch.manual_seed(0)
    net = Net()
    net.eval()
    with torch.no_grad():
        net.dense.weight.mul_(8.0)
    return net


def main(variant: str, path: str) -> None:
    """Write one variant."""
    net, image = network(), torch.rand(2 if variant == "dynamic" else 1, 3, SIZE, SIZE)
    if variant == "pickle":
        # The class is found beside this file only: as in a training program.
        sys.modules["make_torch"] = sys.modules["__main__"]
        Net.__module__ = "make_torch"
        torch.save(net, path)
    elif variant == "checkpoint":
        torch.save({"epoch": 3, "model": torch.nn.Sequential(net.stem, torch.nn.ReLU())}, path)
    elif variant == "weights":
        torch.save(net.state_dict(), path)
    elif variant == "old_weights":
        torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)
    elif variant == "script":
        torch.jit.script(net).save(path)
    elif variant == "evil_pickle":
        torch.save(Evil(), path)
    else:
        _program(variant, net, image, path)


def _program(variant: str, net: torch.nn.Module, image: torch.Tensor, path: str) -> None:
    inputs: tuple[torch.Tensor, ...] = (image,)
    shapes: Any = None
    if variant == "dynamic":
        shapes = ({0: torch.export.Dim("N"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    elif variant == "float16":
        net, inputs = net.half(), (image.half(),)
    elif variant == "two":
        net, inputs = TwoEnds().eval(), (image, torch.rand(1, 4))
    torch.export.save(torch.export.export(net, inputs, dynamic_shapes=shapes), path)
    if variant.startswith("evil"):
        _poison(Path(path), variant)


def _poison(path: Path, variant: str) -> None:
    """Replace an entry of an exported program by one that runs code."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    graph = next(name for name in entries if name.endswith("models/model.json"))
    if variant == "evil_inputs":
        torch.save(Evil(), path)
        entries[next(name for name in entries if name.endswith("model.pt"))] = path.read_bytes()
    elif variant == "evil_target":
        program = json.loads(entries[graph])
        program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"
        entries[graph] = json.dumps(program).encode()
    elif variant == "evil_shape":
        program = json.loads(entries[graph])
        program["range_constraints"] = {"exec('import os')": {"min_val": 1, "max_val": 2}}
        entries[graph] = json.dumps(program).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


if __name__ == "__main__":
    main(*sys.argv[1:])
