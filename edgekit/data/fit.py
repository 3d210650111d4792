# SPDX-License-Identifier: Apache-2.0
"""Fit arrays to the shapes of a network's inputs."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.data.dataset import InputSpec
from edgekit.data.pixels import Pixels
from edgekit.data.preprocess import Preprocess, fits, is_transposed
from edgekit.errors import DataError


def fit(
    arrays: Sequence[NDArray[Any]], inputs: Sequence[InputSpec], preprocess: Preprocess, where: str
) -> tuple[NDArray[Any], ...]:
    """Return one sample, an array per input, in the inputs' shapes without the batch.

    Raises:
        DataError: There are more or fewer arrays than inputs, or one does not fit.
    """
    if len(arrays) != len(inputs):
        raise DataError(
            f"a sample has {len(arrays)} arrays, the model has {len(inputs)} inputs",
            where=where,
            fix=f"yield one array for each of {[spec.name for spec in inputs]}",
        )
    fitted = []
    for array, spec in zip(arrays, inputs):
        wanted = spec.shape[1:]
        # A sample may have the model's batch dimension.
        single = array[0] if array.ndim == len(spec.shape) and array.shape[0] == 1 else array
        if spec.channels_first and is_transposed(single.shape, wanted):
            single = np.moveaxis(single, 0, -1)
        try:
            fitted.append(preprocess.array(single, wanted))
        except DataError as error:
            raise DataError(
                error.what, where=f"{where}, input {spec.name}", why=error.why, fix=error.fix
            ) from error
    return tuple(fitted)


def fit_rows(
    arrays: Sequence[NDArray[Any]], inputs: Sequence[InputSpec], preprocess: Preprocess, where: str
) -> tuple[Any, ...]:
    """Like `fit`, for many samples at once; row by row only if pixels must be resized."""
    rows = []
    for array, spec in zip(arrays, inputs):
        if len(array) and fits(array.shape[1:], spec.shape[1:]):
            shape = (len(array), *spec.shape[1:])
            fit((array[0],), (spec,), preprocess, where)
            rows.append(_scaled(array.reshape(shape), preprocess))
        else:
            rows.append(np.stack([fit((row,), (spec,), preprocess, where)[0] for row in array]))
    return tuple(rows)


def _scaled(array: NDArray[Any], preprocess: Preprocess) -> Any:  # noqa: ANN401 - array-like
    table = preprocess.pixel_table if array.dtype == np.uint8 else None
    return preprocess.scale_if_explicit(array) if table is None else Pixels(array, table)
