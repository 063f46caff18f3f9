"""Whatever poses an armature poses its avatar, and a render tells how far it is. Argument: the actor file."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import mathutils
import numpy as np
import running
import shot
from pictures import ADDON, still

FRAMES = (1, 3)


def main(arguments: list[str]) -> int:
    return running.run(globals(), arguments[0])


def case_ik_nla_strips_and_drivers_count(actor: str) -> None:
    """In a render, every joint is where Blender's own evaluation has the bone."""
    shot.build(actor, {**shot.DEFAULTS, "bare": True})
    scene, rig = bpy.context.scene, bpy.data.objects["tiny_rig"]
    scene.timeline_markers.clear()
    reach(rig, "right_wrist", scene)
    bend_by_strip(rig, "left_knee")
    bend_by_driver(rig, "left_elbow", bpy.data.objects["target"])
    session = import_module(f"{ADDON}.session").current
    header, arrays = session.body(Path(actor))
    names, wrists = header["joint_names"], []
    for frame in FRAMES:
        controls = asked(scene, frame)
        found = joints(controls, arrays["joints"].astype(float), arrays["parents"])
        scene.frame_set(frame)
        posed = rig.evaluated_get(bpy.context.evaluated_depsgraph_get())
        heads = [posed.matrix_world @ posed.pose.bones[name].head for name in names]
        wanted = np.array([[head.x, head.z, -head.y] for head in heads])  # avatar_core's world
        assert np.abs(found - wanted).max() < 1e-4, (frame, names[int(np.abs(found - wanted).max(1).argmax())])
        turned = {name: np.linalg.norm(controls["pose"][names.index(name)]) for name in ("left_knee", "left_elbow")}
        share = (frame - FRAMES[0]) / (FRAMES[1] - FRAMES[0])
        assert abs(turned["left_knee"] - 0.6 * share) < 1e-4 and abs(turned["left_elbow"] - 0.4 * share) < 1e-4, turned
        wrists.append(found[names.index("right_wrist")])
    assert np.linalg.norm(wrists[1] - wrists[0]) > 0.2, "the hand follows its target"


def case_a_render_tells_how_far_it_is_and_with_what(actor: str) -> None:
    shot.build(actor, {**shot.DEFAULTS, "bare": True, "percent": 400})  # several tiles
    session, shares, lines = import_module(f"{ADDON}.session").Session, list[float](), list[str]()
    real = session.render

    def watched(self: Any, *rest: Any) -> Any:
        *first, advance = rest
        return real(self, *first, lambda share: (shares.append(share), advance(share)))

    session.render = watched
    bpy.app.handlers.render_stats.append(lambda line, _: lines.append(line))
    try:
        still(bpy.context.scene)
    finally:
        session.render = real
        bpy.app.handlers.render_stats.clear()
    assert shares and shares == sorted(shares) and 0 < shares[-1] <= 1, shares
    assert any(line.endswith("tiny_rig, draft") for line in lines), lines


def reach(rig: Any, hand: str, scene: Any) -> None:
    """An IK constraint takes the hand to an object that is keyed from beside the hip to above the head."""
    target = bpy.data.objects.new("target", None)
    scene.collection.objects.link(target)
    for frame, place in zip(FRAMES, ((-0.4, -0.2, -0.2), (-0.3, -0.3, 0.6))):
        target.location = place
        target.keyframe_insert("location", frame=frame)
    constraint = rig.pose.bones[hand].constraints.new("IK")
    constraint.target, constraint.chain_count = target, 3


def bend_by_strip(rig: Any, joint: str) -> None:
    """The keys of the rig play from a strip of the NLA editor."""
    bone = rig.pose.bones[joint]
    bone.rotation_mode = "XYZ"
    for frame, angle in zip(FRAMES, (0.0, 0.6)):
        bone.rotation_euler.x = angle
        bone.keyframe_insert("rotation_euler", frame=frame)
    animation = rig.animation_data
    curves = import_module(f"{ADDON}.compat").curves(rig, bone.path_from_id("rotation_euler"))
    for point in (point for curve in curves for point in curve.keyframe_points):
        point.interpolation = "LINEAR"
    action, slot = animation.action, getattr(animation, "action_slot", None)
    animation.action = None
    strip = animation.nla_tracks.new().strips.new("acted", 1, action)
    if slot is not None:
        strip.action_slot = slot


def bend_by_driver(rig: Any, joint: str, source: Any) -> None:
    """The joint turns as a custom property, which is keyed, says."""
    bone = rig.pose.bones[joint]
    bone.rotation_mode = "XYZ"
    for frame, angle in zip(FRAMES, (0.0, 0.4)):
        source["bend"] = angle
        source.keyframe_insert('["bend"]', frame=frame)
    driver = bone.driver_add("rotation_euler", 1).driver
    driver.type = "AVERAGE"
    target = driver.variables.new().targets[0]
    target.id, target.data_path = source, '["bend"]'


def asked(scene: Any, frame: int) -> dict[str, Any]:
    """The controls that the renderer is asked for when a frame is rendered."""
    session, controls = import_module(f"{ADDON}.session").Session, []
    real = session.render

    def noted(self: Any, path: Path, posed: dict[str, Any], *rest: Any) -> Any:
        controls.append(posed)
        return real(self, path, posed, *rest)

    session.render = noted
    try:
        still(scene, frame=frame)
    finally:
        session.render = real
    (one,) = controls
    return one


def joints(controls: dict[str, Any], rest: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Where an actor's joints are [J, 3], metres, in avatar_core's world."""
    turns = [mathutils.Vector(vector) for vector in controls["pose"]]
    local = [np.array(mathutils.Quaternion(turn.normalized(), turn.length).to_matrix()) for turn in turns]
    world, places = [local[0]], [rest[0] + np.array(controls["transl"])]
    for joint in range(1, len(rest)):
        parent = int(parents[joint])
        places.append(places[parent] + world[parent] @ (rest[joint] - rest[parent]))
        world.append(world[parent] @ local[joint])
    return np.array(places)
