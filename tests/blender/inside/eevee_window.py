"""A person's mesh by Cycles and by EEVEE, which draws in a window alone. Arguments: an actor file, that of people.

Writes `eevee`, which pixels each engine covers and how bright they are, beside cycles.png and eevee.png.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, __file__.rpartition("/")[0])
import steps

SIZE = 64


def scenario(people: str) -> Iterator[float]:
    scene = bpy.context.scene
    window, area, region = steps.view3d()
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.data.objects.remove(bpy.data.objects["Cube"])
        assert bpy.ops.avatar.load_actor(filepath=people) == {"FINISHED"}
        rig = next(found for found in scene.objects if found.avatar.actor_path)
        bpy.context.view_layer.objects.active = rig
        assert bpy.ops.avatar.sample_person(seed=3) == {"FINISHED"}
        assert bpy.ops.avatar.make_mesh(detail=1) == {"FINISHED"}
    mesh = rig.avatar.person_mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    corners = np.array([mesh.matrix_world @ vertex.co for vertex in mesh.data.vertices])
    middle, side = (corners.min(0) + corners.max(0)) / 2, float(np.ptp(corners, axis=0).max())
    scene.camera.location, scene.camera.rotation_euler = np.add(middle, (0, -2, 0)), (math.pi / 2, 0, 0)
    scene.camera.data.type, scene.camera.data.ortho_scale = "ORTHO", 1.2 * side
    lamp = next(found for found in scene.objects if found.type == "LIGHT")
    lamp.data.type, lamp.data.energy = "SUN", 3.0
    lamp.rotation_euler = scene.camera.rotation_euler
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.resolution_percentage, scene.render.film_transparent = 100, True
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.cycles.samples, scene.cycles.use_denoising = 4, False
    engines = {item.identifier for item in scene.render.bl_rna.properties["engine"].enum_items}
    eevee = "BLENDER_EEVEE_NEXT" if "BLENDER_EEVEE_NEXT" in engines else "BLENDER_EEVEE"
    scene.eevee.taa_render_samples = 4
    yield 0.5
    seen = {}
    for name, engine in (("cycles", "CYCLES"), ("eevee", eevee)):
        scene.render.engine, scene.render.filepath = engine, str(Path(f"{name}.png").absolute())
        with bpy.context.temp_override(window=window):
            bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath)
        seen[name] = np.array(image.pixels[:]).reshape(SIZE, SIZE, 4)
        yield 0.1
    full = {name: pixels[..., 3] > 0.5 for name, pixels in seen.items()}
    report = {
        "covered": {name: float(found.mean()) for name, found in full.items()},
        "overlap": float((full["cycles"] & full["eevee"]).sum() / (full["cycles"] | full["eevee"]).sum()),
        "colour": {name: seen[name][found][:, :3].mean(0).tolist() for name, found in full.items()},
    }
    steps.tell("eevee", json.dumps(report))


steps.run(scenario(sys.argv[sys.argv.index("--") + 2]))
