# SPDX-License-Identifier: Apache-2.0
"""Results become JSON, with only values that JSON can represent."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from edgekit.errors import DataError, DeviceLostError, EdgeKitError, GateError, MissingExtraError
from edgekit.result import Result


class _Verdict(enum.Enum):
    TPU = "tpu"


@dataclass(frozen=True)
class _Inner(Result):
    shape: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class _Outer(Result):
    schema: ClassVar[str] = "edgekit.test/1"
    value: Any = 1.5
    inner: _Inner = field(default_factory=_Inner)


def test_a_result_is_one_document_with_its_schema() -> None:
    document = json.loads(_Outer().to_json())
    assert document == {"schema": "edgekit.test/1", "value": 1.5, "inner": {"shape": [1, 2]}}


def test_a_result_inside_another_one_has_its_derived_members() -> None:
    @dataclass(frozen=True)
    class Square(Result):
        side: int = 3

        def json_fields(self) -> dict[str, Any]:
            return {**super().json_fields(), "area": self.side**2}

    assert Square().to_dict() == {"side": 3, "area": 9}
    assert _Outer(value=[Square()]).to_dict()["value"] == [{"side": 3, "area": 9}]


def test_enumerations_and_paths_become_their_values() -> None:
    assert _Outer(value=[_Verdict.TPU, Path("a")]).to_dict()["value"] == ["tpu", "a"]


@pytest.mark.parametrize("value", [np.zeros(2), np.float32(1), object()])
def test_values_that_json_cannot_represent_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="a JSON result cannot contain"):
        _Outer(value=value).to_json()


def test_nan_and_infinity_are_null_and_listed() -> None:
    document = json.loads(_Outer(value=[{"a": float("nan")}, -float("inf"), 2.0]).to_json())
    assert document["value"] == [{"a": None}, None, 2.0]
    assert document["non_finite"] == ["value[0].a: nan", "value[1]: -inf"]


def test_an_error_has_what_where_why_and_fix() -> None:
    error = DataError("no images", where="folder", why="it is empty", fix="fill it")
    assert str(error) == "no images\n  where: folder\n  why: it is empty\n  fix: fill it"
    assert error.to_dict()["schema"] == "edgekit.error/1"


def test_exit_statuses_follow_the_design() -> None:
    statuses = [each.exit_status for each in (DataError, GateError, MissingExtraError)]
    assert [*statuses, DeviceLostError.exit_status] == [3, 4, 5, 6]
    assert issubclass(DeviceLostError, EdgeKitError)
