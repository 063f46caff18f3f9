"""Motions and faces into and out of a rig."""

from __future__ import annotations

import math
import tempfile
from importlib import import_module
from pathlib import Path

import bpy
import mathutils
import numpy as np
import shot
from pictures import ADDON


def case_a_motion_comes_in_and_goes_out(actor: Path) -> None:
    """An .npz of AMASS poses the rig frame by frame; what is exported again is the same motion."""
    motion, session = import_module(f"{ADDON}.motion"), import_module(f"{ADDON}.session")
    shot.build(actor, {**shot.DEFAULTS, "set_up": False})
    scene, rig = bpy.context.scene, bpy.data.objects["tiny_rig"]
    facts = session.current.actor(Path(actor))
    clean(rig)
    joints = len(facts.schema["joints"])
    generator = np.random.default_rng(3)
    poses = generator.normal(0, 0.5, (4, joints, 3)).repeat(2, 0)
    poses[:, 22:] = 0  # AMASS's body joints
    trans = generator.normal(0, 1, (8, 3))
    with tempfile.TemporaryDirectory(dir=Path(actor).parent) as folder:  # the worker sees it too
        file, again = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(file, poses=poses.reshape(8, -1), trans=trans, mocap_framerate=scene.render.fps)
        scene.frame_set(1)
        bpy.context.view_layer.objects.active = rig
        assert bpy.ops.avatar.import_motion(filepath=str(file)) == {"FINISHED"}
        scene.frame_start, scene.frame_end = 1, 8
        seen, _ = motion.recorded(rig, rig.children[0], facts.schema, scene)
        given = matrices(poses)
        up = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # z up to y up
        given[:, 0] = up @ given[:, 0]
        assert np.abs(matrices(seen.pose) - given).max() < 1e-4
        moved = np.diff(seen.transl, axis=0) - np.diff(trans, axis=0) @ up.T
        assert np.abs(moved).max() < 1e-4, moved
        assert bpy.ops.avatar.export_motion(filepath=str(again)) == {"FINISHED"}
        with np.load(again) as stored:
            assert np.abs(matrices(stored["poses"].reshape(8, -1, 3)) - matrices(poses)).max() < 1e-4
            assert np.abs(stored["trans"] - trans).max() < 1e-4
            assert stored["mocap_framerate"] == scene.render.fps
        np.savez(file, poses=poses.reshape(8, -1), trans=trans, mocap_framerate=2 * scene.render.fps)
        scene.frame_set(20)
        assert bpy.ops.avatar.import_motion(filepath=str(file)) == {"FINISHED"}
        scene.frame_set(22)
        graph = bpy.context.evaluated_depsgraph_get()
        third = import_module(f"{ADDON}.pose").read_controls(rig, rig.children[0], facts.schema, graph).controls
        assert np.abs(matrices(np.array(third["pose"]))[1:] - given[4, 1:]).max() < 1e-4, "half of the frames"


def case_a_sample_motion_stands_on_the_floor(actor: Path) -> None:
    shot.build(actor, {**shot.DEFAULTS, "set_up": False})
    scene, rig = bpy.context.scene, bpy.data.objects["tiny_rig"]
    clean(rig)
    bpy.context.view_layer.objects.active = rig
    scene.frame_set(1)
    scene.render.fps = 30  # the sample's own
    assert bpy.ops.avatar.sample_motion(clip="walk", rounds=2) == {"FINISHED"}
    bones, knees, feet = rig.pose.bones, [], []
    for frame in (1, 37, 10):  # of 36 a round
        scene.frame_set(frame)
        knees.append(bones["left_knee"].matrix_basis.to_quaternion().angle)
        mesh = rig.avatar.mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
        feet.append(min((mesh.matrix_world @ vertex.co).z for vertex in mesh.data.vertices))
    assert abs(knees[0] - knees[1]) < 1e-4 < abs(knees[0] - knees[2]), knees
    assert max(map(abs, feet)) < 0.02, feet


