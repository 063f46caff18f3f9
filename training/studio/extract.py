"""Reads a rigged character from a .blend file inside of Blender: `SCRIPT -- JOB.json`. Numpy and bpy only.

What comes out is a body in the world of avatar_core (y up, metres) as the armature stands in the first frame:
rest vertices of all meshes together, triangles, weights of deform bones, rest bone heads as joints; and for
each frame the rotation of each bone against its parent, in the axes of that world, after constraints.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import bpy
import numpy as np

from training.studio.rigged import (
    Character,
    StudioFailure,
    find_character,
    open_file,
    skinned_to,
)
from training.studio.script import run_job

_TO_Y_UP = np.array(((1, 0, 0, 0), (0, 0, 1, 0), (0, -1, 0, 0), (0, 0, 0, 1)), np.float64)


def main(job: dict[str, Any]) -> None:
    open_file(Path(job["blend"]))
    scene = bpy.context.scene
    character = find_character(job["armature"], job["meshes"])
    frames = np.unique(np.linspace(scene.frame_start, scene.frame_end, job["frames"]).round().astype(int))
    scene.frame_set(int(frames[0]))
    bones = _weighted_bones(character)
    parents = _parents(bones)
    arrays = _rest_meshes(character, [bone.name for bone in bones])
    place = _TO_Y_UP @ np.array(character.armature.matrix_world)  # armature space to the world of avatar_core
    rest = np.stack([place @ np.array(bone.matrix_local) for bone in bones])
    pose, transl, error = _poses(character.armature, bones, parents, rest, frames)
    arrays.update(
        joints=rest[:, :3, 3],
        joint_names=np.array([bone.name for bone in bones]),
        parents=np.array(parents, np.int32),
        pose=pose,
        transl=transl,
        frames=frames,
        fps=np.array(scene.render.fps / scene.render.fps_base),
        error=np.array(error),
        armature=np.array(character.armature.name),
        meshes=np.array([mesh.name for mesh in character.meshes]),
    )
    temporary = Path(job["result"]).with_suffix(f".{os.getpid()}.npz")
    np.savez(temporary, **arrays)
    os.replace(temporary, job["result"])


def _weighted_bones(character: Character) -> list[bpy.types.Bone]:
    """Deform bones that move a vertex, and a bone above all of them where there is one; parents first."""
    used = {mesh.parent_bone for mesh in character.meshes if not skinned_to(mesh, character.armature)}
    for mesh in character.meshes:
        groups = {group.group for vertex in mesh.data.vertices for group in vertex.groups if group.weight > 0}
        used |= {group.name for group in mesh.vertex_groups if group.index in groups}
    rig = character.armature.data.bones
    bones = [bone for bone in rig if bone.name in used and bone.use_deform]
    if not bones:
        raise StudioFailure(f"no vertex group names a deform bone of armature '{character.armature.name}'")
    lines = [[bone, *bone.parent_recursive] for bone in bones]
    shared = [bone for bone in lines[0] if all(bone in line for line in lines)]
    if shared and shared[0] not in bones:
        bones.append(shared[0])
    return sorted(bones, key=lambda bone: len(bone.parent_recursive))


def _parents(bones: list[bpy.types.Bone]) -> list[int]:
    """Index of the nearest ancestor among `bones`, -1 for a root."""
    index = {bone.name: i for i, bone in enumerate(bones)}
    return [next((index[up.name] for up in bone.parent_recursive if up.name in index), -1) for bone in bones]


def _rest_meshes(character: Character, joints: list[str]) -> dict[str, np.ndarray]:
    """All meshes in one, with the armature at rest."""
    character.armature.data.pose_position = "REST"
    bpy.context.view_layer.update()
    parts = [_read_mesh(mesh, character.armature, joints) for mesh in character.meshes]
    cells = int(np.ceil(np.sqrt(len(parts))))  # each mesh gets a cell of the texture, so that none overlap
    vertices = uv = 0
    for number, part in enumerate(parts):
        part["faces"], part["face_uv"] = part["faces"] + vertices, part["face_uv"] + uv
        part["uv"] = (part["uv"] + np.array((number % cells, number // cells))) / cells
        vertices, uv = vertices + len(part["vertices"]), uv + len(part["uv"])
    character.armature.data.pose_position = "POSE"
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    if any(not len(part["uv"]) for part in parts):
        joined["uv"], joined["face_uv"] = np.zeros((0, 2), np.float32), np.zeros((0, 3), np.int32)
    return joined


def _read_mesh(mesh: bpy.types.Object, armature: bpy.types.Object, joints: list[str]) -> dict[str, np.ndarray]:
    """Its own vertices at rest (before modifiers), triangles, weights [V, J] and texture coordinates."""
    data = mesh.data
    count = len(data.vertices)
    source = data.shape_keys.reference_key.data if data.shape_keys else data.vertices
    points = np.empty(count * 3, np.float32)
    source.foreach_get("co", points)
    world = _TO_Y_UP @ np.array(mesh.matrix_world)
    vertices = points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]
    data.calc_loop_triangles()
    faces, loops = (np.empty(len(data.loop_triangles) * 3, np.int32) for _ in range(2))
    data.loop_triangles.foreach_get("vertices", faces)
    data.loop_triangles.foreach_get("loops", loops)
    uv = np.empty(0, np.float32)
    if data.uv_layers.active:
        uv = np.empty(len(data.loops) * 2, np.float32)
        data.uv_layers.active.data.foreach_get("uv", uv)
    return {
        "vertices": vertices.astype(np.float32),
        "faces": faces.reshape(-1, 3),
        "weights": _weights(mesh, armature, joints),
        "uv": uv.reshape(-1, 2),
        "face_uv": loops.reshape(-1, 3) if len(uv) else np.zeros((0, 3), np.int32),
    }


def _weights(mesh: bpy.types.Object, armature: bpy.types.Object, joints: list[str]) -> np.ndarray:
    """[V, J], rows sum to 1; vertices without a weight follow the first joint."""
    weights = np.zeros((len(mesh.data.vertices), len(joints)), np.float32)
    if not skinned_to(mesh, armature):
        weights[:, joints.index(mesh.parent_bone)] = 1
        return weights
    column = {group.index: joints.index(group.name) for group in mesh.vertex_groups if group.name in joints}
    for vertex in mesh.data.vertices:
        for group in vertex.groups:
            if group.group in column:
                weights[vertex.index, column[group.group]] = group.weight
    weights[weights.sum(1) <= 0, 0] = 1
    return weights / weights.sum(1, keepdims=True)


def _poses(
    armature: bpy.types.Object,
    bones: list[bpy.types.Bone],
    parents: list[int],
    rest: np.ndarray,
    frames: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, float]:
    """[T, J, 3] axis-angle, [T, 3] metres, and the largest distance in metres between a bone's head and where
    these numbers put it: not zero where a rig stretches, scales or slides its bones."""
    scene, joints = bpy.context.scene, rest[:, :3, 3]
    inverse = np.linalg.inv(rest)
    pose, transl, error = np.zeros((len(frames), len(bones), 3)), np.zeros((len(frames), 3)), 0.0
    for t, frame in enumerate(frames.tolist()):
        scene.frame_set(frame)
        rig = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
        place = _TO_Y_UP @ np.array(rig.matrix_world)
        posed = np.stack([place @ np.array(rig.pose.bones[bone.name].matrix) for bone in bones])
        turns = _nearest_rotation((posed @ inverse)[:, :3, :3])  # [J, 3, 3] from rest, world axes
        heads = np.zeros_like(joints)
        for j, parent in enumerate(parents):
            above = turns[parent] if parent >= 0 else np.eye(3)
            pose[t, j] = _axis_angle(above.T @ turns[j])
            if parent < 0:
                transl[t] = posed[0, :3, 3] - joints[0]
                heads[j] = joints[j] + transl[t]
            else:
                heads[j] = heads[parent] + above @ (joints[j] - joints[parent])
        error = max(error, float(np.linalg.norm(heads - posed[:, :3, 3], axis=1).max()))
    return pose, transl, error


def _nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """[J, 3, 3] -> [J, 3, 3] without scale, shear or mirroring."""
    left, _, right = np.linalg.svd(matrix)
    left[:, :, 2] *= np.linalg.det(left @ right)[:, None]
    return left @ right


def _axis_angle(rotation: np.ndarray) -> np.ndarray:
    """[3, 3] -> [3] radians, also for half turns."""
    x, y, z, w = _quaternion(rotation)
    vector = np.array((x, y, z))
    sine = np.linalg.norm(vector)
    return vector * (2 * np.arctan2(sine, w) / sine) if sine > 1e-12 else np.zeros(3)


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """[3, 3] -> [4] unit x, y, z, w with w >= 0: the largest eigenvector of Bar-Itzhack's matrix."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    matrix = np.array(
        (
            (a - e - i, 0, 0, 0),
            (d + b, e - a - i, 0, 0),
            (g + c, h + f, i - a - e, 0),
            (h - f, c - g, d - b, a + e + i),
        )
    )
    vector = np.linalg.eigh(matrix)[1][:, -1]  # eigh reads the lower triangle
    return vector if vector[3] >= 0 else -vector


if __name__ == "__main__":
    run_job(main)
