# SPDX-License-Identifier: Apache-2.0
"""PoseNet: from the network's maps to people, in numpy.

Google's PoseNet models end in the custom operator PosenetDecoderOp, which no interpreter from a
package index has. `without_decoder` removes it; `decode_posenet` computes the same result.

Source:
    G. Papandreou et al., PersonLab (2018), sections 3.1 and 3.2; the operator's constants (five
    refinement steps, local maxima in a 3x3 window) and its order among equal scores are those of
    google-coral/libcoral, coral/pose_estimation/posenet_decoder.cc.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Sequence

import numpy as np

from edgekit.errors import ModelFormatError
from edgekit.tasks.custom_options import read_custom_options
from edgekit.tasks.pose import NUM_KEYPOINTS, Poses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.tflite import Model, Operator

DECODER_OP = "PosenetDecoderOp"
_REFINEMENTS = 5
# The tree of body parts, parent first. The network has an offset map for each edge in each
# direction: (y forward, x forward, y backward, x backward), sixteen channels each.
_TREE = (
    (0, 1),
    (1, 3),
    (0, 2),
    (2, 4),
    (0, 5),
    (5, 7),
    (7, 9),
    (5, 11),
    (11, 13),
    (13, 15),
    (0, 6),
    (6, 8),
    (8, 10),
    (6, 12),
    (12, 14),
    (14, 16),
)
_NUM_EDGES = len(_TREE)
_CHANNELS = {"heatmaps": NUM_KEYPOINTS, "shorts": 2 * NUM_KEYPOINTS, "mids": 4 * _NUM_EDGES}


@dataclass(frozen=True)
class PosenetOptions:
    """The operator's options in the model file; the defaults are those of Google's models."""

    max_detections: int = 10
    score_threshold: float = 0.5
    stride: int = 16  # input pixels between two places of the maps
    nms_radius_px: float = 20.0


class _Edge(NamedTuple):
    child: int
    channel: int  # of the y offset; the x offset is _NUM_EDGES channels further


class _Candidate:
    """A key point in the queue.

    Equal scores compare as equal, so that they leave the heap in the same order as in the
    operator's own heap: both are standard binary heaps.
    """

    __slots__ = ("id", "score", "x", "y")

    def __init__(self, y: float, x: float, keypoint: int, score: float) -> None:
        self.y, self.x, self.id, self.score = y, x, keypoint, score

    def __lt__(self, other: _Candidate) -> bool:
        return self.score > other.score


def without_decoder(model: Model) -> tuple[Model, PosenetOptions] | None:
    """Return ``model`` with the maps as outputs, not the decoder's, and the decoder's options.

    Return None if the model does not end in PosenetDecoderOp.
    """
    graph = model.main
    found = [op for op in graph.operators if op.custom_code == DECODER_OP]
    if len(found) != 1 or not set(found[0].outputs) <= set(graph.outputs):
        return None
    decoder = found[0]
    kept = tuple(index for index in graph.outputs if index not in decoder.outputs)
    main = replace(
        graph,
        operators=tuple(op for op in graph.operators if op is not decoder),
        outputs=(*decoder.inputs, *kept),
    )
    cut = replace(model, subgraphs=(main, *model.subgraphs[1:]), signature_defs=())
    return cut, _read_options(decoder)


def is_posenet(shapes: Sequence[Sequence[int]]) -> bool:
    """Whether outputs of these shapes begin with PoseNet's heat maps, short and mid offsets."""
    channels = [shape[-1] for shape in shapes[:3] if len(shape) == 4]
    places = {tuple(shape[1:3]) for shape in shapes[:3]}
    return channels == list(_CHANNELS.values()) and len(places) == 1


def decode_posenet(
    heatmaps: NDArray[Any],
    shorts: NDArray[Any],
    mids: NDArray[Any],
    input_shape: Sequence[int],
    options: PosenetOptions | None = None,
) -> Poses:
    """Return the people in PoseNet's maps, best first.

    Args:
        heatmaps: (1, h, w, 17), real values: the log odds of each key point at each place.
        shorts: (1, h, w, 34): from a place to the key point near it, in input pixels.
        mids: (1, h, w, 64): from a key point to its neighbours in the body's tree.
        input_shape: (height, width) of the network's input.
        options: As in the model file.
    """
    how = options or PosenetOptions()
    # All coordinates are in places of the maps; the offsets include the scale.
    maps = _Maps(heatmaps[0], shorts[0] / how.stride, mids[0] / how.stride)
    radius2 = (how.nms_radius_px / how.stride) ** 2
    queue = maps.roots(how.score_threshold)
    points: list[NDArray[np.float64]] = []
    scores: list[NDArray[np.float64]] = []
    while queue and len(points) < how.max_detections:
        root = heapq.heappop(queue)
        if any(_distance2(pose[root.id], (root.y, root.x)) <= radius2 for pose in points):
            continue
        pose, logits = maps.person(root)
        odds = 1 / (1 + np.exp(-logits))
        if odds.mean() >= how.score_threshold:
            points.append(pose)
            scores.append(odds)
    return _ranked(points, scores, radius2, how, input_shape)


