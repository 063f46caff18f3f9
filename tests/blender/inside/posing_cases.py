"""Whatever poses an armature poses its avatar, and a render tells how far it is."""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import mathutils
import numpy as np
import shot
from pictures import ADDON, still

FRAMES = (1, 3)


def case_ik_nla_strips_and_drivers_count(actor: Path) -> None:
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


def case_a_render_tells_how_far_it_is_and_with_what(actor: Path) -> None:
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


def case_head_goes_on_a_head_bone(actor: Path) -> None:
    """What it cannot be put on is named, and an object without shape keys simply follows the bone."""
    shot.build(actor, {**shot.DEFAULTS, "set_up": False, "bare": True})
    attach, errors = import_module(f"{ADDON}.attach"), import_module(f"{ADDON}.errors")
    rig = next(found for found in bpy.context.scene.objects if found.avatar.actor_path)
    cube = bpy.data.objects.new("cube", None)
    bpy.context.scene.collection.objects.link(cube)

    def refused(head: bpy.types.Object, body: bpy.types.Object) -> str:
        try:
            attach.attach(head, body)
        except errors.SceneError as error:
            return str(error)
        return ""

    assert "is no armature" in refused(rig, cube)
    assert "hangs on 'carrier'" in refused(rig.parent, rig)
    rig.pose.bones["head"].name = "skull"
    assert "has no bone named 'head'" in refused(cube, rig)
    rig.pose.bones["skull"].name = "mixamorig:Head"
    assert attach.attach(cube, rig) == 0
    bpy.context.view_layer.update()
    before = cube.matrix_world.translation.copy()
    rig.pose.bones["neck"].rotation_quaternion = mathutils.Quaternion((1, 0, 0), 0.5)
    bpy.context.view_layer.update()
    assert (cube.matrix_world.translation - before).length > 0.02


def case_object_transform_turns_about_the_pelvis(actor: Path) -> None:
    """Turning, moving and scaling the rig moves the avatar's joints as it moves the bones, once those are
    fitted to the body's shape."""
    shot.build(actor, {**shot.DEFAULTS, "set_up": False})
    rig = next(found for found in bpy.context.scene.objects if found.avatar.actor_path)
    rig.parent = None
    rig.matrix_world = mathutils.Matrix.LocRotScale(
        (0.4, -0.3, 0.2), mathutils.Euler((0.2, 0.5, 2.0)), (1.5, 1.5, 1.5)
    ) @ mathutils.Matrix.Rotation(math.radians(90), 4, "X")
    rig.pose.bones[0].location = (0.1, 0.2, 0.3)
    bpy.context.scene.frame_set(3)
    assert bpy.ops.avatar.fit_bones() == {"FINISHED"}
    graph = bpy.context.evaluated_depsgraph_get()
    pose, session = import_module(f"{ADDON}.pose"), import_module(f"{ADDON}.session")
    schema = session.current.actor(Path(actor)).schema
    given = pose.read_controls(rig, rig.avatar.mesh, schema, graph)
    assert abs(given.scale - 1.5) < 1e-5
    bones = {bone.name: bone for bone in rig.evaluated_get(graph).pose.bones}
    rotations = [_matrix(turn) for turn in given.controls["pose"]]
    turned, placed = [], []
    for index, name in enumerate(schema["joints"]):
        bone = bones[name]
        parents = [schema["joints"].index(b.name) for b in bone.parent_recursive if b.name in schema["joints"]]
        head = np.array(bone.bone.head_local)
        if not parents:
            turned.append(rotations[index])
            placed.append(head + given.controls["transl"])
        else:
            above = parents[0]
            turned.append(turned[above] @ rotations[index])
            placed.append(
                placed[above] + turned[above] @ (head - np.array(bones[schema["joints"][above]].bone.head_local))
            )
        x, y, z = placed[index] * given.scale
        seen = rig.matrix_world @ bone.matrix.translation
        assert (mathutils.Vector((x, -z, y)) - seen).length < 1e-4, (name, (x, -z, y), seen)
    assert given.controls["betas"][0] == 2


def case_axis_angles_come_back(actor: Path) -> None:
    """Any axis, from no turn at all to half a turn."""
    pose = import_module(f"{ADDON}.pose")
    random = np.random.default_rng(7)
    axes = [axis / np.linalg.norm(axis) for axis in random.normal(size=(50, 3))] + list(np.eye(3)) + list(-np.eye(3))
    for angle in (0.0, 1e-9, 1e-4, 0.5, 2.0, 3.1, math.pi - 1e-6, math.pi):
        turns = np.array([axis * angle for axis in axes])
        matrices = np.array([_matrix(turn) for turn in turns])
        again = np.array([_matrix(turn) for turn in pose.axis_angles(matrices)])
        assert np.abs(again - matrices).max() < 1e-6, (angle, np.abs(again - matrices).max())
        assert np.abs(np.linalg.norm(pose.axis_angles(matrices), axis=1) - angle).max() < 1e-3, angle


def _matrix(turn: Any) -> np.ndarray:
    """[3, 3] float64 from axis-angle, by Rodrigues' formula."""
    angle = float(np.linalg.norm(turn))
    x, y, z = np.asarray(turn, np.float64) / max(angle, 1e-300)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