def case_constraints_become_keys(actor: Path) -> None:
    shot.build(actor, {**shot.DEFAULTS, "set_up": False})
    session, motion = import_module(f"{ADDON}.session"), import_module(f"{ADDON}.motion")
    scene, rig = bpy.context.scene, bpy.data.objects["tiny_rig"]
    scene.frame_start, scene.frame_end = 1, 3
    facts = session.current.actor(Path(actor))
    target = bpy.data.objects.new("target", None)
    scene.collection.objects.link(target)
    for frame, angle in ((1, 0.2), (3, 1.0)):
        target.rotation_euler = (angle, 0, angle)
        target.keyframe_insert("rotation_euler", frame=frame)
    rig.pose.bones["right_elbow"].constraints.new("COPY_ROTATION").target = target
    hip = rig.pose.bones["left_hip"]
    for frame in (-20, 40):  # beyond what is baked
        hip.keyframe_insert("rotation_quaternion", frame=frame)
    before, _ = motion.recorded(rig, rig.children[0], facts.schema, scene)
    bpy.context.view_layer.objects.active = rig
    assert bpy.ops.avatar.bake_motion() == {"FINISHED"}
    bpy.data.objects.remove(target)
    after, _ = motion.recorded(rig, rig.children[0], facts.schema, scene)
    assert np.abs(matrices(before.pose) - matrices(after.pose)).max() < 1e-4
    assert np.abs(np.diff(matrices(after.pose), axis=0)).max() > 0.1
    curve = import_module(f"{ADDON}.compat").curves(rig, hip.path_from_id("rotation_quaternion"))[0]
    kinds = [(point.co.x, point.interpolation) for point in curve.keyframe_points]
    assert kinds[0] == (-20, "BEZIER") and kinds[-1] == (40, "BEZIER") and len(kinds) == 5, kinds


def case_a_recorded_face_keys_the_expressions(actor: Path) -> None:
    shot.build(actor, {**shot.DEFAULTS, "set_up": False})
    scene, rig = bpy.context.scene, bpy.data.objects["tiny_rig"]
    keys = rig.children[0].data.shape_keys
    bpy.context.view_layer.objects.active = rig
    scene.frame_set(5)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "face.csv"
        table.write_text(
            "Timecode,BlendShapeCount,JawOpen,EyeBlinkLeft,HeadYaw\n"
            "10:00:00:00.000,61,0.1,0.5,0\n10:00:00:30.000,61,0.6,0.0,0\n"
        )
        assert bpy.ops.avatar.import_faces(filepath=str(table)) == {"FINISHED"}
        scene.frame_set(5 + scene.render.fps // 2)
        assert abs(keys.key_blocks["expr_jawOpen"].value - 0.6) < 1e-5
        table.write_text("Time,A\n1,2\n")
        try:
            bpy.ops.avatar.import_faces(filepath=str(table))
        except RuntimeError as error:
            assert "Live Link Face" in str(error)
        else:
            raise AssertionError("a table of another kind was taken")


def clean(rig: bpy.types.Object) -> None:
    """Takes what the shot gave the rig: keys, constraints, place, a shape that changes."""
    rig.children[0].data.shape_keys.animation_data_clear()
    rig.children[0].data.shape_keys.key_blocks["beta_00"].value = 0.7
    rig.animation_data_clear()
    rig.parent = None
    rig.location, rig.rotation_euler, rig.scale = (0, 0, 0), (math.pi / 2, 0, 0), (1, 1, 1)
    for constraint in [*rig.constraints]:
        rig.constraints.remove(constraint)
    for bone in rig.pose.bones:
        for constraint in [*bone.constraints]:
            bone.constraints.remove(constraint)
        bone.matrix_basis.identity()


def matrices(angles: np.ndarray) -> np.ndarray:
    """[..., 3] axis-angle to [..., 3, 3], by Blender's own mathutils."""
    flat = [mathutils.Vector(a) for a in np.asarray(angles).reshape(-1, 3)]
    turned = [mathutils.Matrix.Rotation(a.length, 3, a) if a.length else mathutils.Matrix.Identity(3) for a in flat]
    return np.array(turned).reshape(*np.shape(angles)[:-1], 3, 3)
