# SPDX-License-Identifier: Apache-2.0
"""Signed bundles are refused unless this key signed them and they are unchanged."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from edgekit.bundle import bundle, verify
from edgekit.errors import BundleError, InputError
from edgekit.formats.bundle import read_bundle, write_bundle

pytest.importorskip("cryptography", reason="cryptography (the extra sign) is not installed")
_OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(_OPENSSL is None, reason="openssl makes the keys and is not here")


def _openssl(*args: object) -> None:
    subprocess.run([str(_OPENSSL), *map(str, args)], check=True, capture_output=True)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key as openssl writes them."""
    return _make_keys(tmp_path / "key.pem")


def _make_keys(private: Path, algorithm: str = "ed25519") -> tuple[Path, Path]:
    public = private.with_suffix(".pub.pem")
    _openssl("genpkey", "-algorithm", algorithm, "-out", private)
    _openssl("pkey", "-in", private, "-pubout", "-out", public)
    return private, public


def test_a_signed_bundle_is_valid_for_its_key(
    model: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "net.edgekit"
    assert bundle(model, output=output, sign=keys[0]).signed
    assert verify(output, verify_key=keys[1]).signature == "valid"
    assert verify(output).signature == "not checked"


def test_a_bundle_made_again_from_a_signed_one_is_reported_as_unsigned(
    model: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = tmp_path / "net.edgekit", tmp_path / "again.edgekit"
    bundle(model, output=first, sign=keys[0])
    assert any("signature" in each for each in bundle(first, output=second).warnings)
    assert verify(second).signature == "none"
    again = bundle(first, output=second, sign=keys[0])
    assert not any("signature" in each for each in again.warnings)
    assert second.read_bytes() == first.read_bytes()


def test_openssl_accepts_the_signature(
    model: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    bundle(model, output=tmp_path / "net.edgekit", sign=keys[0])
    with zipfile.ZipFile(tmp_path / "net.edgekit") as archive:
        archive.extractall(tmp_path / "out")
    manifest, signature = (tmp_path / "out" / f"manifest.{end}" for end in ("json", "sig"))
    given = ("-pubin", "-inkey", keys[1], "-rawin", "-in", manifest, "-sigfile", signature)
    _openssl("pkeyutl", "-verify", *given)


def test_another_key_is_refused(model: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    bundle(model, output=tmp_path / "net.edgekit", sign=keys[0])
    _, other = _make_keys(tmp_path / "other.pem")
    with pytest.raises(BundleError, match="not by the owner"):
        verify(tmp_path / "net.edgekit", verify_key=other)


def test_a_bundle_made_again_with_an_old_signature_is_refused(
    model: Path, other_model: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    good, forged = tmp_path / "good.edgekit", tmp_path / "forged.edgekit"
    bundle(model, output=good, sign=keys[0])
    bundle(other_model, output=forged)
    whole = read_bundle(forged.read_bytes())
    files = [(entry, whole.files[entry.path]) for entry in whole.manifest.files]
    signature = read_bundle(good.read_bytes()).signature
    forged.write_bytes(write_bundle(whole.manifest, files, signature))
    assert verify(forged).signature == "not checked"
    with pytest.raises(BundleError, match="not by the owner"):
        verify(forged, verify_key=keys[1])


def test_an_unsigned_bundle_is_refused_if_a_signature_is_required(
    model: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    bundle(model, output=tmp_path / "net.edgekit")
    with pytest.raises(BundleError, match="is not signed"):
        verify(tmp_path / "net.edgekit", verify_key=keys[1])


def test_a_key_of_another_kind_is_refused(model: Path, tmp_path: Path) -> None:
    private, public = _make_keys(tmp_path / "rsa.pem", "RSA")
    output = tmp_path / "net.edgekit"
    bundle(model, output=output)
    with pytest.raises(InputError, match="readable Ed25519 public"):
        verify(output, verify_key=public)
    with pytest.raises(InputError, match="readable Ed25519 private"):
        bundle(model, output=tmp_path / "again.edgekit", sign=private)


def test_a_file_that_is_not_a_key_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="readable Ed25519 private key"):
        bundle(model, output=tmp_path / "net.edgekit", sign=model)
