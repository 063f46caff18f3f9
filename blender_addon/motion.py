# SPDX-License-Identifier: GPL-3.0-or-later
"""Motions in and out: SMPL poses onto the bones of a rig as keys, faces of ARKit onto shape keys, keys to an .npz.

Rotations are those of `pose.read_controls`: each joint against its parent, in the body's axes (y up).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import compat
from .coordinates import TO_BLENDER, rigid
from .errors import SceneError
from .pose import axis_angles, read_controls, shaped_head
from .rig import EXPRESSION_PREFIX

_MOST_ROWS = 1_000_000
_STILL = 1e-9  # radians: no turn at all
_SPATIAL = 1e-6


@dataclass(frozen=True)
class Motion:
    """pose: [T, J, 3] axis-angle; transl: [T, 3] metres of the body's y-up world; fps: frames a second."""

    pose: np.ndarray
    transl: np.ndarray
    fps: float


def resampled(motion: Motion, fps: float) -> Motion:
    """The motion at another frame rate: turns on the shortest arc, places on straight lines."""
    count = len(motion.pose)
    frames = max(int(np.floor((count - 1) * fps / motion.fps + _SPATIAL)) + 1, 1)
    at = np.minimum(np.arange(frames) * motion.fps / fps, count - 1)
    before = np.minimum(at.astype(int), max(count - 2, 0))
    after = np.minimum(before + 1, count - 1)
    part = (at - before)[:, None]
    pose = _between(quaternions(motion.pose[before]), quaternions(motion.pose[after]), part[..., None])
    transl = motion.transl[before] * (1 - part) + motion.transl[after] * part
    return Motion(axis_angles(_matrices(pose).reshape(-1, 3, 3)).reshape(frames, -1, 3), transl, fps)


def key_motion(
    armature: bpy.types.Object, joints: Sequence[str], motion: Motion, start: int, betas: np.ndarray
) -> None:
    """Keys on the bones named as `joints` from frame `start` on, one a frame; what was keyed there goes.

    The armature object's own transform stays: the motion is in its space. Raises SceneError.
    """
    if not joints:
        raise SceneError(
            f"'{armature.name}' has no body of its own that a motion could key: select one that Load Actor made."
        )
    bones = [armature.pose.bones.get(name) for name in joints]
    missing = [name for name, bone in zip(joints, bones) if bone is None]
    if missing:
        raise SceneError(f"Armature '{armature.name}' has no bone '{missing[0]}': load the actor again.")
    frames = np.arange(start, start + len(motion.pose), dtype=np.float64)
    turns = _matrices(quaternions(motion.pose))  # [T, J, 3, 3]
    for i, bone in enumerate(bones):
        rest = rigid(np.array(bone.bone.matrix_local, np.float64))[:3, :3]
        if bone.parent is not None and bone.parent not in bones:
            raise SceneError(
                f"Bone '{bone.parent.name}' of '{armature.name}' is no joint of the actor: import the motion onto a"
                " rig that Load Actor made, and let this one follow it."
            )
        bone.rotation_mode = "QUATERNION"
        values = _continuous(_quaternions_of(rest.T @ turns[:, i] @ rest))
        _key(armature, bone, "rotation_quaternion", frames, values)
    root = bones[0]
    rest = rigid(np.array(root.bone.matrix_local, np.float64))
    shifted = shaped_head(root.bone, betas) - rest[:3, 3]  # SMPL turns about the shaped body's joint, the rig here
    moved = motion.transl + shifted - turns[:, 0] @ shifted
    _key(armature, root, "location", frames, moved @ rest[:3, :3])


def key_faces(mesh: bpy.types.Object, names: Sequence[str], values: np.ndarray, times: np.ndarray, start: int) -> int:
    """Keys of ARKit's coefficients [T, N] at `times` [T] frames after `start`; returns how many are used."""
    keys = mesh.data.shape_keys
    blocks = {block.name.lower(): block for block in keys.key_blocks} if keys is not None else {}
    used = 0
    for name, column in zip(names, values.T):
        block = blocks.get(f"{EXPRESSION_PREFIX}{name}".lower())
        if block is not None:
            used += 1
            _key(keys, block, "value", start + times, column[:, None])
    return used


