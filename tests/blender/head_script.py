"""Inside of Blender: a mesh with ARKit's shape keys, an object that moves, and what a head's schema reads of them."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import bpy

package = ModuleType("blender_addon")  # without what the built extension adds to it
package.__path__ = [str(Path(__file__).parents[2] / "blender_addon")]
sys.modules["blender_addon"] = package
read_controls = import_module("blender_addon.pose").read_controls

bpy.ops.wm.read_factory_settings(use_empty=True)
mesh = bpy.data.meshes.new("face")
mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
face = bpy.data.objects.new("face", mesh)
carrier = bpy.data.objects.new("carrier", None)
for thing in (face, carrier):
    bpy.context.scene.collection.objects.link(thing)
face.shape_key_add(name="Basis")
for name, value in json.loads(sys.argv[1]).items():
    face.shape_key_add(name=f"expr_{name}").value = value
carrier.location = (0.1, -0.2, 0.3)
bpy.context.view_layer.update()
posed = read_controls(carrier, face, json.loads(sys.argv[2]), bpy.context.evaluated_depsgraph_get())
print("REPORT " + json.dumps(posed.controls), flush=True)
os._exit(0)
