"""A prepared identity (Multiface's layout) as a capture. The world is KRT's, in metres."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ..body.stand_in import stand_in
from ..camera import Camera
from ..controls import Controls, ControlSchema
from .capture import Capture, CaptureCamera, CaptureFrame
from .multiface import Identity, Moment, MultifaceError, Viewpoint, read_frames, read_names

HEIGHT = 1024  # of pictures, at most, as published
_AXES = np.array([1.0, -1.0, -1.0])  # of Multiface's heads, to y up, facing +z
_METRES = 1e-3
_FPS = 30.0
_MOST = 1024  # frames that are expressions


@dataclass(frozen=True)
class MultifaceCapture(Capture):
    """Controls hold `head` and `expression`: coefficients of expressions.txt, or without it a 1 for the frame itself
    and 0 for all others, named SEQUENCE/FRAME. Pictures have the mask of the tracked mesh as alpha."""

    source: Identity
    names: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path | str, tested: Path | None = None) -> MultifaceCapture:
        """tested: the list of frames that are held out; default: test_list.txt, else the last sequence, else the last
        tenth. Cameras of test_cameras.txt are held out. Raises MultifaceError."""
        folder = Path(folder)
        source = Identity.open(folder)
        held, cameras = _held_out(source, tested), folder / "test_cameras.txt"
        away = read_names(cameras) if cameras.is_file() and cameras.stat().st_size > 1 else ()
        for name in away:
            if name not in source.cameras:
                raise MultifaceError(f"{cameras}: there is no camera '{name}' with pictures")
        names, values = _expressions(source)
        frames = tuple(
            CaptureFrame(
                place,
                Controls(expression=values[place], head=_placed(source.transform(moment))),
                "test" if moment in held else "train",
            )
            for place, moment in enumerate(source.moments)
        )
        views = tuple(
            CaptureCamera(name, _camera(source.viewpoints[name], source.size), "test" if name in away else "train")
            for name in source.cameras
        )
        head = source.vertices(source.moments[0]) * _AXES * _METRES
        body = stand_in(folder.resolve().name, head.min(0), head.max(0), "unknown")
        return cls(folder, folder.resolve().name, "unknown", _FPS, views, frames, body, source, names)

    @cached_property
    def schema(self) -> ControlSchema:
        return ControlSchema(expressions=self.names, head=True)

    def image(self, camera: int, frame: int) -> np.ndarray:
        view, moment = self.cameras[camera], self.source.moments[frame]
        size = view.camera.width, view.camera.height
        mask = Image.fromarray(self.source.mask(moment, view.name)).convert("L").resize(size, Image.Resampling.BOX)
        return np.concatenate([self.source.image(moment, view.name, size), np.asarray(mask)[..., None]], 2)

    def depth(self, camera: int, frame: int) -> np.ndarray:
        """[H, W] float32 mm, 0 where unknown; the nearest sample, for means would bridge silhouettes. Raises
        MultifaceError."""
        view = self.cameras[camera]
        found = self.source.depth(self.source.moments[frame], view.name)
        rows, columns = (
            ((np.arange(side) + 0.5) * whole / side).astype(np.int64)
            for side, whole in zip((view.camera.height, view.camera.width), found.shape, strict=True)
        )
        return found[rows[:, None], columns]

    def image_path(self, camera: int, frame: int) -> Path:
        return self.source.image_path(self.source.moments[frame], self.cameras[camera].name)

    def image_problem(self, camera: int, frame: int) -> str | None:
        return None if self.image_path(camera, frame).is_file() else "is missing"


def _held_out(source: Identity, tested: Path | None) -> set[Moment]:
    path = tested or source.folder / "test_list.txt"
    if tested is not None or path.is_file():
        held = read_frames(path)
        for line, moment in enumerate(held, 1):
            if moment not in source.moments:
                raise MultifaceError(f"{path}, frame {line}: {source.folder / 'frame_list.txt'} has no '{moment}'")
        return set(held)
    last = source.moments[-1].sequence
    if any(moment.sequence != last for moment in source.moments):
        return {moment for moment in source.moments if moment.sequence == last}
    return set(source.moments[-max(1, len(source.moments) // 10) :])


def _expressions(source: Identity) -> tuple[tuple[str, ...], list[np.ndarray]]:
    found = source.expressions()
    if found is not None:
        names, table = found
        return names, [table[moment] for moment in source.moments]
    if len(source.moments) > _MOST:
        raise MultifaceError(
            f"{source.folder / 'frame_list.txt'} names {len(source.moments)} frames, of which {_MOST} can be "
            "expressions; shorten it, or write coefficients of yours to expressions.txt"
        )
    names = tuple(f"{moment.sequence}/{moment.frame}" for moment in source.moments)
    return names, list(np.eye(len(names), dtype=np.float32))


def _camera(viewpoint: Viewpoint, size: tuple[int, int]) -> Camera:
    """At most HEIGHT pixels high."""
    width, height = size
    rows = min(height, HEIGHT)
    columns = max(1, round(width * rows / height))
    K = viewpoint.K * np.array([[columns / width], [rows / height], [1]])
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = viewpoint.view[:, :3], viewpoint.view[:, 3] * _METRES
    return Camera(columns, rows, K, view)


def _placed(transform: np.ndarray) -> np.ndarray:
    """[4, 4] float32: a head (y up, facing +z, metres) to the world."""
    head = np.eye(4, dtype=np.float32)
    head[:3, :3], head[:3, 3] = transform[:, :3] * _AXES, transform[:, 3] * _METRES
    return head
