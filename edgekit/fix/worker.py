# SPDX-License-Identifier: Apache-2.0
"""A process that runs models and returns their outputs, because kernels may abort on odd scales.

The message ``run`` contains the model's bytes, then one array for each input of each sample; its
fields are ``kernels``, ``runtime`` (empty for any) and ``samples``, their number. The reply ``ran``
contains one raw array for each output of each sample and the field ``kernels``; the reply
``refused`` contains the fields of an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import EdgeKitError, MissingExtraError
from edgekit.runtime import Runner
from edgekit.runtime.trial import skip_trials
from edgekit.wire import Message, wire_to_parent

if TYPE_CHECKING:
    from numpy.typing import NDArray


def main() -> None:
    """Serve requests until there are no more."""
    skip_trials()
    wire = wire_to_parent()
    while True:
        request = wire.receive()
        if request is None:
            return
        try:
            kernels, outputs = _answer(request)
        except EdgeKitError as error:
            texts = {name: getattr(error, name) for name in ("what", "where", "why", "fix")}
            wire.send("refused", missing=isinstance(error, MissingExtraError), **texts)
        else:
            wire.send("ran", *outputs, kernels=kernels)


def _answer(request: Message) -> tuple[str, list[NDArray[Any]]]:
    fields, (model, *arrays) = request.fields, request.arrays
    with Runner(
        model.tobytes(), runtime=fields["runtime"] or None, kernels=fields["kernels"]
    ) as runner:
        count = len(runner.inputs)
        outputs: list[NDArray[Any]] = []
        for sample in range(fields["samples"]):
            raw = arrays[sample * count : (sample + 1) * count]
            # Do not reset the state between samples, so that it is compared too.
            outputs += runner.invoke(*raw, keep_state=True)
        return runner.environment.kernels, outputs
