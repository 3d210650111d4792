# SPDX-License-Identifier: Apache-2.0
"""Loading a Keras file does not run code from it unless the user allows it."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit.cli.main import main
from edgekit.errors import ModelFormatError, UnsafeModelError, UnsupportedModelError
from edgekit.formats.damage import ZIP_DAMAGE
from edgekit.host.convert import convert
from edgekit.host.convert.child import kept_converters
from edgekit.host.worker import keras_config
from edgekit.host.worker.graph_ops import refuse_side_effects
from edgekit.host.worker.keras_file import _SAFE_MODE, load_keras
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.unsafe import refuse_code
from tests.command import edgekit

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]

# Runs ``edgekit convert SOURCE ...`` and returns its exit status and JSON document.
Trial = Callable[..., "tuple[int, dict[str, Any]]"]


def _lambda_file(keras: Any, path: Path) -> Path:  # noqa: ANN401
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8,)), layers.Lambda(lambda x: x * 2, name="doubler"), layers.Dense(2)]
    )
    model.save(path)
    return path


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_lambda_layers_are_refused_and_named(keras: Any, tmp_path: Path, name: str) -> None:  # noqa: ANN401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = _lambda_file(keras, tmp_path / name)
    with pytest.raises(UnsafeModelError, match="doubler") as caught:
        convert(path, data="random", output=tmp_path / "m.tflite")
    assert "--trust-source" in caught.value.fix
    assert not (tmp_path / "m.tflite").exists()


def test_a_trusted_file_converts(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    path = _lambda_file(keras, tmp_path / "model.keras")
    result = convert(path, data="random", output=tmp_path / "m.tflite", trust_source=True)
    assert result.enforced


def _payload(keras: Any, sprung: Path, path: Path) -> Path:  # noqa: ANN401
    """A network whose Lambda layer creates the file ``sprung`` when it is called."""
    function = eval(f"lambda x: (open({str(sprung)!r}, 'w').close(), x)[1]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers = keras.layers
        keras.Sequential([layers.InputLayer((8,)), layers.Lambda(function), layers.Dense(2)]).save(
            str(path)
        )
    sprung.unlink()  # building the network called it
    return path


def _words(source: Path, *words: str) -> list[str]:
    output = str(source.parent / "m.tflite")
    return ["convert", str(source), "--data", "random", "-o", output, "--json", *words]


@pytest.fixture
def trial(capfd: pytest.CaptureFixture[str]) -> Trial:
    """The command line in this process, so that conversions share one with TensorFlow."""

    def run(source: Path, *words: str) -> tuple[int, dict[str, Any]]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(_words(source, *words))
        assert isinstance(ended.value.code, int)
        return ended.value.code, json.loads(capfd.readouterr().out)

    return run


def test_a_file_that_is_hdf5_and_zip_is_refused_by_convert(
    keras_file: Path, tmp_path: Path, trial: Trial
) -> None:
    """Its zip directory, at the end, shows a harmless network; its HDF5 head a Lambda layer."""
    tf_keras = pytest.importorskip("tf_keras")
    sprung = tmp_path / "sprung"
    path = _payload(tf_keras, sprung, tmp_path / "both.h5")
    status, document = trial(path, "--trust-source")
    assert (status, sprung.exists()) == (0, True)  # the payload works
    sprung.unlink()
    hdf5 = path.read_bytes()
    path.write_bytes(hdf5 + keras_file.read_bytes())
    with zipfile.ZipFile(path) as archive:
        assert "config.json" in archive.namelist()
    for name in ("both.h5", "both.keras"):
        source = path.rename(tmp_path / name)
        status, document = trial(source)
        assert (status, document["code"]) == (3, "model.unsafe")
        assert not sprung.exists()
        path = source


def test_hdf5_after_a_user_block_that_is_an_archive_is_refused(
    keras_file: Path, tmp_path: Path, trial: Trial
) -> None:
    """HDF5 looks for its head at 0, 512, 1024, 2048 ... bytes."""
    h5py = pytest.importorskip("h5py")
    inner = tmp_path / "inner.h5"
    with h5py.File(inner, "w", userblock_size=512) as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Lambda", "config": {}})
    path = tmp_path / "both.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with path.open("rb") as head:
        first = head.read(512)
    path.write_bytes(first.ljust(512, b"\0") + inner.read_bytes()[512:] + keras_file.read_bytes())
    assert h5py.is_hdf5(path)
    assert zipfile.is_zipfile(path)
    status, document = trial(path)
    assert (status, document["code"]) == (3, "model.unsafe")


def test_a_lambda_is_refused_by_convert_with_the_reason(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    path = _payload(keras, tmp_path / "sprung", tmp_path / "model.keras")
    done = edgekit(*_words(path))
    document = json.loads(done.stdout)
    assert (done.returncode, document["code"]) == (3, "model.unsafe")
    assert "lambda" in document["what"]
    assert not (tmp_path / "sprung").exists()
    explained = edgekit("explain", document["code"])
    assert explained.returncode == 0
    assert "--trust-source" in explained.stdout


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_refusals_of_keras_itself_are_recognized(name: str, tmp_path: Path) -> None:
    """Each Keras's message for a lambda: another Keras must not be tried after it."""
    module = pytest.importorskip(name)
    path = _payload(module, tmp_path / "sprung", tmp_path / "model.keras")
    with pytest.raises((ValueError, TypeError)) as caught:
        module.models.load_model(path, safe_mode=True)
    assert _SAFE_MODE.search(str(caught.value))
    assert not (tmp_path / "sprung").exists()


