"""What is rendered: a camera and controls for every frame, from a file, a motion, a capture or a published folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .actor import Actor
from .body.kinematics import axis_angle_to_matrix
from .camera import Camera
from .controls import Controls
from .errors import AvatarError

_DISTANCE, _HEIGHT, _FOV = 3.2, 0.1, np.radians(38)  # of the camera before an actor in its rest pose; metres


@dataclass(frozen=True)
class Shot:
    """cameras: one for all frames, or one for each."""

    cameras: tuple[Camera, ...]
    frames: tuple[Controls, ...]

    def __len__(self) -> int:
        return max(len(self.frames), len(self.cameras))

    def frame(self, number: int) -> tuple[Camera, Controls]:
        """Frames count from 0. A single camera, or a single pose, stands for all."""
        return self.cameras[number % len(self.cameras)], self.frames[number % len(self.frames)]

    def shaped(self, betas: Sequence[float]) -> Shot:
        """The same with another body shape, all of its coefficients."""
        values = np.array(betas, np.float32)
        return Shot(self.cameras, tuple(replace(frame, betas=values) for frame in self.frames))

    def orbit(
        self,
        degrees: float,
        target: np.ndarray,
        count: int | None = None,
        radius: float | None = None,
        height: float | None = None,
    ) -> Shot:
        """The first camera on a level circle around the vertical through `target` [3], `degrees` further every frame;
        `count` frames, or as many as there are. radius, height: metres from `target` where the circle lies instead of
        where the camera is; it then looks at `target`."""
        first, cameras = self.cameras[0], []
        if radius is not None or height is not None:
            away = first.position - target
            level = float(np.hypot(away[0], away[2]))
            scale = (level if radius is None else radius) / max(level, 1e-6)
            place = np.array([away[0] * scale, away[1] if height is None else height, away[2] * scale])
            aimed = Camera.look_at(target + place, target, float(_FOV), first.width, first.height)
            first = replace(first, world_to_camera=aimed.world_to_camera)
        for number in range(count or len(self)):
            turn = _about_vertical(np.radians(degrees * number), target)
            cameras.append(replace(first, world_to_camera=first.world_to_camera @ np.linalg.inv(turn)))
        return Shot(tuple(cameras), self.frames)


def read_shot(path: Path) -> Shot:
    """{"camera": {...} or "cameras": [...], "frames": [{controls}, ...]}; raises AvatarError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AvatarError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("frames"), list) or not data["frames"]:
        raise AvatarError(f"{path} must hold a 'camera' (or 'cameras') and a list of 'frames'")
    cameras = data["cameras"] if isinstance(data.get("cameras"), list) else [data.get("camera")]
    shot = Shot(
        tuple(Camera.from_dict(camera) for camera in cameras), tuple(Controls.from_dict(one) for one in data["frames"])
    )
    if len({1, len(shot.cameras), len(shot.frames)}) > 2:
        raise AvatarError(f"{path} has {len(shot.cameras)} cameras for {len(shot.frames)} frames")
    return shot


def rest_shot(actor: Actor, size: tuple[int, int]) -> Shot:
    """The rest pose from the front; a head alone from nearer."""
    low, high = actor.body.vertices.min(0), actor.body.vertices.max(0)
    middle, near = (low + high) / 2, min(1.0, float((high - low).max()))
    camera = Camera.look_at(middle + near * np.array([0, _HEIGHT, _DISTANCE]), middle, float(_FOV), *size)
    return Shot((camera,), (actor.schema.neutral(),))


def motion_shot(actor: Actor, name: str, size: tuple[int, int], up: str | None = None) -> Shot:
    """One of our motions by name, seen as the rest pose is, or a recorded one from a file or folder, seen as a whole;
    up: the axis that is up in the file, None for its format's own."""
    from blend_templates.motions import MOTIONS, load_motion

    if name not in MOTIONS and Path(name).exists():
        from .motion_files import read_motion

        recorded = tuple(read_motion(Path(name), actor.body, up))
        return Shot((_overview(actor, recorded, size),), recorded)
    motion, rest = load_motion(name), actor.schema.neutral()
    if motion.pose.shape[1:] != rest.pose.shape:
        raise AvatarError(f"the motions fit SMPL skeletons; this actor has {len(rest.pose)} joints: use --shot")
    frames = tuple(replace(rest, pose=pose, transl=transl) for pose, transl in zip(motion.pose, motion.transl))
    return Shot((_overview(actor, frames, size),), frames)


