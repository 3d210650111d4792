# SPDX-License-Identifier: Apache-2.0
"""Check that a bundle is complete and unchanged, and that its parts belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.bundle.here import Fit, compare_with_here
from edgekit.bundle.requirements import requirements
from edgekit.bundle.results import of_these, results_in
from edgekit.bundle.signing import check_signature
from edgekit.data import parse_preprocess
from edgekit.errors import BundleError, InputError, UsageError
from edgekit.files import PathLike, read_bytes, sha256_hex
from edgekit.formats.bundle import Bundle, Manifest, is_bundle, read_bundle
from edgekit.formats.darwinn.belongs import check_belongs
from edgekit.formats.tflite import Model, read_model
from edgekit.result import Result
from edgekit.tasks import check_task
from edgekit.versions import CURRENT_RUNTIME_VERSION


@dataclass(frozen=True)
class VerifyResult(Result):
    """A bundle that passed all checks."""

    schema: ClassVar[str] = "edgekit.verify/2"
    bundle: str
    sha256: str  # of the plain model in it
    bundle_sha256: str  # of the bundle itself
    bytes: int  # of the bundle
    manifest: Manifest
    signature: str  # "none" | "not checked" | "valid"
    checked: tuple[str, ...]  # descriptions of what was compared
    here: tuple[Fit, ...]  # its requirements compared with this machine


def verify(bundle: PathLike, *, verify_key: PathLike | None = None) -> VerifyResult:
    """Check a bundle: its hashes, its signature, its versions, and that its models belong together.

    Its requirements are also compared with what is installed here; a machine that cannot run it,
    or without an Edge TPU, can still verify it.

    Args:
        bundle: The file.
        verify_key: A public key; its owner must have signed the bundle.

    Raises:
        BundleError: A check failed; the message names it.
        ModelFormatError: A model in it is damaged.
        InputError: A file cannot be read, or is not a bundle.
        MissingExtraError: ``verify_key`` needs the package cryptography.
    """
    content, where = read_bytes(bundle, "bundle"), str(bundle)
    if not is_bundle(content) and not content.startswith(b"PK"):
        raise InputError(
            "this is not a bundle",
            where=where,
            fix="make one: edgekit bundle MODEL -o NAME.edgekit",
        )
    whole = read_bundle(content, where)
    signature = "not checked" if whole.signature else "none"
    if verify_key is not None:
        check_signature(whole.manifest_content, whole.signature, verify_key, where)
        signature = "valid"
    checked = [f"{len(whole.files)} files have the hashes of the manifest"]
    plain = read_model(whole.model, where=f"{where}, model")
    compiled = None
    if whole.compiled is not None:
        compiled = read_model(whole.compiled, where=f"{where}, compiled model")
        check_belongs(plain, compiled, where)
        checked.append("the compiled model was made from the plain one")
    checked.append(_check_versions(whole, plain, compiled, where))
    checked += _check_contents(whole, where)
    _check_use(whole.manifest, where)
    return VerifyResult(
        bundle=where,
        sha256=sha256_hex(whole.model),
        bundle_sha256=sha256_hex(content),
        bytes=len(content),
        manifest=whole.manifest,
        signature=signature,
        checked=tuple(checked),
        here=compare_with_here(whole.manifest),
    )


def _check_versions(whole: Bundle, plain: Model, compiled: Model | None, where: str) -> str:
    real, given = requirements(plain, compiled), whole.manifest.requires
    for name, value in real.items():
        if given.get(name) != value:
            raise BundleError(
                f"the manifest requires {name} {given.get(name)!r}, the models need {value!r}",
                where=where,
                fix="make the bundle again with edgekit bundle",
            )
    version = real["edgetpu_runtime"]
    if isinstance(version, int) and version > CURRENT_RUNTIME_VERSION:
        raise BundleError(
            f"the compiled model needs runtime version {version}",
            where=where,
            why=f"{CURRENT_RUNTIME_VERSION} is the last version that exists",
        )
    words = [f"TensorFlow Lite {real['tensorflow_lite'] or 'of any release'}"]
    words += [f"Edge TPU runtime {version}"] if version is not None else []
    return f"the models need {' and '.join(words)}, as the manifest states"


def _check_contents(whole: Bundle, where: str) -> list[str]:
    """Check that labels and results agree with the manifest."""
    manifest = whole.manifest
    if len(whole.labels) != manifest.num_labels:
        raise BundleError(
            f"{len(whole.labels)} labels, the manifest states {manifest.num_labels}", where=where
        )
    hashes = {manifest.source_sha256, *manifest.origins, *map(sha256_hex, _models(whole))}
    results = results_in(whole, where)
    others = sorted(results.keys() - of_these(results, hashes).keys())
    if others:
        raise BundleError(f"{', '.join(others)} is of another model", where=where)
    return [f"{len(results)} results are of these models"] if results else []


def _check_use(manifest: Manifest, where: str) -> None:
    """Check that this edgekit supports the preprocessing and the task."""
    try:
        parse_preprocess(manifest.preprocess or None)
        if manifest.task:
            check_task(manifest.task)
    except UsageError as error:
        raise BundleError(
            f"this edgekit does not support the manifest: {error.what}",
            where=where,
            fix="use the edgekit that made the bundle, or make it again with edgekit bundle",
        ) from error


def _models(whole: Bundle) -> list[bytes]:
    return [whole.model] + ([whole.compiled] if whole.compiled is not None else [])
