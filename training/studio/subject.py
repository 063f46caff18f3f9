"""What a capture is of: the studio's own character, or a rigged character from a .blend file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avatar_core.body import Body
from avatar_core.body.arrays import read_npz

from .blender import run_script
from .character import default_character
from .motion import Poses, centred, held_out, sample_poses
from .package import write_character
from .people import make_person

_NEAREST, _SPREAD = 64, 64  # vertices that a joint is tied to: the closest ones, and some from all over
_FPS = 30.0  # of the studio's own clips


@dataclass(frozen=True)
class Subject:
    """A body, its poses, and how Blender makes the scene."""

    name: str
    licence: str
    body: Body
    poses: Poses
    fps: float
    scene: dict[str, Any]  # entries of the render job
    scene_frames: tuple[int, ...]  # [T] Blender's frame numbers
    warnings: tuple[str, ...] = ()


def studio_subject(
    folder: Path, clips: tuple[str, ...], frames: int, seed: int, resolution: int, person: int = 0
) -> Subject:
    """The dressed default character, or another person; what Blender needs to build it goes into `folder`."""
    character = make_person(default_character(512 if resolution <= 512 else 1024), person)
    poses = centred(character.body, sample_poses(character.body, clips, frames, seed))
    write_character(folder, character, poses)
    scene = {"blend": None, "character": str(folder)}
    return Subject("studio", "CC0-1.0", character.body, poses, _FPS, scene, tuple(range(frames)))


def file_subject(
    folder: Path, blend: Path, armature: str | None, meshes: list[str], frames: int, blender: str | None
) -> Subject:
    """The character in a .blend file, at `frames` moments of its own animation. Raises StudioError."""
    result = folder / "rig.npz"
    job = {"blend": str(blend.resolve()), "armature": armature, "meshes": meshes, "frames": frames}
    run_script("extract.py", {**job, "result": str(result.resolve())}, blender, folder)
    data = read_npz(result)
    body = body_from_rig(blend.stem, data)
    count = len(data["frames"])
    poses = Poses(data["pose"].astype(np.float32), data["transl"].astype(np.float32), held_out(count))
    scene = {
        "blend": job["blend"],
        "armature": str(data["armature"]),
        "meshes": [str(mesh) for mesh in data["meshes"]],
    }
    warnings = []
    if data["error"] > 0.005:
        warnings.append(
            f"bones of '{data['armature']}' stretch, scale or slide by up to {data['error'] * 1000:.0f} mm; "
            "poses hold rotations only, so pictures and poses disagree by that much"
        )
    if count < frames:
        warnings.append(f"the scene has {count} different frames only; animate it longer or extend its range")
    if len(np.unique(data["pose"].round(4), axis=0)) == 1 < count:
        warnings.append("all frames show the same pose; an actor trained on them will not learn to move")
    return Subject(
        blend.stem,
        "unknown",
        body,
        poses,
        float(data["fps"]),
        scene,
        tuple(data["frames"].tolist()),
        tuple(warnings),
    )


def body_from_rig(name: str, data: dict[str, np.ndarray]) -> Body:
    """A Body of what `extract` read; its regressor gives each bone's head exactly."""
    return Body(
        name=name,
        vertices=data["vertices"],
        faces=data["faces"],
        uv=data["uv"],
        face_uv=data["face_uv"],
        weights=data["weights"],
        joint_names=tuple(str(joint) for joint in data["joint_names"]),
        parents=data["parents"],
        regressor=fit_regressor(data["vertices"].astype(np.float64), data["joints"]),
    )


def fit_regressor(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """[J, V] with rows that sum to 1 and `regressor @ vertices == joints` [J, 3].

    These are the smallest such weights on some vertices near each joint and a few from all over, which keep
    them well defined where the near ones are flat.
    """
    regressor = np.zeros((len(joints), len(vertices)), np.float32)
    spread = np.linspace(0, len(vertices) - 1, min(_SPREAD, len(vertices))).astype(np.int64)
    for row, joint in zip(regressor, joints):
        near = np.argsort(((vertices - joint) ** 2).sum(1))[:_NEAREST]
        chosen = np.union1d(near, spread)
        system = np.concatenate([(vertices[chosen] - joint).T, np.ones((1, len(chosen)))])
        row[chosen] = np.linalg.lstsq(system, np.array((0.0, 0.0, 0.0, 1.0)), rcond=None)[0]
    return regressor