def read_faces(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names [N], coefficients [T, N] and seconds [T] of a table as Live Link Face records it. Raises SceneError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row, _ in zip(csv.reader(stream), range(_MOST_ROWS + 1)) if row]
    except OSError as error:
        raise SceneError(f"{path.name} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SceneError(f"{path.name} is no table: choose the .csv that Live Link Face recorded.") from error
    if len(rows) < 2 or len(rows) > _MOST_ROWS or rows[0][:1] != ["Timecode"] or len(rows[0]) < 3:
        raise SceneError(f"{path.name} is no recording of Live Link Face: its first column must be Timecode.")
    names = rows[0][2:]
    values, seconds = np.empty((len(rows) - 1, len(names))), np.empty(len(rows) - 1)
    for index, row in enumerate(rows[1:]):
        try:
            seconds[index] = _seconds(row[0])
            values[index] = [float(cell) for _, cell in zip(names, row[2:], strict=True)]
        except ValueError as error:
            raise SceneError(
                f"Row {index + 2} of {path.name} has no time, or not one number for each expression: record it again."
            ) from error
    if not (np.isfinite(values).all() and np.isfinite(seconds).all()):
        raise SceneError(f"{path.name} has numbers that are not finite: record it again.")
    return names, values, seconds - seconds[0]


def recorded(
    actor: bpy.types.Object, mesh: bpy.types.Object | None, schema: dict[str, Any], scene: bpy.types.Scene
) -> tuple[Motion, np.ndarray]:
    """What the scene's frames show of an actor, constraints and drivers included, and its betas in the first.

    Leaves the scene at the frame it was at. Raises SceneError.
    """
    if not schema["joints"]:
        raise SceneError(
            f"'{actor.name}' has no body of its own whose motion could be exported: select one that Load Actor made."
        )
    kept = scene.frame_current, scene.frame_subframe
    pose, transl, betas = [], [], np.zeros(0)
    try:
        for frame in range(scene.frame_start, scene.frame_end + 1):
            scene.frame_set(frame)
            controls = read_controls(actor, mesh, schema, bpy.context.evaluated_depsgraph_get()).controls
            pose.append(controls["pose"])
            transl.append(controls["transl"])
            betas = betas if len(pose) > 1 else np.array(controls.get("betas", []))
    finally:
        scene.frame_set(kept[0], subframe=kept[1])
    return Motion(np.array(pose), np.array(transl), scene.render.fps / scene.render.fps_base), betas


def bake(armature: bpy.types.Object, scene: bpy.types.Scene) -> int:
    """Keys all bones in every frame of the scene as they are evaluated and mutes their constraints; returns how many.

    Leaves the scene at the frame it was at.
    """
    kept = scene.frame_current, scene.frame_subframe
    frames = np.arange(scene.frame_start, scene.frame_end + 1, dtype=np.float64)
    local = np.empty((len(frames), len(armature.pose.bones), 4, 4))
    for index, frame in enumerate(frames):
        scene.frame_set(int(frame))
        seen = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
        for number, bone in enumerate(seen.pose.bones):
            spaces = {"from_space": "POSE", "to_space": "LOCAL"}
            local[index, number] = seen.convert_space(pose_bone=bone, matrix=bone.matrix, **spaces)
    for number, bone in enumerate(armature.pose.bones):
        for constraint in bone.constraints:
            constraint.mute = True
        matrices = local[:, number]
        turns, scales = rigid(matrices)[:, :3, :3], np.linalg.norm(matrices[:, :3, :3], axis=1)
        bone.rotation_mode = "QUATERNION"
        _key(armature, bone, "rotation_quaternion", frames, _continuous(_quaternions_of(turns)))
        _key(armature, bone, "location", frames, matrices[:, :3, 3])
        _key(armature, bone, "scale", frames, scales)
    scene.frame_set(kept[0], subframe=kept[1])
    return len(armature.pose.bones)


def write_amass(path: Path, motion: Motion, betas: np.ndarray, pelvis: np.ndarray) -> None:
    """An .npz in AMASS's layout: z up, complete under its name or not there. Raises SceneError."""
    turn = TO_BLENDER[:3, :3]
    root = turn @ _matrices(quaternions(motion.pose[:, :1]))[:, 0]
    poses = motion.pose.copy()
    poses[:, 0] = axis_angles(root)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as stream:
            np.savez_compressed(
                stream,
                poses=poses.reshape(len(poses), -1),
                trans=(motion.transl + pelvis) @ turn.T - pelvis,
                betas=betas,
                gender=np.array("neutral"),
                mocap_framerate=np.array(motion.fps),
            )
        part.replace(path)
    except OSError as error:
        raise SceneError(f"{path} cannot be written ({error.strerror}): choose another folder.") from error
    finally:
        part.unlink(missing_ok=True)


def quaternions(angles: np.ndarray) -> np.ndarray:
    """[..., 3] axis-angle, radians, to [..., 4] with the real part first."""
    angle = np.linalg.norm(angles, axis=-1, keepdims=True)
    scale = np.where(angle > _STILL, np.sin(angle / 2) / np.maximum(angle, _STILL), 0.5)
    return np.concatenate([np.cos(angle / 2), angles * scale], -1)


def _between(first: np.ndarray, second: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Spherical interpolation of [..., 4]; small turns, so the normalised mean is as good where they are tiny."""
    cosine = (first * second).sum(-1, keepdims=True)
    second, cosine = np.where(cosine < 0, -second, second), np.abs(cosine).clip(0, 1)
    angle = np.arccos(cosine)
    sine = np.maximum(np.sin(angle), _STILL)
    near = angle < 1e-4
    left = np.where(near, 1 - part, np.sin((1 - part) * angle) / sine)
    right = np.where(near, part, np.sin(part * angle) / sine)
    mixed = left * first + right * second
    return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)


def _matrices(q: np.ndarray) -> np.ndarray:
    """[..., 4] to [..., 3, 3]."""
    w, x, y, z = np.moveaxis(q, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _quaternions_of(matrices: np.ndarray) -> np.ndarray:
    return quaternions(axis_angles(matrices))


def _continuous(q: np.ndarray) -> np.ndarray:
    """[T, 4] with the sign that is closest to the frame before: keys are interpolated by component."""
    flips = np.where((q[1:] * q[:-1]).sum(-1) < 0, -1.0, 1.0)
    return q * np.concatenate([[1.0], np.cumprod(flips)])[:, None]


def _key(owner: Any, target: Any, name: str, frames: np.ndarray, values: np.ndarray) -> None:
    """Replaces the keys of a property between the first and the last of `frames` by `values` [T, components]."""
    path = target.path_from_id(name)
    target.keyframe_insert(name, frame=frames[0])
    for index, curve in enumerate(compat.curves(owner, path)):
        points = curve.keyframe_points
        first, last = frames[0] - _SPATIAL, frames[-1] + _SPATIAL
        for point in reversed([point for point in points if first <= point.co.x <= last]):
            points.remove(point, fast=True)
        kept = len(points)  # with their handles and interpolation
        points.add(len(frames))
        for point, x, y in zip(list(points)[kept:], frames, values[:, index]):
            point.co, point.interpolation = (x, y), "LINEAR"
            point.handle_left_type = point.handle_right_type = "AUTO_CLAMPED"
        points.sort()
        curve.update()


def _seconds(timecode: str) -> float:
    """hh:mm:ss:frames.part at 60 frames a second, as Live Link Face writes it."""
    hours, minutes, seconds, frames = timecode.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(frames) / 60
