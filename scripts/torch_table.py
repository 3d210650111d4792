# SPDX-License-Identifier: Apache-2.0
"""Write docs/pytorch.md: networks of PyTorch and Ultralytics, converted by `convert`.

    python scripts/torch_table.py NETWORKS PHOTOGRAPHS [NAME...] --torch PYTHON --onnx PYTHON

NETWORKS is the folder that torch_networks.py wrote, twice: the second time with --recipe. The
interpreters are those of environments with litert-torch and onnx2tf. The models are kept in
NETWORKS/converted and the results in NETWORKS/results.json, so that a second run goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import check, estimate, files
from edgekit.errors import EdgeKitError
from edgekit.host.convert import ConvertResult, convert
from scripts.torch_networks_list import MADE_OF_MAPPABLE_LAYERS, NAMES

_PAGE = Path(__file__).with_suffix(".txt")
_SAMPLES = 16
_LEAST_SHARE = 0.98


def main() -> None:
    """Convert every network, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("names", nargs="*", help="convert these only")
    parser.add_argument("--torch", required=True)
    parser.add_argument("--onnx", required=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/pytorch.md"))
    words = parser.parse_intermixed_args()
    path = words.networks / "results.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in words.names or NAMES:
        found = sorted(words.networks.glob(f"{name}.[op]*"))
        if name in results or not found:
            continue
        print(name, flush=True)
        python = words.onnx if found[0].suffix == ".onnx" else words.torch
        results[name] = _measured(found[0], words.photographs, python)
        path.write_text(json.dumps(results, indent=1))
    page = _PAGE.read_text().replace("SAMPLES", str(_SAMPLES))
    page = page.replace("ROWS\n", "".join(f"{line}\n" for line in _rows(results)))
    recipe = _recipe_rows(words.networks / "recipe", results)
    page = page.replace("RECIPE\n", "".join(f"{line}\n" for line in recipe))
    files.write_text(words.output, page.replace("COUNTS\n", f"{_counts(results)}\n"))


def _measured(source: Path, photographs: Path, python: str) -> dict[str, Any]:
    """Convert one network; return the figures of its row."""
    is_sequence = source.stem in ("LSTM", "GRU")
    data: Any = list(np.random.default_rng(0).random((_SAMPLES, 16, 8), np.float32))
    try:
        result = convert(
            source,
            data=data if is_sequence else photographs,
            output=files.make_folder(source.parent / "converted") / f"{source.stem}.tflite",
            num_samples=_SAMPLES,
            converter_python=python,
        )
    except EdgeKitError as error:
        return {"error": error.what, "why": error.why}
    return _figures(result)


def _figures(result: ConvertResult) -> dict[str, Any]:
    outcome, same, agreement = result.outcome, result.source_agreement, result.agreement
    if outcome is None or same is None or agreement is None:
        raise TypeError("the conversion was not measured")
    return {
        "difference": same.relative,
        "operators": outcome.now.num_operators,
        "mapped": outcome.now.num_mapped,
        "unknown": outcome.now.num_unknown,
        "share": outcome.now.macs_share,
        "ms": outcome.now.estimated_ms,
        "snr": min((each for each in agreement.snr_db if each is not None), default=None),
        "unmapped": [f"{each.opcode} ({each.verdict})" for each in outcome.unmapped],
    }


def _rows(results: dict[str, Any]) -> Iterator[str]:
    for name in NAMES:
        row = results.get(name)
        if row is None:
            continue
        if "error" in row:
            yield f"| {name} | no: {row['error']} | | | | | | |"
            continue
        mapped = f"{row['mapped']} of {row['operators']}"
        mapped += f", {row['unknown']} unknown" if row["unknown"] else ""
        share = "" if row["share"] is None else f"{row['share']:.1%}"
        snr = "" if row["snr"] is None else f"{row['snr']:.0f} dB"
        rest = ", ".join(dict.fromkeys(row["unmapped"]))
        yield (
            f"| {name} | yes | {row['difference']:.0e} | {mapped} | {share} | {snr} | "
            f"{row['ms']:.2g} ms | {rest} |"
        )


def _recipe_rows(folder: Path, results: dict[str, Any]) -> Iterator[str]:
    """Describe what Ultralytics' own recipe made, beside edgekit's results."""
    for name in NAMES:
        path = folder / f"{name}.tflite"
        if not path.exists():
            continue
        found = check(path)
        mapped = f"{found.num_mapped} of {found.num_operators}"
        unknown = sum(each.verdict == "unknown" for each in found.operators)
        mapped += f", {unknown} unknown" if unknown else ""
        rest = dict.fromkeys(
            f"{each.opcode} ({each.verdict})" for each in found.operators if each.verdict != "tpu"
        )
        share = "" if found.mapped_macs_share is None else f"{found.mapped_macs_share:.1%}"
        own = results.get(name, {}).get("share")
        yield (
            f"| {name} | {mapped} | {share} | {'' if own is None else f'{own:.1%}'} | "
            f"{estimate(path).latency_ms.mid:.2g} ms | {next(iter(rest), '')} |"
        )


def _counts(results: dict[str, Any]) -> str:
    made = [name for name in NAMES if "error" not in results.get(name, {"error": ""})]
    wanted = [name for name in made if name in MADE_OF_MAPPABLE_LAYERS]
    full = [name for name in wanted if (results[name]["share"] or 0) >= _LEAST_SHARE]
    return (
        f"{len(made)} of {len(results)} convert. {len(wanted)} of these have neither attention nor "
        f"a channel shuffle nor a recurrent layer; {len(full)} of the {len(wanted)} map at least "
        f"{_LEAST_SHARE:.0%} of their work."
    )


if __name__ == "__main__":
    main()