def _overview(actor: Actor, frames: Sequence[Controls], size: tuple[int, int]) -> Camera:
    """A camera that sees the actor in all frames, from the side that the first one faces."""
    places = np.stack([frame.transl for frame in frames]) + actor.body.joints()[0]
    middle = (places.max(0) + places.min(0)) / 2
    facing = axis_angle_to_matrix(torch.as_tensor(frames[0].pose[0])).numpy() @ np.array([0, 0, 1.0])
    facing[1] = 0
    facing = facing / max(float(np.linalg.norm(facing)), 1e-6)
    nearer = (places - middle) @ facing
    aside = np.linalg.norm(places - middle - nearer[:, None] * facing, axis=1)
    away = (_DISTANCE + 3 * aside.max()) * max(1.0, size[1] / size[0]) + nearer.max()
    return Camera.look_at(middle + away * facing + np.array([0, _HEIGHT, 0]), middle, float(_FOV), *size)


def camera_path(path: Path, first: Camera) -> tuple[Camera, ...]:
    """Cameras like `first` at poses from a file (16 numbers a line) or a folder of files (one 4x4 matrix in each, by
    name): camera to world, OpenCV axes, metres, as in Neural Actor's pose/. Raises AvatarError."""
    from .data.layout import LayoutError, read_text, sorted_files

    files = sorted_files(path, (".txt",)) if path.is_dir() else [path]
    cameras = []
    for file in files:
        text = read_text(file)
        rows = [text] if path.is_dir() else [line for line in text.splitlines() if line.strip()]
        for number, row in enumerate(rows, 1):
            try:
                matrix = np.array(row.split(), np.float64).reshape(4, 4)
                cameras.append(replace(first, world_to_camera=np.linalg.inv(matrix)))
            except (ValueError, np.linalg.LinAlgError, AvatarError) as error:
                where = file if path.is_dir() else f"{file}, line {number}"
                raise LayoutError(
                    f"{where}: a camera's pose is a rigid 4x4 matrix, camera to world: {error}"
                ) from error
    if not cameras:
        raise LayoutError(f"{path} has no camera")
    return tuple(cameras)


def capture_shot(folder: Path, camera: str | None) -> Shot:
    """The poses of a capture, of a tracked head, or of a folder in Neural Actor's layout, from one of its cameras
    (default: the first)."""
    if (folder / "transform").is_dir():
        from .data.neural_actor import NeuralActorFolder, smpl_controls

        published = NeuralActorFolder.open(folder)
        names, cameras = [f"{i:04d}" for i in range(len(published.cameras))], published.cameras
        frames: Sequence[Controls] = smpl_controls(published.frames)
    else:
        from .data.head_capture import open_capture

        capture = open_capture(folder)
        names, cameras = [one.name for one in capture.cameras], tuple(one.camera for one in capture.cameras)
        frames = [one.controls for one in capture.frames]
    if not names:
        raise AvatarError(f"{folder} has no camera that can be used; give a camera by --shot")
    if camera is not None and camera not in names:
        raise AvatarError(f"{folder} has no camera '{camera}'; it has {', '.join(names)}")
    return Shot((cameras[names.index(camera) if camera else 0],), tuple(frames))


def _about_vertical(angle: float, target: np.ndarray) -> Any:
    """[4, 4]: a turn about the y axis through `target`."""
    matrix = np.eye(4)
    c, s = np.cos(angle), np.sin(angle)
    matrix[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    matrix[:3, 3] = target - matrix[:3, :3] @ target
    return matrix
