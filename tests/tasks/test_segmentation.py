# SPDX-License-Identifier: Apache-2.0
"""Masks: from scores or classes, mapped to the image."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.data.placement import place
from edgekit.tasks.segmentation import decode_mask, is_segmentation, mask_to_image


def test_scores_become_the_class_that_is_largest() -> None:
    scores = np.zeros((1, 2, 2, 3), np.uint8)
    scores[0, 0, 1, 2] = 200
    scores[0, 1, 0, 1] = 9
    assert decode_mask(scores, is_integer=False).tolist() == [[0, 2], [1, 0]]


def test_classes_are_not_changed() -> None:
    classes = np.array([[[0, 15], [20, 3]]], np.int64)
    assert decode_mask(classes, is_integer=True).tolist() == [[0, 15], [20, 3]]
    assert decode_mask(classes[..., None], is_integer=True).tolist() == [[0, 15], [20, 3]]


def test_one_probability_is_a_class_above_one_half() -> None:
    plane = np.array([[[[0.4], [0.5]]]], np.float32)
    assert decode_mask(plane, is_integer=False).tolist() == [[0, 1]]


@pytest.mark.parametrize("mode", ["stretch", "pad", "letterbox"])
@pytest.mark.parametrize("size", [(640, 480), (100, 300), (64, 64)])
def test_a_mask_is_mapped_back_to_the_images_size_and_place(
    mode: str, size: tuple[int, int]
) -> None:
    placement = place(size, (128, 128), mode)
    mask = np.zeros((128, 128), np.int64)
    left = int(placement.offset_x + placement.inner_width / 2)
    mask[:, left:] = 1  # the right half of the image
    ours = mask_to_image(mask, placement)
    assert ours.shape == (size[1], size[0])
    share = ours.mean()
    assert share == pytest.approx(0.5, abs=0.02)
    assert not ours[:, 0].any()
    assert ours[:, -1].all()


def test_a_coarse_output_or_one_of_another_shape_is_not_a_mask() -> None:
    assert is_segmentation([(1, 33, 33, 21)], (513, 513))
    assert is_segmentation([(1, 513, 513)], (513, 513))
    assert not is_segmentation([(1, 7, 7, 1024)], (224, 224))
    assert not is_segmentation([(1, 100, 40, 3)], (224, 224))
    assert not is_segmentation([(1, 64, 64, 2)] * 2, (64, 64))
