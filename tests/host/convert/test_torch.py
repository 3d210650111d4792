# SPDX-License-Identifier: Apache-2.0
"""PyTorch as a source: exported programs and modules through litert-torch, compared with torch.

The tests of whole conversions need an interpreter with litert-torch, named by the environment
variable EDGEKIT_TORCH_PYTHON; the others need only edgekit's own environment.
"""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import check
from edgekit.errors import (
    EdgeKitError,
    ModelFormatError,
    UnsafeModelError,
)
from edgekit.host.convert import convert
from edgekit.host.convert.importer import ImporterChild
from edgekit.host.convert.source_check import source_inputs
from edgekit.host.convert.sources import find_source
from edgekit.host.convert.torch_files import untrusted
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.torch_archive import pickled_names, refuse_code
from tests.host.convert.foreign import HERE, TORCH, check_missing_converter, wrong_operation

pytestmark = pytest.mark.host
_PYTHON = TORCH.python
needs_torch = TORCH.needed
_ROOT = HERE.parents[2]
_PICKLES = ("pickle", "checkpoint", "weights", "old_weights", "script", "evil_pickle")


def made(variant: str, folder: Path) -> Path:
    """Write a network with the interpreter that has torch."""
    return TORCH.made(variant, folder / f"{variant}.{'pt' if variant in _PICKLES else 'pt2'}")


@needs_torch
@pytest.mark.parametrize("variant", ["static", "dynamic", "float16"])
def test_everything_maps_and_the_float_model_is_the_source(
    variant: str, images_32: Path, tmp_path: Path
) -> None:
    result = convert(
        made(variant, tmp_path),
        data=images_32,
        output=tmp_path / "out.tflite",
        converter_python=_PYTHON,
        input_shape=(1, 3, 32, 32) if variant == "dynamic" else None,
    )
    assert result.source_kind == "torch"
    assert result.inputs[0].name == "images"
    assert result.inputs[0].shape == (1, 32, 32, 3)
    assert result.source_agreement is not None
    assert result.source_agreement.relative < 1e-4
    assert {"litert-torch", "torch"} <= set(result.versions)
    report = check(tmp_path / "out.tflite")
    assert report.num_mapped == report.num_operators


@needs_torch
def test_inputs_and_outputs_have_the_order_and_names_of_the_source(tmp_path: Path) -> None:
    random, data = np.random.default_rng(3), tmp_path / "data.npz"
    images = random.random((12, 32, 32, 3), np.float32)
    np.savez(data, image=images, numbers=random.random((12, 4), np.float32))
    result = convert(
        made("two", tmp_path),
        data=data,
        output=tmp_path / "out.tflite",
        converter_python=_PYTHON,
    )
    assert [each.name for each in result.inputs] == ["image", "numbers"]
    assert [each.name for each in result.outputs] == ["sum", "far"]
    assert result.source_agreement is not None
    assert result.source_agreement.relative < 1e-4


@needs_torch
def test_a_wrong_operation_is_named(tmp_path: Path) -> None:
    """The weights of the depthwise convolution of the .tflite are changed."""
    image = np.random.default_rng(2).random((1, 32, 32, 3), np.float32)
    given = source_inputs([image], [(1, 3, 32, 32)])
    wrong = ("DEPTHWISE_CONV_2D", 0)
    error = wrong_operation(made("static", tmp_path), _PYTHON, (given, given), wrong)
    assert "conv2d of depthwise" in error.where


@needs_torch
@pytest.mark.parametrize("variant", ["script", "checkpoint"])
def test_a_trusted_pickle_is_exported(variant: str, images_32: Path, tmp_path: Path) -> None:
    result = convert(
        made(variant, tmp_path),
        data=images_32,
        output=tmp_path / "out.tflite",
        converter_python=_PYTHON,
        trust_source=True,
        input_shape=(1, 3, 32, 32),
    )
    assert result.source_kind == "torch_pickle"
    assert result.source_agreement is not None
    assert result.source_agreement.relative < 1e-4


@needs_torch
@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("evil_inputs", "imports"),
        ("evil_target", "torch.hub.load"),
        ("evil_shape", "exec"),
        ("evil_pickle", "pathlib.Path"),
    ],
)
def test_code_in_a_file_does_not_run(
    variant: str, reason: str, images_32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = made(variant, tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeModelError) as caught:
        convert(source, data=images_32, output=tmp_path / "o.tflite", converter_python=_PYTHON)
    assert reason in caught.value.why
    assert "--trust-source" in caught.value.fix
    assert not (tmp_path / "evil.txt").exists()


def _replaced(archive: bytes, ending: str, change: Callable[[bytes], bytes]) -> bytes:
    """Return an archive with the content of the entries changed whose names have this ending."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(stream, "w") as new:
        for each in old.infolist():
            content = old.read(each)
            is_changed = each.filename.endswith(ending)
            new.writestr(each.filename, change(content) if is_changed else content)
    return stream.getvalue()


@needs_torch
def test_a_pickle_that_hides_what_it_imports_does_not_run(
    images_32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are taken from the memo, not from the strings before them."""
    hidden = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x8c\x05torch\x94\x8c\x04Size\x940000"
    hidden += b"h\x00h\x01\x93\x8c\x0etouch evil.txt\x85R."
    inputs = "sample_inputs/model.pt"
    source = _replaced(
        made("static", tmp_path).read_bytes(),
        inputs,
        lambda old: _replaced(old, ".pkl", lambda _: hidden),
    )
    (tmp_path / "changed.pt2").write_bytes(source)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeModelError, match="more than tensors"):
        convert(
            "changed.pt2", data=images_32, output=tmp_path / "o.tflite", converter_python=_PYTHON
        )
    assert not list(tmp_path.glob("**/evil.txt"))


