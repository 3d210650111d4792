# SPDX-License-Identifier: Apache-2.0
"""YOLO's outputs of every version and task, built from their documented layouts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.data.placement import place
from edgekit.errors import UnsupportedModelError
from edgekit.tasks import Detections, Poses
from edgekit.tasks.yolo import Yolo
from edgekit.tasks.yolo_columns import Stated
from edgekit.tasks.yolo_layout import find_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIZE = (320, 320)
# (centre x, centre y, width, height as shares), class, score
_OBJECTS = (((0.25, 0.5, 0.2, 0.4), 2, 0.9), ((0.7, 0.3, 0.1, 0.1), 0, 0.6))


def _places(
    strides: tuple[int, ...] = (8, 16, 32), size: tuple[int, int] = _SIZE, anchors: int = 1
) -> NDArray[Any]:
    """(places, 3): the centre of each place in pixels, and its stride."""
    rows = [
        ((x + 0.5) * stride, (y + 0.5) * stride, stride)
        for stride in strides
        for _ in range(anchors)
        for y in range(math.ceil(size[0] / stride))
        for x in range(math.ceil(size[1] / stride))
    ]
    return np.array(rows, np.float32)


def _grid(
    values: int, places: NDArray[Any] | None = None, *, background: float = 0.001
) -> NDArray[Any]:
    """Return a table with a box of 40 pixels around each place, all without an object."""
    places = _places() if places is None else places
    table = np.full((len(places), 4 + values), background, np.float32)
    table[:, :2], table[:, 2:4] = places[:, :2], 40
    return table


_ROWS = (20 * 40 + 10, 12 * 40 + 28)  # the cells of the finest grid that contain the objects


def _put(table: NDArray[Any], first: int) -> NDArray[Any]:
    """Write ``_OBJECTS`` into a table in pixels, each twice; suppression removes the second."""
    for at, (box, label, score) in zip(_ROWS, _OBJECTS):
        for double in (0, 1):
            row = table[at + double]
            row[:4], row[first + label] = np.asarray(box) * 320, score - 0.01 * double
    return table


def _shares(table: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([table[:, :4] / 320, table[:, 4:]], axis=1)


def _read(
    outputs: list[NDArray[Any]],
    size: tuple[int, int] = _SIZE,
    stated: Stated | None = None,
    *,
    look: bool = True,
    score_threshold: float = 0.25,
) -> tuple[Yolo, Any]:
    real = [each[None] for each in outputs]
    layout = find_layout(
        [each.shape for each in real], size, lambda: real if look else None, stated or Stated()
    )
    assert layout is not None
    yolo = Yolo(layout[0], layout[1], size, score_threshold)
    return yolo, yolo.decode(real)


def _v5(anchors: int = 3) -> NDArray[Any]:
    table = _put(_grid(1 + 3, _places(anchors=anchors)), 5)
    table[:, 4] = 0.001
    for at, (_, label, score) in zip(_ROWS, _OBJECTS):
        rows = slice(at, at + 2)
        table[rows, 4] = table[rows, 5 + label] / score
        table[rows, 5 + label] = score
    return table


def _v6() -> NDArray[Any]:
    table = _put(_grid(1 + 3), 5)
    table[:, 4] = 1
    return table


def _yolox(classes: int = 3) -> NDArray[Any]:
    """YOLOX: offsets from the cell's corner and logarithms, in strides; objectness."""
    places = _places()
    table = _put(_grid(1 + classes), 5)
    table[:, 4] = np.where(table[:, 5:].max(axis=1) > 0.25, 1.0, 0.001)
    cells = places[:, :2] - places[:, 2:] / 2
    table[:, :2] = (table[:, :2] - cells) / places[:, 2:]
    table[:, 2:4] = np.log(table[:, 2:4] / places[:, 2:])
    return table


