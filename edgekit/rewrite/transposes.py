# SPDX-License-Identifier: Apache-2.0
"""Move TRANSPOSEs down through the operators after them, until they meet and cancel.

Exporters of networks in NCHW put a TRANSPOSE before and after each convolution, and the operators
between two convolutions work in NCHW. Here they work in the order of the convolutions.
"""

from __future__ import annotations

from dataclasses import replace

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.axes import (
    Moved,
    Order,
    View,
    composed,
    in_order_of_sources,
    moves_memory,
    source_shape,
)
from edgekit.rewrite.edit import RESHAPES, Edit, same_quantization
from edgekit.rewrite.rule import Rule


def move_transposes(model: Model) -> Model | None:
    """Return ``model`` with fewer TRANSPOSEs, or with them after operators instead of before.

    The TRANSPOSEs of a part of the graph are moved only if those after it together move at most as
    many elements as those before and inside it.
    """
    found = None
    while True:
        changed = _Moving(found or model).run()
        if changed is None:
            return found
        found = changed


class _Moving:
    """One pass over the operators: what each would be in the order of its inputs' sources."""

    def __init__(self, model: Model) -> None:
        self._edit = Edit(model)
        self._views: dict[int, View] = {}
        self._moved: dict[int, Moved | None] = {}  # position -> None for a TRANSPOSE
        self._parts = _Parts()

    def run(self) -> Model | None:
        edit = self._edit
        for position, op in enumerate(list(edit.operators)):
            if self._is_static(op) and self._view(position, op):
                self._parts.join([i for i in (*op.inputs, *op.outputs) if i in self._views])
        chosen = self._chosen()
        if not chosen:
            return None
        edit.operators = self._rewritten(chosen)
        self._keep_output_names()
        return edit.build()

    def _is_static(self, op: Operator) -> bool:
        tensors = [self._edit.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
        return not any(each.is_dynamic or 0 in each.shape for each in tensors)

    def _view(self, position: int, op: Operator) -> bool:
        """Note the views of the outputs of ``op``, if it can work on the sources."""
        edit = self._edit
        if op.opcode == "TRANSPOSE":
            return self._view_transpose(position, op)
        moved = in_order_of_sources(edit, op, self._views)
        if moved is None:
            return False
        self._moved[position] = moved
        for index in op.outputs:
            tensor = edit.tensors[index]
            shape = source_shape(tensor.shape, moved.order)
            source = edit.activation(tensor, f"{tensor.name}/moved", shape=shape)
            self._views[index] = View(source, moved.order)
        return True

    def _view_transpose(self, position: int, op: Operator) -> bool:
        source, target = op.inputs[0], op.outputs[0]
        order = self._order(op)
        if not order:
            return False
        before = self._views.get(source, View(source, tuple(range(len(order)))))
        self._moved[position] = None
        self._views[target] = View(before.source, composed(before.order, order))
        return True

    def _order(self, op: Operator) -> Order:
        """Return the order of a TRANSPOSE; empty if it is not constant, or the scale changes."""
        values = self._edit.data(op.inputs[1])
        tensors = [self._edit.tensors[index] for index in (op.inputs[0], op.outputs[0])]
        if values is None or not same_quantization(*tensors):
            return ()
        return tuple(int(axis) % values.size for axis in values.ravel())

    # -- which parts of the graph become better

    def _chosen(self) -> set[int]:
        """Return the positions of the operators to rewrite."""
        edit, parts = self._edit, self._parts
        before: dict[int, int] = {}
        works: dict[int, int] = {}
        for position, moved in self._moved.items():
            op = edit.operators[position]
            part = parts.of(op.outputs[0])
            if moved is not None:
                # A TRANSPOSE is not moved across a RESHAPE alone: it costs the same before it.
                works[part] = works.get(part, 0) + (op.opcode not in RESHAPES)
                continue
            before[part] = before.get(part, 0) + self._cost(op)
        after: dict[int, int] = {}
        blocked = set()
        for index in self._needed():
            view, part = self._views[index], parts.of(index)
            shape = edit.tensors[index].shape
            if moves_memory(shape, view.order):
                after[part] = after.get(part, 0) + edit.tensors[index].num_elements
            elif index in edit.outputs and not self._can_take_name(view):
                blocked.add(part)
        good = {
            part
            for part, cost in before.items()
            if part not in blocked
            and (after.get(part, 0) < cost or (after.get(part, 0) == cost and works.get(part)))
        }
        return {
            position
            for position in self._moved
            if parts.of(edit.operators[position].outputs[0]) in good
        }

    def _cost(self, op: Operator) -> int:
        """Return the elements that a TRANSPOSE moves; one if it moves none, so that it goes."""
        edit = self._edit
        tensor = edit.tensors[op.outputs[0]]
        if moves_memory(tensor.shape, self._order(op)):
            return tensor.num_elements
        return 0 if op.outputs[0] in edit.outputs else 1

    def _needed(self) -> list[int]:
        """Return the tensors with a view that outputs, or operators that stay, read."""
        edit = self._edit
        needed = {index for index in edit.outputs if index in self._views}
        for position, op in enumerate(edit.operators):
            if position not in self._moved:
                needed.update(index for index in op.inputs if index in self._views)
        return sorted(needed)

    def _can_take_name(self, view: View) -> bool:
        """Whether an output that is equal to its source can replace it."""
        edit = self._edit
        is_written = edit.is_internal(view.source) and edit.data(view.source) is None
        return is_written and view.order == tuple(range(len(view.order)))

    # -- the new operators

    def _rewritten(self, chosen: set[int]) -> list[Operator]:
        edit = self._edit
        operators: list[Operator] = []
        for position, op in enumerate(edit.operators):
            if position not in chosen:
                operators.append(op)
                continue
            moved = self._moved[position]
            if moved is not None:
                operators += [*moved.before, self._on_sources(op, moved)]
            operators += [self._back(index) for index in op.outputs]
        return operators

    def _on_sources(self, op: Operator, moved: Moved) -> Operator:
        outputs = tuple(self._views[index].source for index in op.outputs)
        if op.opcode in RESHAPES:
            shape = {"new_shape": self._edit.tensors[outputs[0]].shape}
            return self._edit.operator("RESHAPE", moved.inputs, outputs, shape, "ReshapeOptions")
        options = op.options if moved.options is None else moved.options
        return replace(op, inputs=moved.inputs, outputs=outputs, options=options)

    def _back(self, index: int) -> Operator:
        """Return the operator that computes a tensor from its source; unused ones are removed."""
        edit, view = self._edit, self._views[index]
        tensor = edit.tensors[index]
        if view.order != tuple(range(len(view.order))) and not moves_memory(
            tensor.shape, view.order
        ):
            return pieces.reshape(edit, view.source, index)
        return pieces.transpose(edit, view.source, view.order, index)

    def _keep_output_names(self) -> None:
        """Remove TRANSPOSEs that do nothing; an output takes the place of its source."""
        while True:
            op = next(filter(self._can_go, self._edit.operators), None)
            if op is None:
                return
            self._edit.operators.remove(op)
            source, target = op.inputs[0], op.outputs[0]
            if target not in self._edit.outputs:
                self._edit.rewire(target, source)
                continue
            self._edit.rewire(source, target, outputs=False)
            self._edit.operators = [
                replace(each, outputs=tuple(target if i == source else i for i in each.outputs))
                if source in each.outputs
                else each
                for each in self._edit.operators
            ]

    def _can_go(self, op: Operator) -> bool:
        source, target = op.inputs[0], op.outputs[0]
        # Nothing writes a constant or an input of the model, so no output can replace it.
        is_fixed = not self._edit.is_internal(source) or self._edit.data(source) is not None
        stays = target in self._edit.outputs and is_fixed
        return op.opcode == "TRANSPOSE" and self._is_idle(op) and not stays

    def _is_idle(self, op: Operator) -> bool:
        order = self._order(op)
        return bool(order) and order == tuple(range(len(order)))


class _Parts:
    """Disjoint sets of tensors: those that operators connect."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def of(self, index: int) -> int:
        """Return the part of a tensor, named after one of its tensors."""
        while self._above.get(index, index) != index:
            index = self._above[index]
        return index

    def join(self, indices: list[int]) -> None:
        """Put these tensors into one part."""
        for index in indices[1:]:
            first, other = self.of(indices[0]), self.of(index)
            if first != other:
                self._above[other] = first


RULE = Rule(
    "transposes",
    "TRANSPOSEs move down through the operators after them, and cancel where two meet",
    exact=True,
    apply=move_transposes,
)
