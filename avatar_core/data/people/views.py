"""What networks see of a person: a square around them, resized, the camera that sees this square, and the joints."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ...camera import Camera
from ...errors import AvatarError
from .capture import Recording

SURE = 0.25  # confidence from which a joint counts, as published
_NEAR = 0.05  # metres before a camera
_SMALLEST, _LARGEST = 8, 8192  # pixels of a square
_ROOM = 1 << 30  # bytes of squares that are kept


@dataclass(frozen=True)
class View:
    """A moment before a camera.

    picture: [S, S, 4] uint8, display sRGB with straight alpha. camera: what sees the square. points: [J, 2] pixels of
    the whole picture, and sure: [J] bool; size: its width and height. joints: [J, 3] float32 metres, in the camera's
    axes; known: [J] bool.
    """

    picture: np.ndarray
    camera: Camera
    points: np.ndarray
    sure: np.ndarray
    size: tuple[int, int]
    joints: np.ndarray
    known: np.ndarray


class ViewReader:
    """Views of recordings: squares that span `extent` metres at the person, S pixels a side; the last ones are kept."""

    def __init__(self, side: int, extent: float) -> None:
        self.side, self._extent = side, extent
        self._kept: OrderedDict[tuple[str, int, int], tuple[np.ndarray, Camera]] = OrderedDict()

    def read(self, recording: Recording, camera: int, frame: int) -> View:
        """Raises CaptureError for a picture that cannot be read."""
        key = str(recording.folder), camera, frame
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            self._kept[key] = self._square(recording, camera, frame)
            while len(self._kept) * self.side**2 * 4 > _ROOM:
                self._kept.popitem(last=False)
        picture, view = self._kept[key]
        return replace(pose_view(recording, camera, frame), picture=picture, camera=view)

    def _square(self, recording: Recording, camera: int, frame: int) -> tuple[np.ndarray, Camera]:
        whole, view = recording.picture(camera, frame), recording.cameras[camera].camera
        joints = recording.joints
        known = joints.world[frame][joints.world_confidence[frame] >= SURE]
        x, y, side = square_around(view, known, self._extent)
        image = Image.fromarray(whole).convert("RGBa").crop((x, y, x + side, y + side))  # empty outside of the picture
        cut = image.resize((self.side, self.side), Image.Resampling.BILINEAR).convert("RGBA")
        return np.asarray(cut), view.crop(x, y, side, side).scaled(self.side / side)


def pose_view(recording: Recording, camera: int, frame: int) -> View:
    """A view without its picture, as the pose network sees it; `camera` sees the whole picture."""
    joints, view = recording.joints, recording.cameras[camera].camera
    world = joints.world[frame].astype(np.float64)
    local = world @ view.world_to_camera[:3, :3].T + view.world_to_camera[:3, 3]
    return View(
        np.zeros((0, 0, 4), np.uint8),
        view,
        joints.points[camera, frame],
        joints.confidence[camera, frame] >= SURE,
        (view.width, view.height),
        local.astype(np.float32),
        joints.world_confidence[frame] >= SURE,
    )


def square_around(camera: Camera, points: np.ndarray, extent: float) -> tuple[int, int, int]:
    """Left, top and side, whole pixels, of a square that spans `extent` metres at points [N, 3] (world), in its middle
    the box around them. The middle of the whole picture where none of them is before the camera."""
    pixels, depth = camera.project(points)
    pixels, depth = pixels[depth > _NEAR], depth[depth > _NEAR]
    if not len(depth):
        side = min(camera.width, camera.height)
        return (camera.width - side) // 2, (camera.height - side) // 2, side
    focal = (camera.K[0, 0] + camera.K[1, 1]) / 2
    side = round(float(np.clip(2 * focal * extent / (depth.min() + depth.max()), _SMALLEST, _LARGEST)))
    x, y = np.round((pixels.min(0) + pixels.max(0)) / 2 - side / 2).clip(-_LARGEST, 2 * _LARGEST).astype(int)
    return int(x), int(y), side


class Moments:
    """Which views there are: (recording, camera, frame) of the wanted splits, with pictures and a known root."""

    def __init__(
        self, recordings: tuple[Recording, ...], root: int, people: str, cameras: str | None, frames: str | None
    ) -> None:
        """people, cameras, frames: 'train' or 'test'; None for both. Raises AvatarError where nothing is left."""
        self.recordings = [one for one in recordings if one.split == people]
        self._cameras: dict[tuple[int, int], np.ndarray] = {}
        for place, one in enumerate(self.recordings):
            wanted = np.array([cameras in (None, view.split) for view in one.cameras])
            joints = one.joints
            for frame in np.flatnonzero(joints.world_confidence[:, root] >= SURE):
                held = bool(joints.test[frame])
                seen = np.flatnonzero(joints.seen[:, frame] & wanted)
                if len(seen) and frames in (None, "test" if held else "train"):
                    self._cameras[place, int(frame)] = seen
        self._moments = list(self._cameras)

    def __len__(self) -> int:
        return len(self._moments)

    def draw(self, rng: np.random.Generator, cameras: int) -> tuple[Recording, int, list[int]]:
        """A recording, each as likely as the others, a frame of it, and cameras, which may be the same."""
        if not self._moments:
            raise AvatarError("no picture of the capture has a known root joint; give its joints confidences")
        place, frame = self._moments[int(rng.integers(len(self._moments)))]
        return self.recordings[place], frame, [int(rng.choice(self._cameras[place, frame])) for _ in range(cameras)]

    def spread(self, count: int) -> list[tuple[Recording, int, int]]:
        """At most `count` (recording, camera, frame), evenly over all."""
        every = [
            (self.recordings[place], int(camera), frame)
            for (place, frame), cameras in self._cameras.items()
            for camera in cameras
        ]
        chosen = np.unique(np.linspace(0, len(every) - 1, count).astype(int)) if every else []
        return [every[i] for i in chosen]
