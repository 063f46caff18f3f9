"""Loads and renders an actor by a worker on another machine.

Arguments: its path here, a JSON object of variables, and 'packed' where the actor is packed before it is rendered.
"""

from __future__ import annotations

import importlib
import json
import os

import bpy

ADDON = "bl_ext.user_default.neural_avatars"


def main(arguments: list[str]) -> int:
    actor, variables, *packed = arguments
    os.environ.update(json.loads(variables))
    try:
        bpy.ops.avatar.load_actor(filepath=actor)
    except RuntimeError as error:
        print(f"REMOTE {error}", flush=True)
        return 0
    session = importlib.import_module(f"{ADDON}.session").current
    if packed:
        bpy.ops.avatar.pack_actor()
    path = importlib.import_module(f"{ADDON}.properties").actor_file(bpy.context.object)
    camera = {"width": 32, "height": 32, "K": [40, 0, 16, 0, 40, 16, 0, 0, 1], "distortion": []}
    camera["world_to_camera"] = [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 3.2, 0, 0, 0, 1]
    planes = session.render(path, {}, camera, "draft")
    print(f"REMOTE {'ok' if planes.mask.max() > 0.9 else 'nobody is seen'}", flush=True)
    session.close()
    return 0
