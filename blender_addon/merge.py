# SPDX-License-Identifier: GPL-3.0-or-later
"""The node group that merges avatars into a scene by depth, with edges as soft as both pictures have them.

A pixel at an object's edge holds a mixture, C = (1 - V) N + V B: N lies in front of the avatar A, the part V shows
what is behind it, B. Depths are not mixed, so comparing them gives an edge of whole pixels with a line of B along it.
Blender's Mist pass is filtered as the picture is: between the extremes around the pixel it tells V. B is continued
from the pixels K beside the edge that show nothing else, by their weighted mean: blur(K C) / blur(K). Then,
premultiplied, and with small letters for alpha,

    C + (1 - c) A + V (b A - a B) = F + (1 - a) C        where F = (1 - c + V b) A + a (C - V B)

is what is seen: A over C where all is behind the avatar (V = 1, B = C), C over A where nothing is (V = 0). Where N
hides what is behind it, c = 1 - V + V b, so that 1 - c + V b = V; elsewhere V is 0 or 1: this share of A is
max(V, 1 - c). F, with the avatar's alpha, is all that has to be laid over the scene; it is made in the box of the frame
that avatars cover (box.py).
"""

from __future__ import annotations

from typing import Any

import bpy

from . import compat
from .box import PASS
from .wires import Wires

GROUP = "Avatar Depth Merge"
MARK = "neural_avatars"  # custom property of the nodes and groups that are ours
_VERSION = 5  # of the group: another one is not used
_NOTHING = 1e12  # metres: more than the depth of nothing in any picture
_REACH = 2  # pixels around an edge that its mixture may reach: pixel filters are that wide
_CONTINUED = 8  # pixels from which the background under an edge is taken
_UNKNOWN = 1e-4  # of a pixel that shows the background: so much counts another one where there is none
_FLAT = 1e-5  # of mist: with less between the extremes there is no telling, depths decide
_INPUTS = {
    "Scene": "Color",
    "Scene Depth": "Float",
    "Scene Mist": "Float",
    "Avatars": "Color",
    "Avatars Depth": "Float",
    f"Avatars {PASS}": "Float",
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
    wires = Wires(group)
    given = {socket.name: socket for socket in inputs.outputs if socket.name}
    seen, visible = _in_box(wires, given) if compat.CROPS else _seen(wires, given)[:2]
    shown = {
        "Image": wires.over(given["Scene"], seen),
        "Depth": wires.math("MINIMUM", given["Avatars Depth"], _pushed(wires, given)),
        "Mask": visible,
    }
    for name, socket in shown.items():
        group.links.new(socket, compat.named(outputs.inputs, name))
    outputs.location = (wires.right(), 0)
    return group


def is_current(group: Any) -> bool:
    return group is not None and group.get(MARK) == _VERSION


def _pushed(wires: Wires, given: dict[str, Any]) -> Any:
    """The depth of the scene, that of nothing where it is background."""
    background = wires.math("GREATER_THAN", given["Scene Depth"], given["Background From"])
    return wires.math("ADD", given["Scene Depth"], wires.math("MULTIPLY", background, _NOTHING))


def _in_box(wires: Wires, given: dict[str, Any]) -> tuple[Any, Any]:
    """F and V of the frame, from parts of the pictures. Numbers are cut as the channels of one colour: by itself each
    would be made one."""
    names = ("Scene Depth", "Scene Mist", "Avatars Depth", f"Avatars {PASS}")
    numbers = wires.packed([given[name] for name in names])
    x, y, *sides = (wires.number(wires.channels(wires.cut(numbers, (column, 0, 1, 1)))[3]) for column in range(4))
    frame = wires.size(given["Scene"])
    width, height = (  # 0 where there is no such pass: all of the frame
        wires.math("ADD", side, wires.math("MULTIPLY", wires.math("LESS_THAN", side, 1), whole))
        for side, whole in zip(sides, frame)
    )
    box = (x, y, width, height)
    parts = {name: wires.cut(given[name], box) for name in ("Scene", "Avatars")}
    parts |= dict(zip(names, wires.channels(wires.cut(numbers, box))))
    seen, visible, before = _seen(wires, {**given, **parts})
    away = [  # from the middle of the frame, where a part comes out
        wires.math("ADD", start, wires.math("MULTIPLY", wires.math("SUBTRACT", side, whole), 0.5))
        for start, side, whole in zip((x, y), (width, height), frame)
    ]
    change = wires.moved(wires.math("SUBTRACT", visible, before), *away)
    whole = wires.math("LESS_THAN", given["Avatars Depth"], _pushed(wires, given))
    return wires.moved(seen, *away), wires.math("ADD", whole, change)


def _seen(wires: Wires, given: dict[str, Any]) -> tuple[Any, Any, Any]:
    """F and V, and V as depths alone tell it."""
    scene, depth, avatars, closest = given["Scene"], _pushed(wires, given), given["Avatars"], given["Avatars Depth"]
    before, nearest = wires.math("LESS_THAN", closest, depth), wires.grown(depth, -_REACH)
    edge = wires.math(
        "MULTIPLY",
        wires.math("LESS_THAN", nearest, closest),
        wires.math("LESS_THAN", closest, wires.grown(depth, _REACH)),
    )
    near = wires.grown(given["Scene Mist"], -_REACH)
    span = wires.math("SUBTRACT", wires.grown(given["Scene Mist"], _REACH), near)
    mixed = wires.math("DIVIDE", wires.math("SUBTRACT", given["Scene Mist"], near), wires.math("MAXIMUM", span, _FLAT))
    told = wires.math("MULTIPLY", edge, wires.math("GREATER_THAN", span, _FLAT))
    visible = wires.math("ADD", before, wires.math("MULTIPLY", told, wires.math("SUBTRACT", mixed, before)))

    around = wires.grown(closest, -2 * _REACH)  # beside an avatar its background is known, too
    clear = wires.math("LESS_THAN", around, nearest)
    weighed = wires.times_alpha(wires.with_alpha(scene, wires.math("MAXIMUM", clear, _UNKNOWN)))
    behind = wires.mixed(clear, wires.by_alpha(wires.blurred(weighed, _CONTINUED)), scene)

    share = wires.math("MAXIMUM", visible, wires.math("SUBTRACT", 1, wires.channels(scene)[3]))
    others = wires.with_alpha(wires.subtracted(visible, scene, behind), wires.channels(avatars)[3])
    return wires.added(share, wires.times_alpha(others), avatars), visible, before
