# SPDX-License-Identifier: GPL-3.0-or-later
"""The node group that merges avatars into a scene by depth, with edges as soft as both pictures have them.

A pixel at an object's edge holds a mixture, C = (1 - V) N + V B: N lies in front of the avatar A, the part V shows
what is behind it, B. Depths are not mixed, so comparing them gives an edge of whole pixels with a line of B along it.
Blender's Mist pass is filtered as the picture is: between the extremes around the pixel it tells V. B is continued
from the pixels beside the edge. Then, premultiplied and with `over` for alpha compositing,

    result = C over A + V (A over B - B over A)

which is `A over C` where all is behind the avatar (V = 1, B = C) and `C over A` where nothing is (V = 0).
"""

from __future__ import annotations

from typing import Any

import bpy

from . import compat

GROUP = "Avatar Depth Merge"
MARK = "neural_avatars"  # custom property of the nodes and groups that are ours
_VERSION = 2  # of the group: another one is not used
_NOTHING = 1e10  # metres: the depth of nothing
_REACH = 2  # pixels around an edge that its mixture may reach: pixel filters are that wide
_FILLED = 8  # pixels that the background is continued under an edge
_FLAT = 1e-5  # of mist: with less between the extremes there is no telling, depths decide
_STEP = (190.0, 170.0)  # of the nodes' places
_INPUTS = {
    "Scene": "Color",
    "Scene Depth": "Float",
    "Scene Mist": "Float",
    "Avatars": "Color",
    "Avatars Depth": "Float",
    "Background From": "Float",
}
_OUTPUTS = {"Image": "Color", "Depth": "Float", "Mask": "Float"}


def merge_group() -> Any:
    """The group, one for all scenes of the file. Its Mask is the share of a pixel where nothing hides avatars."""
    for known in bpy.data.node_groups:
        if is_current(known):
            return known
    group = bpy.data.node_groups.new(GROUP, "CompositorNodeTree")
    group[MARK] = _VERSION
    for direction, sockets in (("INPUT", _INPUTS), ("OUTPUT", _OUTPUTS)):
        for name, kind in sockets.items():
            group.interface.new_socket(name, in_out=direction, socket_type=f"NodeSocket{kind}")
    inputs, outputs = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    given = {socket.name: socket for socket in inputs.outputs if socket.name}
    shown = _wire(_Wires(group), given)
    for name, socket in shown.items():
        group.links.new(socket, compat.named(outputs.inputs, name))
    outputs.location = (max(node.location.x for node in group.nodes) + _STEP[0], 0)
    return group


def is_current(group: Any) -> bool:
    return group is not None and group.get(MARK) == _VERSION


def _wire(wires: _Wires, given: dict[str, Any]) -> dict[str, Any]:
    """The group's calculation, from its inputs to its outputs."""
    scene, avatars, closest = given["Scene"], given["Avatars"], given["Avatars Depth"]
    # Where the scene is background its depth becomes that of nothing.
    pushed = wires.math(
        "MULTIPLY", wires.math("GREATER_THAN", given["Scene Depth"], given["Background From"]), _NOTHING
    )
    depth = wires.math("ADD", given["Scene Depth"], pushed)
    before = wires.math("LESS_THAN", closest, depth)

    partly = wires.math("LESS_THAN", wires.grown(depth, -_REACH), closest)
    edge = wires.math("MULTIPLY", partly, wires.math("LESS_THAN", closest, wires.grown(depth, _REACH)))
    near = wires.grown(given["Scene Mist"], -_REACH)
    span = wires.math("SUBTRACT", wires.grown(given["Scene Mist"], _REACH), near)
    mixed = wires.math("DIVIDE", wires.math("SUBTRACT", given["Scene Mist"], near), wires.math("MAXIMUM", span, _FLAT))
    told = wires.math("MULTIPLY", edge, wires.math("GREATER_THAN", span, _FLAT))
    change = wires.math("MULTIPLY", told, wires.math("SUBTRACT", mixed, before))
    visible = wires.math("ADD", before, change)

    around = wires.grown(closest, -2 * _REACH)  # beside an avatar its background is known, too
    clear = wires.math("LESS_THAN", around, wires.grown(depth, -_REACH))
    alpha = wires.alpha(scene)
    least = wires.grown(alpha, -_REACH)  # of an object and what is behind it, the latter has the smaller one
    kept = wires.math("MULTIPLY", clear, wires.math("SUBTRACT", alpha, least))
    behind = wires.with_alpha(wires.filled(scene, clear), wires.math("ADD", least, kept))

    result = wires.added("ADD", visible, wires.over(avatars, scene), wires.over(behind, avatars))
    result = wires.added("SUBTRACT", visible, result, wires.over(avatars, behind))
    return {"Image": result, "Depth": wires.math("MINIMUM", closest, depth), "Mask": visible}


class _Wires:
    """Makes nodes, each to the right of what feeds it; sockets in, sockets out."""

    def __init__(self, group: Any) -> None:
        self._group = group
        self._rows: dict[float, int] = {}

    def math(self, operation: str, first: Any, second: Any) -> Any:
        node = compat.math_node(self._group, operation)
        return self._placed(node, node.outputs[0], {node.inputs[0]: first, node.inputs[1]: second})

    def over(self, background: Any, foreground: Any) -> Any:
        made = compat.over_node(self._group)
        return self._placed(made.node, made.result, {made.background: background, made.foreground: foreground})

    def added(self, kind: str, share: Any, first: Any, second: Any) -> Any:
        """first + share * second, or first - share * second; the alpha is the first's."""
        made = compat.mix_node(self._group, kind)
        return self._placed(made.node, made.result, {made.mask: share, made.back: first, made.front: second})

    def grown(self, value: Any, pixels: int) -> Any:
        """The largest value within so many pixels, the smallest for negative ones."""
        node = compat.grow_node(self._group, pixels)
        return self._placed(node, node.outputs[0], {compat.named(node.inputs, "Mask"): value})

    def alpha(self, image: Any) -> Any:
        node = self._group.nodes.new("CompositorNodeSeparateColor")
        return self._placed(node, compat.named(node.outputs, "Alpha"), {node.inputs[0]: image})

    def with_alpha(self, image: Any, alpha: Any) -> Any:
        """The same colours, as they are, with another alpha."""
        node = compat.alpha_node(self._group)
        sockets = {compat.named(node.inputs, "Image"): image, compat.named(node.inputs, "Alpha"): alpha}
        return self._placed(node, node.outputs[0], sockets)

    def filled(self, image: Any, known: Any) -> Any:
        """The image where it is known (1, not 0), and continued from there."""
        node = compat.inpaint_node(self._group, _FILLED)
        return self._placed(node, node.outputs[0], {compat.named(node.inputs, "Image"): self.with_alpha(image, known)})

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
