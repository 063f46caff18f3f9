"""What can only be asked inside Blender. Argument: the actor file. Prints one line of JSON for each case."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import mathutils
import numpy as np
import pictures
import running
import shot
from values import SIZE

ADDON = "bl_ext.user_default.neural_avatars"


def main(arguments: list[str]) -> int:
    return running.run(globals(), arguments[0])


def case_camera_agrees_with_blender(actor: str) -> None:
    """A point of the world lands on the pixel that Blender's own projection says, for every kind of fit."""
    from bpy_extras.object_utils import world_to_camera_view

    shot.build(actor, {**shot.DEFAULTS, "set_up": False})
    coordinates = import_module(f"{ADDON}.coordinates")
    scene, point = bpy.context.scene, mathutils.Vector((0.3, -0.4, 0.2))
    camera = bpy.data.objects["B"]
    camera.rotation_euler = (1.3, 0.1, 0.2)
    camera.scale = (2, 2, 2)
    for fit, size, aspect in (
        ("AUTO", (96, 64), (1, 1)),
        ("HORIZONTAL", (50, 90), (1, 2)),
        ("VERTICAL", (96, 64), (2, 1)),
    ):
        camera.data.sensor_fit = fit
        scene.render.resolution_x, scene.render.resolution_y = size
        scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = aspect
        graph = bpy.context.evaluated_depsgraph_get()
        graph.update()
        evaluated = camera.evaluated_get(graph)
        wanted = world_to_camera_view(scene, evaluated, point)
        region = coordinates.Region(*size, 3, 5, size[0] - 3, size[1] - 5)
        given = coordinates.camera_controls(evaluated, graph, scene.render, region)
        view = np.array(given["world_to_camera"]).reshape(4, 4)
        local = view @ [point.x, point.z, -point.y, 1]  # the point in avatar_core's world
        u, v, _ = np.array(given["K"]).reshape(3, 3) @ (local[:3] / local[2])
        expected = (wanted.x * size[0] - 3, (1 - wanted.y) * size[1] - 5)
        assert abs(u - expected[0]) < 1e-3 and abs(v - expected[1]) < 1e-3, (fit, (u, v), expected)
        assert abs(local[2] - wanted.z) < 1e-4, (local[2], wanted.z)


def case_a_motion_comes_in_and_goes_out(actor: str) -> None:
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


def case_a_sample_motion_stands_on_the_floor(actor: str) -> None:
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


def case_farm_command_says_what_is_wrong(actor: str) -> None:
    """Before a frame is begun, in a sentence, with the exit code."""
    cli = import_module(f"{ADDON}.cli")
    shot.build(actor, {**shot.DEFAULTS, "frames": 1})
    scene, rig = bpy.context.scene, bpy.data.objects["tiny_rig"]

    def said(code: int, *arguments: str) -> str:
        with contextlib.redirect_stderr(io.StringIO()) as heard:
            assert cli.run(list(arguments)) == code, (arguments, heard.getvalue())
        return heard.getvalue()

    blocked = f"{actor}/pictures/shot_####"  # beneath a file
    assert "cannot be written" in said(1, "render", "--output", blocked)
    assert "cannot be written" in said(1, "bake", "--output", blocked)
    assert "There is no scene 'x'" in said(2, "render", "--scene", "x")
    rig.avatar.actor_path = actor.replace("tiny", "lost")
    assert "lost.actor does not exist" in said(2, "render")
    assert "lost.actor does not exist" in said(1, "check")
    rig.hide_render = True
    assert "cannot be written" in said(1, "render", "--output", blocked), "an avatar that is hidden is not missed"
    scene.camera = None
    scene.timeline_markers.clear()
    assert "has no camera" in said(2, "bake")


def case_constraints_become_keys(actor: str) -> None:
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


def case_a_recorded_face_keys_the_expressions(actor: str) -> None:
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


def case_other_cameras_are_refused(actor: str) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    for kind, word in (("ORTHO", "orthographic"), ("PANO", "panoramic")):
        bpy.data.cameras["A"].type = kind
        message = _render_error()
        assert word in message and "'A'" in message and "perspective" in message, message