@pytest.mark.parametrize(
    ("output", "name"),
    [
        (_put(_grid(3), 4).T, "YOLOv8"),
        (_shares(_put(_grid(3), 4)).T, "YOLOv8"),
        (_put(_grid(3), 4), "YOLOv8"),
        (_v5(), "YOLOv5"),
        (_v5().T, "YOLOv5"),
        (_shares(_v5()), "YOLOv5"),
        (_v6(), "YOLOv6"),
        (_v5(anchors=1), "YOLOv8"),  # objectness small everywhere, classes as well: no proof
        (_yolox(), "YOLOX"),
        (_yolox().T, "YOLOX"),
    ],
    ids=["v8", "v8 shares", "v8 rows", "v5", "v5 T", "v5 shares", "v6", "odd", "x", "x T"],
)
def test_objects_are_decoded_from_every_layout(output: NDArray[Any], name: str) -> None:
    yolo, found = _read([output])
    assert yolo.name == name
    if name == "YOLOv8" and yolo.columns.num_classes == 4:
        return
    assert yolo.columns.num_classes == 3
    assert found.class_indices.tolist() == [2, 0]
    np.testing.assert_allclose(found.scores, [0.9, 0.6], atol=1e-5)
    np.testing.assert_allclose(found.boxes_yxyx[0], [0.3, 0.15, 0.7, 0.35], atol=1e-5)


@pytest.mark.parametrize(
    "strides",
    [(4, 8, 16, 32), (8, 16, 32, 64), (16, 32), (4, 8, 16, 32, 64), (8, 16), (4, 8), (32, 64)],
)
@pytest.mark.parametrize("size", [(320, 320), (192, 352), (416, 256)])
def test_any_consecutive_strides_and_forms_are_decoded(
    strides: tuple[int, ...], size: tuple[int, int]
) -> None:
    table = _grid(2, _places(strides, size))
    table[7] = [160, 48, 80, 96, 0.001, 0.9]
    yolo, found = _read([table.T], size)
    assert (yolo.head.strides, yolo.columns.num_classes) == (strides, 2)
    box = [0, 120 / size[1], 96 / size[0], 200 / size[1]]
    np.testing.assert_allclose(found.boxes_yxyx, [box], atol=1e-6)


def test_a_trained_objectness_is_distinguished_from_a_class() -> None:
    """Classes trained only on cells with an object have high scores in every cell."""
    table = _grid(1 + 3)
    table[:, 5:] = [0.1, 0.7, 0.2]
    table[50, 4] = 0.8
    yolo, found = _read([table])
    assert (yolo.columns.has_objectness, yolo.columns.num_classes) == (True, 3)
    np.testing.assert_allclose(found.scores, [0.56], atol=1e-6)


def _pose(points: int, values: int, classes: int = 1) -> NDArray[Any]:
    table = _grid(classes + points * values)
    centres = _places()[:, :2]
    for point in range(points):
        first = 4 + classes + point * values
        table[:, first : first + 2] = centres + np.array([point, -point])
        if values == 3:
            table[:, first + 2] = 0.8
    table[120, :4] = [160, 80, 32, 64]
    table[120, 4 + classes - 1] = 0.9
    return table


@pytest.mark.parametrize(("points", "values", "classes"), [(17, 3, 1), (5, 3, 1), (4, 2, 3)])
@pytest.mark.parametrize("unit", [1, 320])
def test_key_points_move_with_the_grid(points: int, values: int, classes: int, unit: int) -> None:
    """This distinguishes them from class scores without metadata."""
    table = _pose(points, values, classes)
    want = table[120].copy()
    for first in (0, 2, *range(4 + classes, table.shape[1], values)):
        table[:, first : first + 2] /= unit
    yolo, found = _read([table.T])
    assert isinstance(found, Poses)
    assert (yolo.name, yolo.columns.num_classes) == ("YOLOv8 pose", classes)
    assert found.keypoints_yx.shape == (1, points, 2)
    xy = want[4 + classes :].reshape(points, values)[:, :2]
    np.testing.assert_allclose(found.keypoints_yx[0, :, ::-1] * 320, xy, atol=1e-3)
    assert found.boxes_yxyx is not None
    np.testing.assert_allclose(found.boxes_yxyx[0] * 320, [48, 144, 112, 176], atol=1e-3)
    assert found.class_indices is not None
    assert found.class_indices.tolist() == [classes - 1]


def test_fifty_six_rows_are_a_person_if_the_network_cannot_be_run() -> None:
    yolo, _ = _read([_pose(17, 3).T], look=False)
    assert yolo.name == "YOLOv8 pose"


