# SPDX-License-Identifier: Apache-2.0
"""Requests that schemathesis makes of the OpenAPI document, and the replies checked against it."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tests.serve.conftest import Server

pytest.importorskip("fastapi", reason="FastAPI is not installed (the extra serve)")
schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
hypothesis = pytest.importorskip("hypothesis")
positive_data_acceptance = importlib.import_module(
    "schemathesis.specs.openapi.checks"
).positive_data_acceptance

_EXAMPLES = 12  # for each operation
# That what the schema allows is accepted: it cannot say that a file must be an image.
_ONLY_IMAGES = [positive_data_acceptance]


def test_every_reply_is_as_the_document_says(server: Server) -> None:
    found = schemathesis.openapi.from_url(f"{server.address}openapi.json")
    operations = [each.ok() for each in found.get_all_operations()]
    assert len(operations) == 7
    for operation in operations:

        def check(case: Any) -> None:  # noqa: ANN401
            case.call_and_validate(excluded_checks=_ONLY_IMAGES)

        some = hypothesis.settings(max_examples=_EXAMPLES, deadline=None, derandomize=True)
        some(hypothesis.given(case=operation.as_strategy())(check))()
    assert server.ask("/health").status == 200