def test_layers_that_keras_3_removed_still_load(tmp_path: Path) -> None:
    """Keras 3 reports "not a KerasSaveable subclass" for them, which is not a refusal of code."""
    tf_keras = pytest.importorskip("tf_keras")
    layers = tf_keras.layers
    path = tmp_path / "old.keras"
    tf_keras.Sequential(
        [layers.InputLayer((8, 8, 3)), layers.ThresholdedReLU(0.5), layers.Flatten()]
    ).save(str(path))
    assert load_keras(str(path), trust_source=False).loader.startswith("tf_keras")


def test_keras_files_with_any_suffix_convert(keras_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(keras_file.read_bytes())
    assert convert(path, data="random", output=tmp_path / "m.tflite").enforced


def _with_array(path: Path, **options: Any) -> Path:  # noqa: ANN401
    """An HDF5 file whose root has one array, made with the options of h5py."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {}})
        file.create_dataset("array", dtype="f4", **options)
    return path


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    path = _with_array(tmp_path / "m.h5", shape=(16,), external=[(str(secret), 0, 64)])
    with pytest.raises(UnsafeModelError, match="array is stored in another file"):
        convert(path, data="random", output=tmp_path / "m.tflite")


def test_links_to_other_files_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = _with_array(tmp_path / "m.h5", shape=(16,))
    with h5py.File(path, "a") as file:
        file["there"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
    with pytest.raises(UnsafeModelError, match="/there is a link"):
        convert(path, data="random", output=tmp_path / "m.tflite")


def test_arrays_that_are_not_stored_are_refused(tmp_path: Path) -> None:
    path = _with_array(tmp_path / "m.h5", shape=(1 << 40,), chunks=(1 << 10,))
    with pytest.raises(UnsafeModelError, match="declares 4398046511104 bytes and stores 0"):
        convert(path, data="random", output=tmp_path / "m.tflite")


def test_the_sizes_of_arrays_that_are_not_stored_are_added_up(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = _with_array(tmp_path / "m.h5", shape=(16,))
    with h5py.File(path, "a") as file:
        for name in "abc":  # each below the limit
            file.create_dataset(name, (25 << 20,), "<f4", chunks=(1 << 10,))
    with pytest.raises(UnsafeModelError, match="all together it declares 314572"):
        convert(path, data="random", output=tmp_path / "m.tflite")


def test_an_archive_that_unpacks_to_far_more_is_refused(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name in "abc":  # each below the limit
            archive.writestr(f"assets/{name}", bytes(100 << 20))
    with pytest.raises(ModelFormatError, match="damaged") as caught:
        convert(path, data="random", output=tmp_path / "m.tflite")
    assert "its members declare" in caught.value.why


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_configuration_that_requires_gigabytes_is_an_error(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    path, huge = tmp_path / "m.keras", tmp_path / "huge.keras"
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]).save(path)
    with zipfile.ZipFile(path) as sound, zipfile.ZipFile(huge, "w") as archive:
        for name in sound.namelist():
            content = sound.read(name).replace(b'"units": 2', b'"units": 24000')
            archive.writestr(name, content.replace(b"[null, 8]", b"[null, 24000]"))
    with pytest.raises(UnsupportedModelError, match="far more memory than the size of its file"):
        convert(huge, data="random", output=tmp_path / "m.tflite")


def test_the_child_catches_everything_that_a_damaged_archive_raises() -> None:
    assert set(keras_config.DAMAGE) == set(ZIP_DAMAGE)


def _write_file(place: str) -> Any:  # noqa: ANN401
    import tensorflow as tf  # noqa: PLC0415

    return tf.compat.v1.write_file(place, "x")


def _save_tensor(place: str) -> Any:  # noqa: ANN401
    import tensorflow as tf  # noqa: PLC0415

    return tf.raw_ops.SaveV2(
        prefix=place, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.ones(2)]
    )


def _cache_data(place: str) -> Any:  # noqa: ANN401
    import tensorflow as tf  # noqa: PLC0415

    numbers = tf.data.Dataset.range(3).cache(place)
    return numbers.reduce(tf.constant(0, tf.int64), lambda sum_, each: sum_ + each).op


def _run_hidden_graph(_place: str) -> Any:  # noqa: ANN401
    import tensorflow as tf  # noqa: PLC0415

    graph = tf.compat.v1.GraphDef().SerializeToString()
    return tf.raw_ops.DatasetFromGraph(graph_def=graph).op


def _debug_into_file(place: str) -> Any:  # noqa: ANN401
    import tensorflow as tf  # noqa: PLC0415

    return tf.raw_ops.DebugNanCount(input=tf.ones(2), debug_urls=[f"file://{place}"]).op


@pytest.mark.parametrize(
    ("act", "name"),
    [
        (_write_file, "WriteFile"),
        (_save_tensor, "SaveV2"),
        (_cache_data, "CacheDataset"),
    ],
)
def test_a_saved_model_that_writes_files_when_loaded_is_refused(
    tmp_path: Path, act: Callable[[str], Any], name: str, trial: Trial
) -> None:
    sprung = tmp_path / "sprung"
    status, _ = trial(_writing_saved_model(tmp_path / "trusted", sprung, act), "--trust-source")
    assert (status, bool(list(tmp_path.glob("sprung*")))) == (0, True)  # loading it runs it
    for each in tmp_path.glob("sprung*"):
        each.unlink()
    status, document = trial(_writing_saved_model(tmp_path / "model", sprung, act))
    assert (status, document["code"]) == (3, "model.unsafe")
    assert name in document["what"]
    assert not list(tmp_path.glob("sprung*"))


@pytest.mark.parametrize("act", [_run_hidden_graph, _debug_into_file])
def test_a_graph_with_side_effects_is_refused(
    tmp_path: Path, act: Callable[[str], Any], trial: Trial
) -> None:
    """It is refused even if this TensorFlow would not reach the damage."""
    status, document = trial(_writing_saved_model(tmp_path / "model", tmp_path / "sprung", act))
    assert (status, document["code"]) == (3, "model.unsafe")


@pytest.mark.parametrize(
    "name", ["CalibrationStatisticsSaver", "DumpTensor", "RpcClient", "DataServiceDatasetV4"]
)
def test_operations_with_a_path_or_an_address_are_refused(name: str) -> None:
    import tensorflow as tf  # noqa: PLC0415

    graph = tf.compat.v1.GraphDef()
    graph.library.function.add().node_def.add(name="hidden", op=name)
    with pytest.raises(Refused, match=name) as caught:
        refuse_side_effects([graph], "file")
    assert caught.value.code == "model.unsafe"


@pytest.mark.parametrize("generation", ["keras", "tf_keras"])
def test_a_saved_model_that_has_only_its_own_saver_converts(
    tmp_path: Path, generation: str, trial: Trial
) -> None:
    keras = pytest.importorskip(generation)
    network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    place = tmp_path / "model"
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        network.export(str(place)) if generation == "keras" else network.save(str(place))
    assert b"SaveV2" in (place / "saved_model.pb").read_bytes()
    assert trial(place)[0] == 0


def _writing_saved_model(folder: Path, sprung: Path, act: Callable[[str], Any]) -> Path:
    import tensorflow as tf  # noqa: PLC0415

    v1 = tf.compat.v1
    with warnings.catch_warnings(), tf.Graph().as_default(), v1.Session() as session:
        warnings.simplefilter("ignore")
        image = v1.placeholder(tf.float32, (1, 8), "image")
        answer = tf.nn.relu(tf.matmul(image, tf.ones((8, 2))))
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def({"image": image}, {"answer": answer})
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={"serving_default": signature},
            main_op=act(str(sprung)),
        )
        builder.save()
    return folder


def _edited(keras_file: Path, path: Path, **change: Any) -> Path:  # noqa: ANN401
    """A copy of ``keras_file`` whose first layer's entry is changed."""
    with zipfile.ZipFile(keras_file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1].update(change)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return path


def test_a_module_that_the_file_names_is_never_imported(
    keras_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').close()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = _edited(keras_file, tmp_path / "evil.keras", module="trap", class_name="Layer")
    # A new process, which can import the trap.
    with kept_converters(), pytest.raises(UnsafeModelError, match="imported from the module trap"):
        convert(path, data="random", output=tmp_path / "m.tflite")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "TFSMLayer", "config": {"name": "x", "filepath": "/tmp/x"}},
        {"class_name": "function", "module": "keras.utils", "config": "get_file"},
        {"class_name": "function", "module": "builtins", "config": "exec"},
        {"class_name": "breakpoint", "module": "builtins", "config": {}},
        {"class_name": "Dense", "module": "os", "config": {}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "io.write_file"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "py_function"}},
        {"deep": [{"class_name": "Lambda", "config": {"name": "x"}}]},
        # The class under another spelling: Keras joins module and name, or uses the other key.
        {"class_name": "layers.Lambda", "module": "keras", "config": {"name": "x"}},
        {"class_name": "x", "registered_name": "Lambda", "module": "keras.layers", "config": {}},
        {"class_name": "os.system", "module": "keras.src.layers.core.tf_op_layer", "config": {}},
        # Keras's own functions that read files, download, or switch off its safe mode.
        {"class_name": "get_file", "module": "keras.utils", "config": {}},
        {"class_name": "function", "module": "keras", "config": "utils.get_file"},
        {"class_name": "function", "module": "keras.models", "config": "load_model"},
        {"class_name": "function", "module": "keras.src.models.model", "config": "model_from_json"},
        {
            "class_name": "function",
            "module": "keras.config",
            "config": "enable_unsafe_deserialization",
        },
        {
            "class_name": "function",
            "module": "keras.src.backend.common.global_state",
            "config": "os.system",
        },
        {"class_name": "__typespec__", "spec_name": "Popen", "module": "subprocess", "config": []},
        {"config": {"residual_fn": ["code"], "residual_fn_type": "lambda"}},
        {"class_name": "TFOpLambda", "config": {"function": "compat.v1.gfile.DeleteRecursively"}},
        {"class_name": "TFOpLambda", "config": {"function": "compat.v1.write_file"}},
        {"class_name": "ClassMethod", "config": {"cls_symbol": "io.gfile.GFile"}},
        {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
    ],
)
def test_configurations_that_lead_to_code_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        refuse_code(config, "file")
    assert caught.value.code == "model.unsafe"


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "Dense", "module": "keras.layers", "config": {"name": "x"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "math.multiply"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "__operators__.add"}},
        {"class_name": "function", "module": "builtins", "config": "relu"},
        {"class_name": "function", "module": "keras.activations", "config": "relu"},
        {"class_name": "Functional", "module": "keras.src.models.functional", "config": {}},
        {"class_name": "Functional", "module": "tf_keras.src.engine.functional", "config": {}},
        {"class_name": "DTypePolicy", "module": "keras", "config": {"name": "float32"}},
        {"class_name": "Add", "module": "keras.src.ops.numpy", "config": {}},
        {"class_name": "TFOpLambda", "config": {"function": "compat.v1.nn.conv2d"}},
        {"class_name": "TFOpLambda", "config": {"function": "keras.backend.mean"}},
        {"class_name": "MyLayer", "registered_name": "mine>MyLayer", "module": None, "config": {}},
    ],
)
def test_ordinary_layers_are_accepted(config: dict[str, Any]) -> None:
    refuse_code(config, "file")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_keras_files_are_damaged_files(
    keras_file: Path, tmp_path: Path, share: float
) -> None:
    content = keras_file.read_bytes()
    path = tmp_path / "cut.keras"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFormatError):
        convert(path, data="random", output=tmp_path / "m.tflite")


def test_weights_without_a_network_are_refused(
    keras_file: Path,
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras.models.load_model(keras_file).save_weights(tmp_path / "only.weights.h5")
    shutil.move(str(tmp_path / "only.weights.h5"), str(tmp_path / "only.h5"))
    with pytest.raises(ModelFormatError, match="not contain a Keras network"):
        convert(tmp_path / "only.h5", data="random", output=tmp_path / "m.tflite")