def test_metadata_determines_the_columns() -> None:
    """Twelve scores or four key points of three values: the network's metadata decides."""
    table = _shares(_grid(13))
    assert _read([table.T])[0].columns.num_classes == 13
    stated = Stated("pose", 1, (4, 3))
    assert _read([table.T], stated=stated)[0].columns.num_keypoints == 4
    assert _read([table.T], stated=Stated("obb", 12))[0].columns.task == "obb"
    # Of another network: the values decide.
    assert _read([table.T], stated=Stated("obb", 15))[0].columns.task == "detect"


def _rotated(angle: float, *, classes: int = 2) -> NDArray[Any]:
    table = _grid(classes + 1)
    table[:, -1] = np.linspace(-0.7, 2.3, len(table))
    table[60] = [160, 160, 100, 40, *([0.001] * (classes - 1)), 0.9, angle]
    return table


@pytest.mark.parametrize("angle", [0.0, 0.5, math.pi / 4, 1.5, 2.2])
def test_rotated_boxes_give_their_corners(angle: float) -> None:
    yolo, found = _read([_rotated(angle).T])
    assert yolo.name == "YOLOv8 obb"
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = 160 + np.array([[50, 20], [50, -20], [-50, -20], [-50, 20]]) @ turn.T
    got = found.corners_yx[0, :, ::-1] * 320
    gaps = np.linalg.norm(got[:, None] - corners[None], axis=2)
    assert gaps.min(axis=0).max() < 1e-3  # each corner, in any order
    around = [*corners.min(axis=0)[::-1], *corners.max(axis=0)[::-1]]
    np.testing.assert_allclose(found.boxes_yxyx[0] * 320, around, atol=1e-3)


def test_of_two_similar_rotated_boxes_one_is_kept() -> None:
    table = _rotated(0.5)
    table[61] = [162, 160, 100, 40, 0.001, 0.8, 0.52]
    table[62] = [160, 160, 100, 40, 0.001, 0.7, 0.5 + math.pi / 2]  # across: little overlap
    _, found = _read([table.T])
    np.testing.assert_allclose(found.scores, [0.9, 0.7], atol=1e-6)


def test_masks_are_sums_of_prototypes_within_the_box() -> None:
    """Compared with a plain version: interpolate, compare with 0, crop."""
    rng = np.random.default_rng(0)
    planes = rng.normal(size=(32, 80, 80)).astype(np.float32)
    table = _put(_grid(3 + 32), 4)
    table[:, 7:] = rng.normal(size=(len(table), 32))
    for prototypes in (planes, planes.transpose(1, 2, 0)):
        yolo, found = _read([table.T, prototypes])
        assert yolo.name == "YOLOv8 segment"
        assert isinstance(found, Detections)
        assert found.masks is not None
        assert found.class_indices.tolist() == [2, 0]
        want = _plain_mask(planes, table[_ROWS[0], 7:], [48, 96, 112, 224])
        got = found.masks.in_image(0, place((320, 320), (320, 320), "stretch"))
        assert want.any()
        assert np.array_equal(got, want)


def _plain_mask(planes: NDArray[Any], weights: NDArray[Any], box: list[int]) -> NDArray[Any]:
    total = np.einsum("n,nhw->hw", weights.astype(np.float64), planes.astype(np.float64))
    mask = np.zeros((320, 320), bool)
    for y in range(box[1], box[3]):
        for x in range(box[0], box[2]):
            v, u = (min(max((each + 0.5) / 4 - 0.5, 0), 79) for each in (y, x))
            v0, u0 = min(int(v), 78), min(int(u), 78)
            dv, du = v - v0, u - u0
            upper = total[v0, u0] * (1 - du) + total[v0, u0 + 1] * du
            lower = total[v0 + 1, u0] * (1 - du) + total[v0 + 1, u0 + 1] * du
            mask[y, x] = upper * (1 - dv) + lower * dv > 0
    return mask


def test_boxes_and_scores_may_be_separate_outputs() -> None:
    """These are the outputs after `edgekit fix` separates a joined output."""
    table = _put(_grid(3), 4).T
    yolo, found = _read([table[:4], table[4:]])
    assert yolo.columns.num_classes == 3
    assert found.class_indices.tolist() == [2, 0]