def case_camera_that_is_not_linked(actor: str) -> None:
    """A camera made after set-up is used as it stands in the frame, or refused; Refresh takes it in."""
    shot.build(actor, {**shot.DEFAULTS})
    scene = bpy.context.scene
    late = bpy.data.objects.new("Late", bpy.data.cameras.new("Late"))
    scene.collection.objects.link(late)
    for frame, place in ((1, (1, -4, 0)), (2, (9, -4, 0))):
        late.location, late.rotation_euler = place, (math.radians(90), 0, 0)
        late.keyframe_insert("location", frame=frame)
    scene.timeline_markers.clear()
    scene.camera = late
    assert import_module(f"{ADDON}.compositor").missing_links(scene) == ["Late"]
    session = import_module(f"{ADDON}.session")
    real, asked = session.Session.render, []

    def record(self: Any, path: Any, controls: Any, camera: dict, *rest: Any) -> Any:
        asked.append(camera)
        return real(self, path, controls, camera, *rest)

    session.Session.render = record
    try:
        message = _render_error()
        assert "'Late'" in message if message else asked, message
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}  # Refresh
        assert _render_error() == ""
    finally:
        session.Session.render = real
    for camera in asked:
        assert abs(camera["world_to_camera"][3] + 1) < 1e-5, camera  # x = 1: frame 1


def case_object_transform_turns_about_the_pelvis(actor: str) -> None:
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


def case_axis_angles_come_back(actor: str) -> None:
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


def case_uneven_scale_is_refused(actor: str) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    next(o for o in bpy.context.scene.objects if o.avatar.actor_path).scale = (1, 2, 1)
    assert "scaled unevenly" in _render_error()


def case_set_up_is_reversible(actor: str) -> None:
    """Compositor, layers, scenes and groups are what they were: fresh, graded, and switched off."""
    for arrange in (lambda scene: None, _grade, _grade_and_switch_off):
        shot.build(actor, {**shot.DEFAULTS, "set_up": False})
        scene = bpy.context.scene
        arrange(scene)
        before = _picture_of(scene)
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}  # again: a refresh, not a second merge
        assert _picture_of(scene) != before
        assert bpy.ops.avatar.remove_compositing() == {"FINISHED"}
        after = _picture_of(scene)
        if arrange.__name__ == "<lambda>" and bpy.app.version < (5, 0, 0):
            for name in ("nodes", "links"):  # Blender 4 makes its default nodes, and keeps them switched off
                before.pop(name), after.pop(name)
        assert before == after, (before, after)
        assert _render_error() == ""


def case_copied_scene_gets_avatars_of_its_own(actor: str) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    first = bpy.context.scene
    assert bpy.ops.scene.new(type="LINK_COPY") == {"FINISHED"}
    second = next(s for s in bpy.data.scenes if s != first and s.avatar.owner is None)
    with bpy.context.temp_override(scene=second):
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
    assert first.avatar.avatars != second.avatar.avatars
    assert second.avatar.avatars.avatar.owner == second and first.avatar.avatars.avatar.owner == first
    with bpy.context.temp_override(scene=second):
        assert bpy.ops.avatar.remove_compositing() == {"FINISHED"}
    assert first.avatar.avatars is not None
    assert import_module(f"{ADDON}.compositor").is_set_up(first)
    assert _render_error() == ""


def case_merge_keeps_what_the_artist_graded(actor: str) -> None:
    """The group goes between the artist's nodes and the output."""
    shot.build(actor, {**shot.DEFAULTS, "set_up": False})
    scene = bpy.context.scene
    blur = _grade(scene)
    assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
    compat = import_module(f"{ADDON}.compat")
    group = compat.output_socket(compat.compositor_tree(scene)).links[0].from_node
    assert group.bl_idname == "CompositorNodeGroup"
    assert compat.named(group.inputs, "Scene").links[0].from_node.name == blur


