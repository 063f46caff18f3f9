"""Loads and renders an actor by a worker on another machine.

Arguments: its path here, a JSON object of variables, and 'packed' where the actor is packed before it is rendered; then
it is moved by a recording from a file, twice, too.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import bpy
import numpy as np

ADDON = "bl_ext.user_default.neural_avatars"
TURN = 0.4  # radians of each joint


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
        print(f"REMOTE {moved(Path(actor).with_name('a walk.npz'))}", flush=True)
    path = importlib.import_module(f"{ADDON}.properties").actor_file(bpy.context.object)
    camera = {"width": 32, "height": 32, "K": [40, 0, 16, 0, 40, 16, 0, 0, 1], "distortion": []}
    camera["world_to_camera"] = [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 3.2, 0, 0, 0, 1]
    planes = session.render(path, {}, camera, "draft")
    print(f"REMOTE {'ok' if planes.mask.max() > 0.9 else 'nobody is seen'}", flush=True)
    session.close()
    return 0


def moved(file: Path) -> str:
    """What keys the bones had after an import; the folder of the file is not seen by the worker."""
    np.savez(file, poses=np.full((3, 66), TURN), trans=np.zeros((3, 3)), mocap_framerate=24)
    for _ in range(2):
        assert bpy.ops.avatar.import_motion(filepath=str(file)) == {"FINISHED"}
    bpy.context.scene.frame_set(2)
    turn = bpy.context.object.pose.bones["left_knee"].rotation_quaternion.angle
    assert abs(turn - TURN * 3**0.5) < 1e-4, turn
    folder = file.with_name("walk of json")
    folder.mkdir(exist_ok=True)
    try:
        bpy.ops.avatar.import_motion(filepath=str(folder))
    except RuntimeError as error:
        return f"moved; {error}"
    return "a folder was sent"