def _finished(extra: int = 0, rows: int = 300) -> NDArray[Any]:
    table = np.zeros((rows, 6 + extra), np.float32)
    table[0, :6] = [32, 64, 160, 192, 0.8, 5]
    table[1, :6] = [10, 20, 60, 50, 0.3, 2]
    return table


@pytest.mark.parametrize("rows", [300, 2100])
def test_an_export_with_suppression_is_not_suppressed_again(rows: int) -> None:
    table = _finished()[: min(rows, 300)]
    yolo, found = _read([table])
    assert yolo.head.is_finished
    np.testing.assert_allclose(found.boxes_yxyx[0], [0.2, 0.1, 0.6, 0.5], atol=1e-6)
    assert found.class_indices.tolist() == [5, 2]


def test_an_end_to_end_head_with_as_many_rows_as_places_is_recognized() -> None:
    """At 96x96 there are 189 places, and 189 objects at most."""
    yolo, found = _read([_finished(rows=189)], (96, 96))
    assert yolo.head.is_finished
    assert found.class_indices.tolist() == [5, 2]


def test_end_to_end_key_points_masks_and_angles_are_decoded() -> None:
    pose = _finished(51)
    pose[0, 6:] = np.tile([48, 80, 0.9], 17)
    yolo, found = _read([pose])
    assert (yolo.name, len(found.scores)) == ("YOLO with suppression pose", 2)
    np.testing.assert_allclose(found.keypoints_yx[0] * 320, [[80, 48]] * 17, atol=1e-4)

    obb = _finished(1)
    obb[0, 6] = math.pi / 2  # centre and size with an angle, not corners
    yolo, found = _read([obb])
    assert yolo.columns.task == "obb"
    np.testing.assert_allclose(found.boxes_yxyx[0] * 320, [-16, -64, 144, 128], atol=1e-3)

    masks = _finished(32)
    masks[:, 6] = 1
    planes = np.full((80, 80, 32), 0.5, np.float32)
    yolo, found = _read([masks, planes])
    mask = found.masks.in_image(0, place((320, 320), (320, 320), "stretch"))
    assert (mask.sum(), mask[64:192, 32:160].all()) == (128 * 128, True)


def test_scores_outside_0_to_1_stop_with_the_reason() -> None:
    table = _put(_grid(3), 4)
    yolo, _ = _read([table.T])
    table[:, 4:] = 5
    with pytest.raises(UnsupportedModelError, match="scores reach from 5 to 5"):
        yolo.decode([table.T[None]])
    with pytest.raises(UnsupportedModelError, match="reach from 5 to 5"):
        _read([table.T])


@pytest.mark.parametrize("shape", [(1, 1001), (1, 17, 3), (1, 513, 513), (2, 2100, 84)])
def test_other_shapes_are_not_a_yolo(shape: tuple[int, ...]) -> None:
    assert find_layout([shape], _SIZE, lambda: None, Stated()) is None


def test_without_scores_above_the_threshold_there_is_no_object() -> None:
    assert len(_read([_grid(3).T])[1].scores) == 0


def test_objects_with_nan_are_not_objects() -> None:
    table = _put(_grid(3), 4)
    table[_ROWS[0] : _ROWS[0] + 2, 1] = np.nan
    table[3, 6] = np.nan
    _, found = _read([table.T])
    assert found.class_indices.tolist() == [0]


@pytest.mark.parametrize(
    ("values", "name", "classes"), [(80, "YOLOv8", 80), (81, "YOLOv6", 80), (52, "YOLOv8 pose", 1)]
)
def test_outputs_with_only_one_object_are_read_as_usual(
    values: int, name: str, classes: int
) -> None:
    """No column moves with the grid here: the number of values decides."""
    table = np.zeros((2100, 4 + values), np.float32)
    table[700, :6] = [160, 80, 64, 32, 0.9, 0.9]
    if values == 52:
        table[700, 5:] = np.tile([150, 90, 0.8], 17)
    is_rows = values == 81
    yolo, found = _read([table if is_rows else table.T])
    assert (yolo.name, yolo.columns.num_classes) == (name, classes)
    np.testing.assert_allclose(found.boxes_yxyx * 320, [[64, 128, 96, 192]], atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.81 if is_rows else 0.9], atol=1e-6)
