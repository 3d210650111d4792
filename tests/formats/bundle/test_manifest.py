# SPDX-License-Identifier: Apache-2.0
"""Bundles in memory: complete, unchanged, or refused."""

from __future__ import annotations

import dataclasses
import json

import pytest

from edgekit.errors import BundleError, UnsupportedModelError
from edgekit.files import sha256_hex
from edgekit.formats.bundle import (
    MANIFEST_PATH,
    BundleFile,
    Manifest,
    is_bundle,
    model_content,
    parse_manifest,
    read_bundle,
    write_archive,
    write_bundle,
)

_CONTENT = b"a model"
_FILE = BundleFile("model.tflite", "model", len(_CONTENT), sha256_hex(_CONTENT))
_MANIFEST = Manifest("net", "0.1.0", (_FILE,), sha256_hex(b"source"), task="classification")
_BUNDLE = write_bundle(_MANIFEST, [(_FILE, _CONTENT)])


def test_a_bundle_is_read_as_it_was_written() -> None:
    bundle = read_bundle(_BUNDLE)
    assert bundle.manifest == _MANIFEST
    assert bundle.model == _CONTENT
    assert (bundle.compiled, bundle.labels, bundle.signature) == (None, (), b"")


def test_a_bundle_is_recognized_even_if_truncated() -> None:
    assert is_bundle(_BUNDLE)
    assert is_bundle(_BUNDLE[: len(_BUNDLE) // 2])
    assert not is_bundle(_CONTENT)
    assert not is_bundle(write_archive([("config.json", b"{}")]))


def test_a_model_is_its_own_content() -> None:
    assert model_content(_CONTENT) == _CONTENT
    assert model_content(_BUNDLE) == _CONTENT


def test_a_missing_compiled_model_is_an_error_with_a_fix() -> None:
    with pytest.raises(UnsupportedModelError, match="no model for the Edge TPU") as caught:
        model_content(_BUNDLE, compiled=True, where="net.edgekit")
    assert "--compiled" in caught.value.fix


def test_a_bundle_without_its_manifest_was_never_finished() -> None:
    with pytest.raises(BundleError, match=r"no manifest\.json at its end"):
        read_bundle(write_archive([("model.tflite", _CONTENT)]))


def test_a_changed_file_in_a_bundle_is_detected() -> None:
    with pytest.raises(BundleError, match="not the file that the manifest names"):
        read_bundle(write_bundle(_MANIFEST, [(_FILE, b"a modem")]))


def test_an_extra_or_a_missing_file_is_detected() -> None:
    extra = dataclasses.replace(_FILE, path="extra")
    with pytest.raises(BundleError, match="extra is not named"):
        read_bundle(write_bundle(_MANIFEST, [(_FILE, _CONTENT), (extra, b"x")]))
    with pytest.raises(BundleError, match="is missing"):
        read_bundle(write_bundle(_MANIFEST, []))


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "edgekit.bundle/2"},
        {"schema": None},
        {"files": None},
        {"files": [{"path": "model.tflite"}]},
        {"files": ["model.tflite"]},
        {"num_labels": "three"},
        {"num_labels": True},
        {"requires": []},
    ],
)
def test_a_manifest_of_other_types_is_refused(change: dict[str, object]) -> None:
    document = {**json.loads(_MANIFEST.to_json()), **change}
    with pytest.raises(BundleError):
        parse_manifest(json.dumps(document).encode())


def test_fields_of_a_later_edgekit_are_ignored() -> None:
    document = {**json.loads(_MANIFEST.to_json()), "later": 1}
    assert parse_manifest(json.dumps(document).encode()) == _MANIFEST


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_file_that_is_not_a_manifest_is_refused(content: bytes) -> None:
    archive = write_archive([("model.tflite", _CONTENT), (MANIFEST_PATH, content)])
    with pytest.raises(BundleError):
        read_bundle(archive)


def test_the_origins_of_the_models_are_hashes_and_may_be_missing() -> None:
    document = json.loads(_MANIFEST.to_json())
    del document["origins"]
    assert parse_manifest(json.dumps(document).encode()) == _MANIFEST
    for origins in (1, "abc", [1]):
        with pytest.raises(BundleError, match="origins is"):
            parse_manifest(json.dumps({**document, "origins": origins}).encode())