def case_soft_edge_has_no_dark_fringe(actor: str) -> None:
    """Half transparent green before, behind and beside a cube: over, in the right order, premultiplied."""
    shot.build(actor, {**shot.DEFAULTS})
    scene = bpy.context.scene
    session = import_module(f"{ADDON}.session")
    height, width = SIZE[1], SIZE[0]
    rgba = np.zeros((height, width, 4), np.float32)
    rgba[..., 1] = rgba[..., 3] = 0.5
    depth = np.full((height, width), 2.0, np.float32)
    depth[height // 2 :] = 3.5  # behind the cube, whose face is 2.75 m away
    planes = session.Planes(rgba, depth, np.zeros((height, width, 3), np.float32), rgba[..., 3])
    scene.timeline_markers.clear()
    shown = _still(scene, session, planes)
    cube, sky = np.array([0.9, 0.4, 0.1, 1]), np.array([0.2, 0.3, 0.8, 1])
    over = rgba[0, 0]
    x, top, bottom = 56, height // 2 - 4, height // 2 + 4
    np.testing.assert_allclose(shown[top, x], over + 0.5 * cube, atol=1e-3)
    np.testing.assert_allclose(shown[bottom, x], cube, atol=1e-3)
    np.testing.assert_allclose(shown[2, 2], over + 0.5 * sky, atol=1e-3)
    np.testing.assert_allclose(shown[-2, 2], over + 0.5 * sky, atol=1e-3)
    scene.render.film_transparent = True
    shown = _still(scene, session, planes)
    np.testing.assert_allclose(shown[top, x], over + 0.5 * cube, atol=1e-3)
    np.testing.assert_allclose(shown[2, 2], over, atol=1e-3)


def case_closer_actor_covers(actor: str) -> None:
    """Two actors in one picture are sorted per pixel, and each has its own mask."""
    layers = import_module(f"{ADDON}.layers")
    near, far = np.full((1, 2), 1.0, np.float32), np.full((1, 2), 2.0, np.float32)
    near[0, 1] = 3.0  # in the second pixel it is the other way round
    red, green = np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 4), np.float32)
    red[...], green[...] = (0.5, 0, 0, 0.5), (0, 1, 0, 1)
    normals = np.zeros((1, 2, 3), np.float32)
    picture = layers.combine(
        [layers.Layer(red, near, normals), layers.Layer(green, far, normals)],
        [red[..., 3], green[..., 3]],
        2,
        1,
    )
    np.testing.assert_allclose(picture.rgba[0], [(0.5, 0.5, 0, 1), (0, 1, 0, 1)])
    np.testing.assert_allclose(picture.depth[0], [1, 2])
    np.testing.assert_allclose(picture.masks[0][0], [0.5, 0])
    np.testing.assert_allclose(picture.masks[1][0], [0.5, 1])


def case_two_actors_have_two_masks(actor: str) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    assert bpy.ops.avatar.load_actor(filepath=actor) == {"FINISHED"}
    avatars = bpy.context.scene.avatar.avatars
    names = import_module(f"{ADDON}.properties").mask_names(avatars)
    assert len(set(names.values())) == 2, names
    compositor = import_module(f"{ADDON}.compositor")
    node = next(
        node
        for node in compositor.our_nodes(import_module(f"{ADDON}.compat").compositor_tree(bpy.context.scene))
        if node.bl_idname == "CompositorNodeRLayers" and node.scene == avatars
    )
    assert set(names.values()) <= {socket.name for socket in node.outputs}, [s.name for s in node.outputs]
    assert _render_error() == ""


def case_hidden_actor_is_not_rendered(actor: str) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    scene = bpy.context.scene
    rig = next(o for o in scene.objects if o.avatar.actor_path)
    rig.avatar.actor_path = actor.replace(".actor", "_missing.actor")
    assert "does not exist" in _render_error()
    rig.hide_render = True
    assert _render_error() == ""
    rig.hide_render = False
    rig.users_collection[0].hide_render = True
    assert _render_error() == ""


def case_stand_in_casts_a_shadow_and_is_not_seen(actor: str) -> None:
    shot.build(actor, {**shot.DEFAULTS, "set_up": False, "bare": True})
    scene = bpy.context.scene
    mesh = next(o for o in scene.objects if o.avatar.actor_path).avatar.mesh
    assert not mesh.visible_camera and not mesh.hide_render  # Load Actor makes it one
    bpy.ops.mesh.primitive_plane_add(size=40, location=(0, 3, 0), rotation=(math.radians(90), 0, 0))
    bpy.ops.object.light_add(type="SUN", rotation=(math.radians(80), 0, math.radians(15)))
    bpy.context.object.data.energy = 5
    scene.render.use_compositing = False
    scene.timeline_markers.clear()
    scene.cycles.samples = 4
    scene.cycles.max_bounces = 1
    lit = _still(scene, None, None)
    bpy.context.view_layer.objects.active = mesh
    assert bpy.ops.avatar.stand_in() == {"FINISHED"}  # off
    plain = _still(scene, None, None)
    difference = plain[..., :3].mean(-1) - lit[..., :3].mean(-1)
    assert (difference > 0.2).mean() > 0.01, difference.max()  # a shadow on the wall
    height, width = difference.shape
    chest = difference[height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1]
    assert np.abs(chest).max() < 0.1, chest  # where the body stands there is wall