class _Maps:
    """The three maps, with bilinear interpolation between their places."""

    def __init__(self, heatmaps: NDArray[Any], shorts: NDArray[Any], mids: NDArray[Any]) -> None:
        self._heat, self._shorts, self._mids = heatmaps, shorts, mids
        self._y_max, self._x_max = heatmaps.shape[0] - 1.0, heatmaps.shape[1] - 1.0

    def roots(self, score_threshold: float) -> list[_Candidate]:
        """Return a heap of places where a person may start: local maxima that are likely enough."""
        heat, (height, width, _) = self._heat, self._heat.shape
        padded = np.pad(heat, ((1, 1), (1, 1), (0, 0)), mode="edge")
        around = np.max(
            [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0
        )
        least = np.float32(-math.log(1 / (float(np.float32(score_threshold)) + 1e-6) - 1))
        heap: list[_Candidate] = []
        for y, x, j in np.argwhere((heat >= least) & (heat >= around)).tolist():
            dy, dx = self._shorts[y, x, j], self._shorts[y, x, j + NUM_KEYPOINTS]
            y_px, x_px = self._clipped(y + float(dy), x + float(dx))
            heapq.heappush(heap, _Candidate(y_px, x_px, j, float(heat[y, x, j])))
        return heap

    def person(self, root: _Candidate) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return points and log odds along the body's tree from ``root``, likeliest point first."""
        points, logits = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
        done: set[int] = set()
        queue = [_Candidate(root.y, root.x, root.id, self._score(root.y, root.x, root.id))]
        while queue:
            here = heapq.heappop(queue)
            if here.id in done:
                continue
            done.add(here.id)
            points[here.id], logits[here.id] = (here.y, here.x), here.score
            for edge in _NEIGHBOURS[here.id]:
                if edge.child not in done:
                    y, x = self._neighbour(here, edge)
                    score = self._score(y, x, edge.child)
                    heapq.heappush(queue, _Candidate(y, x, edge.child, score))
        return points, logits

    def _neighbour(self, here: _Candidate, edge: _Edge) -> tuple[float, float]:
        y, x = self._step(self._mids, here.y, here.x, edge.channel, _NUM_EDGES)
        for _ in range(_REFINEMENTS):
            y, x = self._step(self._shorts, y, x, edge.child, NUM_KEYPOINTS)
        return y, x

    def _step(
        self, maps: NDArray[Any], y: float, x: float, channel: int, apart: int
    ) -> tuple[float, float]:
        dy, dx = _sample(maps[:, :, channel::apart][:, :, :2], y, x)
        return self._clipped(y + float(dy), x + float(dx))

    def _score(self, y: float, x: float, keypoint: int) -> float:
        return float(_sample(self._heat[:, :, keypoint : keypoint + 1], y, x)[0])

    def _clipped(self, y: float, x: float) -> tuple[float, float]:
        return min(max(y, 0.0), self._y_max), min(max(x, 0.0), self._x_max)


def _sample(maps: NDArray[Any], y: float, x: float) -> NDArray[Any]:
    """Interpolate bilinearly at (y, x), which is inside the maps."""
    top, left = int(y), int(x)
    bottom, right = math.ceil(y), math.ceil(x)
    down, along = y - top, x - left
    upper = (1 - along) * maps[top, left] + along * maps[top, right]
    lower = (1 - along) * maps[bottom, left] + along * maps[bottom, right]
    values: NDArray[Any] = (1 - down) * upper + down * lower
    return values


def _neighbours() -> list[list[_Edge]]:
    edges: list[list[_Edge]] = [[] for _ in range(NUM_KEYPOINTS)]
    for i, (parent, child) in enumerate(_TREE):
        edges[parent].append(_Edge(child, i))
    for i, (parent, child) in enumerate(_TREE):
        edges[child].append(_Edge(parent, 2 * _NUM_EDGES + i))
    return edges


_NEIGHBOURS = _neighbours()


def _ranked(
    points: list[NDArray[np.float64]],
    scores: list[NDArray[np.float64]],
    radius2: float,
    how: PosenetOptions,
    input_shape: Sequence[int],
) -> Poses:
    """Score people again without the key points that a likelier person has, and sort them."""
    if not points:
        points_yx, certainty = np.zeros((0, NUM_KEYPOINTS, 2)), np.zeros((0, NUM_KEYPOINTS))
        return Poses(
            points_yx.astype(np.float32), certainty.astype(np.float32), np.zeros(0, np.float32)
        )
    pose, keypoint_scores = np.stack(points), np.stack(scores)
    first = np.argsort(-keypoint_scores.mean(axis=1), kind="stable")
    people = np.zeros(len(first))
    for rank, i in enumerate(first):
        before = pose[first[:rank]]
        taken = (_distance2(before, pose[i]) <= radius2).any(axis=0)
        people[i] = keypoint_scores[i][~taken].sum() / NUM_KEYPOINTS
    order = np.argsort(-people, kind="stable")
    order = order[people[order] >= how.score_threshold]
    scale = how.stride / np.asarray(input_shape, np.float64)
    return Poses(
        (pose[order] * scale).astype(np.float32),
        keypoint_scores[order].astype(np.float32),
        people[order].astype(np.float32),
    )


def _distance2(a: NDArray[Any], b: Any) -> NDArray[np.float64]:  # noqa: ANN401 - anything array-like
    squared: NDArray[np.float64] = ((a - np.asarray(b)) ** 2).sum(axis=-1)
    return squared


def _read_options(decoder: Operator) -> PosenetOptions:
    values = read_custom_options(decoder)
    try:
        how = PosenetOptions(
            int(values["max_detections"]),
            float(values["score_threshold"]),
            int(values["stride"]),
            float(values["nms_radius"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFormatError(
            f"{DECODER_OP} has no readable options", why=f"{error}: got {values}"
        ) from error
    if how.stride < 1:
        raise ModelFormatError(f"{DECODER_OP} has the stride {how.stride}")
    return how
