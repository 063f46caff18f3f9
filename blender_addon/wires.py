# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the nodes of a compositor's group, each to the right of what feeds it: sockets in, sockets out."""

from __future__ import annotations

from typing import Any

from . import compat

_STEP = (190.0, 170.0)  # of the nodes' places


class Wires:
    """A calculation with pictures and numbers (single values), as nodes of `group`."""

    def __init__(self, group: Any) -> None:
        self._group = group
        self._rows: dict[float, int] = {}

    def math(self, operation: str, first: Any, second: Any) -> Any:
        node = compat.math_node(self._group, operation)
        return self._placed(node, node.outputs[0], {node.inputs[0]: first, node.inputs[1]: second})

    def over(self, background: Any, foreground: Any) -> Any:
        made = compat.over_node(self._group)
        return self._placed(made.node, made.result, {made.background: background, made.foreground: foreground})

    def mixed(self, share: Any, first: Any, second: Any) -> Any:
        """(1 - share) * first + share * second; before 5.0 the alpha is the first's."""
        return self._mixed("MIX", share, first, second)

    def added(self, share: Any, first: Any, second: Any) -> Any:
        """first + share * second; the alpha is the first's."""
        return self._mixed("ADD", share, first, second)

    def subtracted(self, share: Any, first: Any, second: Any) -> Any:
        """first - share * second; the alpha is the first's."""
        return self._mixed("SUBTRACT", share, first, second)

    def grown(self, value: Any, pixels: int) -> Any:
        """The largest value within so many pixels, the smallest for negative ones."""
        node = compat.grow_node(self._group, pixels)
        return self._placed(node, node.outputs[0], {compat.named(node.inputs, "Mask"): value})

    def blurred(self, image: Any, pixels: int) -> Any:
        """The weighted mean of what is within so many pixels, less of what is further."""
        node = compat.blur_node(self._group, pixels)
        return self._placed(node, node.outputs[0], {compat.named(node.inputs, "Image"): image})

    def packed(self, values: list[Any]) -> Any:
        """An image with these channels."""
        node = self._group.nodes.new("CompositorNodeCombineColor")
        return self._placed(node, node.outputs[0], dict(zip(node.inputs, values)))

    def channels(self, image: Any) -> list[Any]:
        """Red, green, blue and alpha."""
        node = self._group.nodes.new("CompositorNodeSeparateColor")
        self._placed(node, node.outputs[0], {node.inputs[0]: image})
        return list(node.outputs)

    def with_alpha(self, image: Any, alpha: Any) -> Any:
        """The same colours, as they are, with another alpha."""
        node = compat.alpha_node(self._group)
        sockets = {compat.named(node.inputs, "Image"): image, compat.named(node.inputs, "Alpha"): alpha}
        return self._placed(node, node.outputs[0], sockets)

    def times_alpha(self, image: Any) -> Any:
        """Colours multiplied by alpha, which stays."""
        return self._premultiplied(image, False)

    def by_alpha(self, image: Any) -> Any:
        """Colours divided by alpha, which stays."""
        return self._premultiplied(image, True)

    def size(self, image: Any) -> tuple[Any, Any]:
        """Width and height in pixels, numbers. Since 4.5."""
        node = self._group.nodes.new("CompositorNodeImageInfo")
        dimensions = self._placed(node, compat.named(node.outputs, "Dimensions"), {node.inputs[0]: image})
        parts = compat.vector_node(self._group)
        self._placed(parts, parts.outputs[0], {parts.inputs[0]: dimensions})
        return parts.outputs[0], parts.outputs[1]

    def number(self, pixel: Any) -> Any:
        """The whole number in a picture of one pixel: a cut drops fractions, 12.999 would be 12."""
        node = self._group.nodes.new("CompositorNodeLevels")
        return self.math("ROUND", self._placed(node, node.outputs[0], {node.inputs[0]: pixel}), 0.0)

    def cut(self, image: Any, part: tuple[Any, Any, Any, Any]) -> Any:
        """A part of a picture: x, y, width and height, from the lower left. Its middle is where the whole's is. Since
        4.5."""
        node = compat.crop_node(self._group)
        values = dict(zip(("X", "Y", "Width", "Height"), part))
        sockets = {compat.named(node.inputs, name): value for name, value in values.items()}
        return self._placed(node, node.outputs[0], {compat.named(node.inputs, "Image"): image, **sockets})

    def moved(self, image: Any, x: Any, y: Any) -> Any:
        """By whole pixels. Since 4.5."""
        node = compat.translate_node(self._group)
        x, y = (self.math("SUBTRACT", pixels, 0.25) for pixels in (x, y))  # or rounding takes the pixel beside some
        values = {"Image": image, "X": x, "Y": y}
        sockets = {compat.named(node.inputs, name): value for name, value in values.items()}
        return self._placed(node, node.outputs[0], sockets)

    def right(self) -> float:
        """Where the next node may be."""
        return max(node.location.x for node in self._group.nodes) + _STEP[0]

    def _mixed(self, kind: str, share: Any, first: Any, second: Any) -> Any:
        made = compat.mix_node(self._group, kind)
        return self._placed(made.node, made.result, {made.mask: share, made.back: first, made.front: second})

    def _premultiplied(self, image: Any, back: bool) -> Any:
        node = compat.premultiply_node(self._group, back)
        return self._placed(node, node.outputs[0], {compat.named(node.inputs, "Image"): image})

    def _placed(self, node: Any, result: Any, sockets: dict[Any, Any]) -> Any:
        x = 0.0
        for socket, value in sockets.items():
            if isinstance(value, int | float):
                socket.default_value = value
            else:
                self._group.links.new(value, socket)
                x = max(x, value.node.location.x + _STEP[0])
        row = self._rows[x] = self._rows.get(x, 0) + 1
        node.location = (x, -_STEP[1] * (row - 3))
        return result