@needs_torch
@pytest.mark.parametrize("variant", ["weights", "old_weights"])
def test_weights_alone_are_named_as_such(variant: str, images_32: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="weights only") as caught:
        convert(made(variant, tmp_path), data=images_32, output=tmp_path / "o.tflite")
    assert "torch.export.save" in caught.value.fix


@needs_torch
def test_a_module_in_python_keeps_its_mode(images_32: Path, tmp_path: Path) -> None:
    program = f"""
import sys
sys.path[:0] = [{str(HERE)!r}, {str(_ROOT)!r}]
sys.path += {[each for each in sys.path if "site-packages" in each]!r}
import edgekit, make_torch
net = make_torch.network().train()
data, shape = {str(images_32)!r}, (1, 3, 32, 32)
result = edgekit.convert(net, data=data, output="o.tflite", input_shape=shape)
assert net.training and net.norm.training
print(result.source, result.inputs[0].shape, result.source_agreement.relative)
"""
    done = subprocess.run(
        [_PYTHON, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("Net (1, 32, 32, 3) ")
    assert float(done.stdout.split()[-1]) < 1e-4


def _saved(value: Any, path: Path) -> Path:  # noqa: ANN401
    """Write a pickle as torch.save does."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(value, protocol=2))
    return path


def test_a_pickle_is_refused_without_trust_and_its_classes_are_named(tmp_path: Path) -> None:
    path = _saved(Path("x"), tmp_path / "net.pt")
    source = find_source(path)
    with pytest.raises(UnsafeModelError) as caught:
        ImporterChild(source, None, None, str(path))
    assert "pathlib." in caught.value.why
    assert "torch.export.save" in caught.value.fix


def test_for_ultralytics_the_message_has_its_own_export(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    content = b"\x80\x02cultralytics.nn.tasks\nDetectionModel\nq\x00."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best/data.pkl", content)
    error = untrusted(path)
    assert isinstance(error, UnsafeModelError)
    assert "yolo export model=best.pt format=onnx" in error.fix


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_names_in_a_pickle_are_read_without_loading_it(protocol: int) -> None:
    content = pickle.dumps([OrderedDict(), io.BytesIO], protocol=protocol)
    assert pickled_names(content) == {"collections OrderedDict", "_io BytesIO"}


def _program_with(name: str, content: bytes, path: Path) -> Path:
    """Write the entries of an exported program, one of them as given."""
    entries = {"net/archive_format": b"pt2", "net/models/model.json": b"{}", name: content}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, stored in entries.items():
            archive.writestr(entry, stored)
    return path


_RUNS = b"cos\nsystem\n(S'touch ran'\ntR."  # without the byte that newer pickles begin with


def _tensors() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(OrderedDict(), protocol=2))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("net/data/sample_inputs/model.pt", _RUNS),
        ("net/data/sample_inputs/model.pt", _RUNS + _tensors()),
        ("net/data/sample_inputs/MODEL.PT", _RUNS),
        ("net/data/Constants/custom_obj_0", b"x"),
        ("net/data/AOTInductor/model/x.so", b"x"),
        ("net/models/other.JSON", b'{"inputs": [], "target": "os.system"}'),
        ("net/models/other.json", b'{"in_spec": "[1, {\\"__enum__\\": true}]"}'),
    ],
)
def test_code_in_an_exported_program_is_found(tmp_path: Path, name: str, content: bytes) -> None:
    """The reader ignores capital letters, and looks at the first bytes of a pickle only."""
    with pytest.raises(Refused) as caught:
        refuse_code(str(_program_with(name, content, tmp_path / "net.pt2")))
    assert caught.value.code == "model.unsafe"


@pytest.mark.parametrize("content", [b'{"config": []}', b'{"config": {"a": "x"}}', b"[1]", b"{"])
def test_a_damaged_list_of_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    name = "net/data/weights/model_weights_config.json"
    with pytest.raises(Refused) as caught:
        refuse_code(str(_program_with(name, content, tmp_path / "net.pt2")))
    assert caught.value.code == "model.format"


def test_a_program_with_plain_tensors_is_not_refused(tmp_path: Path) -> None:
    name = "net/data/sample_inputs/model.pt"
    refuse_code(str(_program_with(name, _tensors(), tmp_path / "net.pt2")))


@pytest.mark.parametrize("how", ["twice", "compressed", "behind"])
def test_an_archive_that_two_readers_could_see_differently_is_refused(
    tmp_path: Path, how: str
) -> None:
    path = _program_with(
        "net/MODELS/model.json" if how == "twice" else "net/x", b"", tmp_path / "a"
    )
    if how == "compressed":
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("net/models/weights", bytes(1000))
    if how == "behind":
        path.write_bytes(b"something else" + path.read_bytes())
    with pytest.raises(Refused) as caught:
        refuse_code(str(path))
    assert caught.value.code == "model.format"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x03\x04" + bytes(200), b"text"])
def test_a_damaged_program_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(content)
    with pytest.raises(Refused) as caught:
        refuse_code(str(path))
    assert caught.value.code == "model.format"


@pytest.mark.parametrize("content", [b"text", b"PK\x03\x04" + bytes(200)])
def test_a_program_that_is_no_archive_is_refused_before_a_converter_is_needed(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError, match="not an exported program of PyTorch"):
        find_source(path)


def test_weights_in_safetensors_are_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(ModelFormatError, match="weights only"):
        find_source(path)


def test_without_litert_torch_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_missing_converter("net.pt2", "torch", tmp_path, monkeypatch)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for suffix in (".pt", ".pth", ".pt2"):
        path = tmp_path / f"net{suffix}"
        path.write_bytes(b"")
        with pytest.raises(EdgeKitError, match="empty"):
            find_source(path)
