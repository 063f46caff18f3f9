"""Runs inside bpy: poses the built rig and compares it with avatar_core's skinning. Prints one JSON line."""

from __future__ import annotations

import json
import os
import sys
import traceback

import bpy
import mathutils
import numpy as np
import torch

from avatar_core.body import Body, load_body
from avatar_core.body.kinematics import relative_transforms
from avatar_core.cuda.skin import skin_points
from blend_templates.motions import load_motion
from blend_templates.rig import RigArrays, build_rig, fit_bones


def main() -> dict[str, object]:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    body = load_body()
    armature, mesh = build_rig("body", RigArrays.from_body(body))
    bpy.context.view_layer.update()
    axes = [np.array(bone.matrix_local.to_3x3()) for bone in armature.data.bones]
    report: dict[str, object] = {
        "bones": [bone.name for bone in armature.data.bones],
        "axes": float(np.abs(np.stack(axes) - np.eye(3)).max()),
        "keys": {key.name: [key.slider_min, key.slider_max] for key in mesh.data.shape_keys.key_blocks},
        "uv": len(mesh.data.uv_layers["UVMap"].data),
        "up": list(armature.matrix_world @ mathutils.Vector((0, 1, 0))),
    }
    for name, frame in (("squat", 22), ("wave", 25), ("jump", 20)):
        motion = load_motion(name)
        report[name] = difference(body, armature, mesh, motion.pose[frame], motion.transl[frame], {})
    motion = load_motion("walk")
    betas = {"beta_00": 2.0, "beta_02": -1.5}
    fit_bones(armature, np.array([2.0, 0.0, -1.5]))
    values = {**betas, "expr_jawOpen": 1.0, "expr_mouthSmileLeft": 0.5}
    report["shaped"] = difference(body, armature, mesh, motion.pose[9], motion.transl[9], values)
    return report


def difference(
    body: Body,
    armature: bpy.types.Object,
    mesh: bpy.types.Object,
    pose: np.ndarray,
    transl: np.ndarray,
    keys: dict[str, float],
) -> float:
    """Largest distance in metres between Blender's deformed vertices and ours."""
    for joint, rotation in zip(body.joint_names, pose):
        bone = armature.pose.bones[joint]
        vector = mathutils.Vector(rotation.tolist())
        bone.rotation_quaternion = mathutils.Quaternion(vector.normalized(), vector.length)
    armature.pose.bones[body.joint_names[0]].location = transl.tolist()
    for name, value in keys.items():
        mesh.data.shape_keys.key_blocks[name].value = value
    betas = np.array([keys.get(f"beta_{i:02d}", 0.0) for i in range(body.shapedirs.shape[2])])
    expression = np.array([keys.get(f"expr_{unit}", 0.0) for unit in body.expression_names])
    rest = torch.from_numpy(body.shaped(betas, expression))
    joints = torch.from_numpy(body.joints(betas))
    transforms = relative_transforms(torch.tensor(pose), joints, body.parents, torch.tensor(transl))
    ours = skin_points(rest, torch.from_numpy(body.weights), transforms).numpy()
    graph = bpy.context.evaluated_depsgraph_get()
    graph.update()
    evaluated = mesh.evaluated_get(graph).to_mesh()
    theirs = np.zeros(len(evaluated.vertices) * 3, np.float32)
    evaluated.vertices.foreach_get("co", theirs)
    return float(np.linalg.norm(ours - theirs.reshape(-1, 3), axis=1).max())


if __name__ == "__main__":
    code = 1
    try:
        print("REPORT " + json.dumps(main()), flush=True)
        code = 0
    except Exception:  # the process must not end through bpy's own shutdown, which can hang
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)
