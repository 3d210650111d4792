# SPDX-License-Identifier: Apache-2.0
"""Print which parts of programs no program of Google's compiler has.

    python scripts/audit_programs.py MODEL...

A compiled model is audited as it is; any other model is compiled by edgekit's own compiler first.
The findings of all models are added up, and the most frequent differences come first.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

from edgekit.chip.codegen import Unsupported, make_program, partition
from edgekit.chip.isa import decode_package
from edgekit.chip.vocabulary import AuditFinding, Kind, Vocabulary, audit
from edgekit.errors import EdgeKitError
from edgekit.files import read_bytes
from edgekit.formats.darwinn import Package, read_packages
from edgekit.formats.tflite import read_model


def main() -> None:
    """Audit every model, print the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    options = parser.parse_args()
    vocabulary = Vocabulary.load()
    sums: Counter[str] = Counter()
    times: Counter[tuple[str, ...]] = Counter()
    places: dict[tuple[str, ...], list[tuple[str, AuditFinding]]] = defaultdict(list)
    for path in options.models:
        try:
            programs = [each for package in packages_of(path) for each in decode_package(package)]
        except (EdgeKitError, Unsupported) as error:
            print(f"{path.name}: refused: {str(error).splitlines()[0]}", flush=True)
            sums["refused"] += 1
            continue
        found = audit(vocabulary, *programs)
        print(
            f"{path.name}: {found.num_instructions} instructions, {found.num_unseen} not seen "
            f"({len(found.findings)} findings)",
            flush=True,
        )
        sums.update(models=1, inside=found.is_seen)
        sums.update(instructions=found.num_instructions, unseen=found.num_unseen)
        for each in found.findings:
            sums[each.kind.value] += each.times
            key = _what_differs(each)
            times[key] += each.times
            places[key].append((path.name, each))
    print(
        f"\n{sums['models']} models, {sums['refused']} refused, {sums['inside']} wholly seen; "
        f"{sums['unseen']} of {sums['instructions']} instructions not seen: "
        + ", ".join(f"{sums[kind.value]} {kind.value}s" for kind in Kind)
    )
    for key, number in times.most_common():
        names = {name for name, _ in places[key]}
        name, first = places[key][0]
        print(f"\n{number} times in {len(names)} models, first {name} pc {first.pc}")
        print(f"  {first}")


def packages_of(path: Path) -> tuple[Package, ...]:
    """Return the packages of a compiled model, or the one that edgekit makes of another model.

    Raises:
        EdgeKitError: The file is not a model.
        Unsupported: edgekit does not compile it.
    """
    model = read_model(read_bytes(path))
    packages = tuple(each.package for each in read_packages(model))
    if packages:
        return packages
    part = partition(model)
    return (make_program(part.network, dict(enumerate(model.main.tensors))).package,)


def _what_differs(finding: AuditFinding) -> tuple[str, ...]:
    if finding.kind is Kind.ORDER:
        return finding.kind.value, finding.signature
    instruction = finding.signature.split(" ", 1)[0]
    return finding.kind.value, instruction, *(str(each) for each in finding.differences)


if __name__ == "__main__":
    main()
