"""Builds the shot that the tests render: a set, an actor posed by keys and a constraint, two cameras.

Arguments: the actor file, a folder, and a JSON object with the options of each shot by its name. Each is
saved in the folder as NAME.blend; with "render" its frames are rendered too, as NAME_0001.exr and so on.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import bpy
import mathutils
from values import SIZE, SLIDES, STEPS, TURNS

DEFAULTS = {
    "frames": 3,
    "border": None,
    "crop": False,
    "percent": 100,
    "layers": 1,
    "motion_blur": False,
    "blur_samples": 1,
    "focus": None,
    "bare": False,
    "set_up": True,
    "quality": "draft",
    "engine": "CYCLES",
    "render": False,
}


def main(arguments: list[str]) -> int:
    actor, folder, shots = arguments
    for name, options in json.loads(shots).items():
        build(actor, {**DEFAULTS, **options})
        target = os.path.join(folder, name)
        bpy.ops.wm.save_as_mainfile(filepath=f"{target}.blend", check_existing=False)
        if options.get("render"):
            bpy.context.scene.render.filepath = f"{target}_"
            bpy.ops.render.render(animation=True)
    return 0


def build(actor: Path | str, options: dict) -> None:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)  # the add-on and its worker stay
    scene = bpy.context.scene
    configure(scene, options)
    if not options["bare"]:
        add_cube()
    add_cameras(scene, options["focus"])
    assert bpy.ops.avatar.load_actor(filepath=str(actor)) == {"FINISHED"}
    rig = bpy.context.object
    rig.avatar.quality = options["quality"]
    pose(rig)
    if options["set_up"]:
        assert bpy.ops.avatar.setup_compositing() == {"FINISHED"}
        for number in range(1, options["layers"]):
            layer = scene.avatar.avatars.view_layers.new(f"Second {number}")
            layer.use_pass_z = True
            layer.update_render_passes()


def configure(scene: bpy.types.Scene, options: dict) -> None:
    render = scene.render
    if options["engine"] == "EEVEE":
        render.engine = "BLENDER_EEVEE" if bpy.app.version >= (5, 0, 0) else "BLENDER_EEVEE_NEXT"
        scene.eevee.taa_render_samples = 1
    else:
        render.engine = options["engine"]
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.pixel_filter_type = 1, False, "BOX"
    scene.cycles.max_bounces = 0
    render.resolution_x, render.resolution_y = SIZE
    render.resolution_percentage = options["percent"]
    render.use_motion_blur = options["motion_blur"]
    scene.avatar.blur_samples = options["blur_samples"]
    if options["border"]:
        render.use_border, render.use_crop_to_border = True, options["crop"]
        names = ("border_min_x", "border_min_y", "border_max_x", "border_max_y")
        for name, value in zip(names, options["border"]):
            setattr(render, name, value)
    scene.frame_start, scene.frame_end = 1, options["frames"]
    settings = render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_mode, settings.color_depth = "OPEN_EXR", "RGBA", "32"
    settings.exr_codec = "ZIP"
    scene.world = world = bpy.data.worlds.new("sky")
    if bpy.app.version < (5, 0, 0):
        world.use_nodes = True
    world.node_tree.nodes["Background"].inputs[0].default_value = (0.2, 0.3, 0.8, 1)


def add_cube() -> None:
    """Glows, so that it has no noise; covers the right half of the actor's chest."""
    bpy.ops.mesh.primitive_cube_add(size=0.5, location=(0.3, -1, 0.0))
    glow = bpy.data.materials.new("glow")
    if bpy.app.version < (5, 0, 0):
        glow.use_nodes = True
    tree = glow.node_tree
    tree.nodes.clear()
    emission, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    emission.inputs[0].default_value = (0.9, 0.4, 0.1, 1)
    tree.links.new(emission.outputs[0], output.inputs[0])
    bpy.context.object.data.materials.append(glow)


def add_cameras(scene: bpy.types.Scene, focus: float | None = None) -> None:
    """A to frame 2, then B, by markers. B has a shift, another sensor fit and keys."""
    for name, place in (("A", (0, -4, 0)), ("B", (0.5, -4, 0.3))):
        camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
        scene.collection.objects.link(camera)
        camera.location, camera.rotation_euler = place, (math.radians(90), 0, 0)
        if focus is not None:
            dof = camera.data.dof
            dof.use_dof, dof.focus_distance, dof.aperture_fstop = True, focus, 0.5
    data = bpy.data.cameras["B"]
    data.shift_x, data.shift_y, data.sensor_fit, data.lens = 0.1, -0.05, "VERTICAL", 35
    for frame, step in SLIDES.items():
        bpy.data.objects["B"].location.x = 0.5 + step
        bpy.data.objects["B"].keyframe_insert("location", frame=frame)
    scene.camera = bpy.data.objects["A"]
    for frame, name in ((1, "A"), (3, "B")):
        scene.timeline_markers.new(name, frame=frame).camera = bpy.data.objects[name]


def pose(rig: bpy.types.Object) -> None:
    shoulder = rig.pose.bones["left_shoulder"]
    for frame, turn in TURNS.items():
        shoulder.rotation_quaternion = mathutils.Quaternion((0, 0, 1), turn)
        shoulder.keyframe_insert("rotation_quaternion", frame=frame)
    copy = rig.pose.bones["right_shoulder"].constraints.new("COPY_ROTATION")
    copy.target, copy.subtarget = rig, "left_shoulder"
    copy.owner_space = copy.target_space = "LOCAL"
    carrier = bpy.data.objects.new("carrier", None)
    bpy.context.scene.collection.objects.link(carrier)
    rig.parent = carrier
    for frame, step in STEPS.items():
        carrier.location.x = step
        carrier.keyframe_insert("location", frame=frame)
    key = rig.avatar.mesh.data.shape_keys.key_blocks.get("beta_00")
    if key is not None:
        for frame in TURNS:
            key.value = frame - 1
            key.keyframe_insert("value", frame=frame)