def case_relative_path(actor: str) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    rig = next(o for o in bpy.context.scene.objects if o.avatar.actor_path)
    rig.avatar.actor_path = "//" + Path(actor).name
    assert "save it first" in _render_error()
    bpy.ops.wm.save_as_mainfile(filepath=str(Path(actor).with_name("relative.blend")), check_existing=False)
    assert _render_error() == ""


def case_head_goes_on_a_head_bone(actor: str) -> None:
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


def case_wrong_rig_is_named(actor: str) -> None:
    shot.build(actor, {**shot.DEFAULTS})
    rig = next(o for o in bpy.context.scene.objects if o.avatar.actor_path)
    rig.data.bones["head"].name = "skull"
    message = _render_error()
    assert "(head)" in message and rig.name in message, message


def _render_error() -> str:
    """Renders the first frame; the error's sentence, or nothing. A failed frame leaves no picture."""
    scene = bpy.context.scene
    scene.frame_start = scene.frame_end = 1
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / "x")
        bpy.ops.render.render(animation=True)
        message = "".join(import_module(f"{ADDON}.failures").found())
        assert bool(list(Path(folder).iterdir())) == (message == ""), message
    return message


def _still(scene: bpy.types.Scene, session: Any, planes: Any) -> np.ndarray:
    """Frame 1 as [H, W, 4] floats, top row first; `planes` in place of what the worker would render."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "still.exr")
        scene.frame_set(1)
        scene.render.filepath = path
        real = session.Session.render if session else None
        if session:
            session.Session.render = lambda *_, **__: planes
        try:
            bpy.ops.render.render(write_still=True)
        finally:
            if session:
                session.Session.render = real
        return pictures.read(path)


def _grade(scene: bpy.types.Scene) -> str:
    """A blur between render layers and output, and a viewer; returns the blur's name."""
    compat = import_module(f"{ADDON}.compat")
    tree = compat.make_compositor_tree(scene)
    tree.nodes.clear()
    layers, blur = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeBlur")
    viewer = tree.nodes.new("CompositorNodeViewer")
    compat.make_output(tree)
    tree.links.new(layers.outputs["Image"], blur.inputs["Image"])
    tree.links.new(blur.outputs["Image"], compat.output_socket(tree))
    tree.links.new(blur.outputs["Image"], viewer.inputs[0])
    return blur.name


def _grade_and_switch_off(scene: bpy.types.Scene) -> None:
    _grade(scene)
    import_module(f"{ADDON}.compat").drop_compositor_tree(scene)


def _picture_of(scene: bpy.types.Scene) -> dict[str, Any]:
    """Everything that set-up touches, comparable."""
    compat = import_module(f"{ADDON}.compat")
    tree = compat.compositor_tree(scene) or getattr(scene, "node_tree", None)
    return {
        "scenes": bpy.data.scenes.keys(),
        "groups": bpy.data.node_groups.keys(),
        "on": compat.compositor_tree(scene) is not None,
        "passes": {layer.name: (layer.use_pass_z, layer.use_pass_mist) for layer in scene.view_layers},
        "mist": [getattr(scene.world.mist_settings, key) for key in ("start", "depth", "falloff")],
        "nodes": sorted((node.bl_idname, node.name) for node in tree.nodes) if tree else [],
        "links": sorted(
            (link.from_node.name, link.from_socket.identifier, link.to_node.name, link.to_socket.identifier)
            for link in (tree.links if tree else [])
        ),
        "objects": sorted(scene.objects.keys()),
    }


def _matrix(turn: Any) -> np.ndarray:
    """[3, 3] float64 from axis-angle, by Rodrigues' formula."""
    angle = float(np.linalg.norm(turn))
    x, y, z = np.asarray(turn, np.float64) / max(angle, 1e-300)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
