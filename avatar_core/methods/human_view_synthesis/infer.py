"""`avatar infer real|virtual|transfer ACTOR CAPTURE`: people of a capture from other cameras, or as somebody else.

Poses are lifted from the joints that one camera sees, as published, where the actor has the network for it. A person's
appearance is read once, from a few pictures, so that colours do not flicker.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...actor import QUALITIES, Actor
from ...camera import Camera
from ...commands.render import frame_range
from ...controls import Controls
from ...data.people.capture import PeopleCapture, Recording
from ...data.people.views import SURE, pose_view, square_around
from ...device import choose
from ...errors import AvatarError
from ...frame import write_png
from ...video import VideoWriter, picture_of
from .model import Model

_PICTURES = 8  # that an appearance is read from
_TURNS = 2.0  # of the virtual camera in a film


@dataclass(frozen=True)
class Studio:
    """The virtual camera of a skeleton's published models: metres away, focal length in pictures, lens."""

    away: float
    focal: float
    lens: tuple[float, ...]


_STUDIOS = {
    "panoptic117": Studio(2.8, 1630 / 1080, (-0.220878, 0.189272, 7.79405e-5, 7.39643e-4, 0.0418043)),
    "human36m17": Studio(
        3.0,
        1150 / 1000,
        (-0.208338188251856, 0.255488007488945, -7.59999321030303e-4, 1.48438698385668e-3, -2.46049749891915e-3),
    ),
}


def add_arguments(parser: ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    real = kinds.add_parser("real", help="as another camera of the capture sees them")
    virtual = kinds.add_parser("virtual", help="by a camera that turns around them")
    transfer = kinds.add_parser("transfer", help="one person's motion by another person")
    for one in (real, virtual, transfer):
        one.add_argument("actor", type=Path, help="the .actor file")
        one.add_argument("capture", type=Path, help="a capture of people (see docs/human_view_synthesis.md)")
        one.add_argument("--recording", help="by name; the default is the first")
        one.add_argument("--in-view", help="the camera that sees the motion; the default is the first")
        one.add_argument("--frames", type=frame_range, help="A-B or A, numbers of the recording; the default is all")
        one.add_argument("--quality", choices=QUALITIES, default="final")
        one.add_argument("--video", type=int, metavar="FPS", help="also write color.mp4, so many frames a second")
        one.add_argument("--device", default="cpu", help="auto, cpu, cuda, … (default cpu)")
        one.add_argument("--output", type=Path, default=Path("infer"), help="folder of the pictures")
        if one is not virtual:
            one.add_argument("--out-view", help="the camera that is drawn for; the default is the last")
    transfer.add_argument("--person", type=Path, help="capture of the appearance; the default is the same capture")
    transfer.add_argument("--person-recording", required=True, help="the recording in it")
    transfer.add_argument("--person-view", help="the camera that sees the person; the default is the first")
    transfer.add_argument("--person-frames", type=frame_range, help="A-B or A; the default is all")


def run(arguments: Namespace) -> int:
    actor = Actor.load(arguments.actor, choose(arguments.device))
    capture = PeopleCapture.open(arguments.capture)
    model = _model(actor, capture, arguments.capture)
    motion = Motion(model, _recording(capture, arguments.recording), arguments.in_view, arguments.frames)
    person = motion
    if arguments.kind == "transfer":
        other = PeopleCapture.open(arguments.person) if arguments.person is not None else capture
        chosen = _recording(other, arguments.person_recording)
        person = Motion(model, chosen, arguments.person_view, arguments.person_frames)
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AvatarError(f"the folder {arguments.output} cannot be made: {error.strerror}") from error
    appearance = person.appearance()
    if arguments.kind == "virtual":
        shots = virtual_shots(model, motion)
    else:
        shots = real_shots(motion, _view(motion.recording, arguments.out_view, -1))
    _draw(arguments, actor, appearance, shots, len(motion.frames))
    return 0


class Motion:
    """Frames of a recording as one camera sees them. Raises AvatarError for a camera or frames that it lacks."""

    def __init__(self, model: Model, recording: Recording, view: str | None, frames: tuple[int, int] | None) -> None:
        self.model, self.recording, self.view = model, recording, _view(recording, view, 0)
        numbers = recording.joints.frames
        low, high = frames or (int(numbers.min()), int(numbers.max()))
        seen = recording.joints.seen[self.view]
        self.frames = [i for i, number in enumerate(numbers) if low <= number <= high and seen[i]]
        if not self.frames:
            raise AvatarError(
                f"recording '{recording.name}' has no frames {low}-{high} before camera "
                f"'{recording.cameras[self.view].name}'; it has {numbers.min()}-{numbers.max()}"
            )

    def joints(self, frame: int) -> np.ndarray:
        """[J, 3] metres in the camera's axes; lifted about the root, or as captured. NaN where one is not known."""
        view = pose_view(self.recording, self.view, frame)
        lifted = self.model.lift(view.points, view.sure, view.size)
        root = self.model.skeleton.root
        if lifted is None or not view.known[root]:
            return np.where(view.known[:, None], view.joints, np.nan)
        return lifted + view.joints[root]

    def world(self, frame: int) -> np.ndarray:
        """[J, 3] metres, world."""
        camera = self.recording.cameras[self.view].camera
        return (self.joints(frame) - camera.world_to_camera[:3, 3]) @ camera.world_to_camera[:3, :3]

    def appearance(self) -> np.ndarray:
        """[A], the mean over a few pictures, evenly spread; published models read people with what is behind them."""
        places = np.unique(np.linspace(0, len(self.frames) - 1, _PICTURES).round().astype(int))
        channels = 3 if self.model.config.published else 4
        return self.model.read_appearance([self._square(self.frames[place])[..., :channels] for place in places])

    def _square(self, frame: int) -> np.ndarray:
        """[S, S, 4] uint8: the person, and what is around them; empty outside of the picture."""
        joints, camera = self.recording.joints, self.recording.cameras[self.view].camera
        known = joints.world[frame][joints.world_confidence[frame] >= SURE]
        x, y, side = square_around(camera, known, self.model.config.extent)
        picture = self.recording.picture(self.view, frame)
        square = np.zeros((side, side, 4), np.uint8)
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, camera.width), min(y + side, camera.height)
        if x0 < x1 and y0 < y1:
            square[y0 - y : y1 - y, x0 - x : x1 - x] = picture[y0:y1, x0:x1]
        return square


def real_shots(motion: Motion, view: int) -> Iterator[tuple[np.ndarray, Camera]]:
    """Joints in the world and the camera, by frame."""
    camera = motion.recording.cameras[view].camera
    return ((motion.world(frame), camera) for frame in motion.frames)


def virtual_shots(model: Model, motion: Motion) -> Iterator[tuple[np.ndarray, Camera]]:
    """The same from a camera that turns around what the first frame's root was, twice in a film."""
    side, studio = model.config.size, _STUDIOS[model.config.skeleton]
    focal = studio.focal * side
    intrinsics = np.array([[focal, 0, side / 2 + 0.5], [0, focal, side / 2 + 0.5], [0, 0, 1]])
    lens = np.array(studio.lens) if model.config.published else np.zeros(0)
    first = motion.joints(motion.frames[0])
    root = first[model.skeleton.root] if np.isfinite(first[model.skeleton.root]).all() else np.nanmean(first, 0)
    for place, frame in enumerate(motion.frames):
        yaw = 2 * np.pi * _TURNS * place / len(motion.frames)
        pose = np.eye(4)
        pose[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        pose[:3, 3] = 0, 0, studio.away
        yield motion.joints(frame) - root, Camera(side, side, intrinsics, pose, lens)


def _draw(
    arguments: Namespace,
    actor: Actor,
    appearance: np.ndarray,
    shots: Iterator[tuple[np.ndarray, Camera]],
    count: int,
) -> None:
    with ExitStack() as stack:
        add: Callable[[np.ndarray], None] | None = None
        for number, (points, camera) in enumerate(tqdm(shots, total=count, unit="frame"), 1):
            controls = Controls(points=points.astype(np.float32), appearance=appearance)
            frame = actor.render(controls, camera, arguments.quality)
            write_png(arguments.output / f"{number:04d}.png", frame)
            if arguments.video is not None:
                if add is None:
                    size = camera.width, camera.height
                    film = VideoWriter(arguments.output / "color.mp4", size, arguments.video)
                    add = stack.enter_context(film).add
                add(picture_of(frame, "color", (0.0, 1.0)))


def _model(actor: Actor, capture: PeopleCapture, folder: Path) -> Model:
    model = actor.model
    if not isinstance(model, Model):
        raise AvatarError(f"actors of the method '{actor.metadata['method']}' cannot be inferred; use 'avatar render'")
    if model.config.skeleton != capture.skeleton:
        raise AvatarError(f"{folder} has joints of '{capture.skeleton}', the actor those of '{model.config.skeleton}'")
    return model


def _recording(capture: PeopleCapture, name: str | None) -> Recording:
    names = [one.name for one in capture.recordings]
    if name is not None and name not in names:
        raise AvatarError(f"{capture.folder} has no recording '{name}'; it has {', '.join(names[:8])}")
    return capture.recordings[names.index(name) if name is not None else 0]


def _view(recording: Recording, name: str | None, default: int) -> int:
    names = [one.name for one in recording.cameras]
    if name is not None and name not in names:
        raise AvatarError(f"recording '{recording.name}' has no camera '{name}'; it has {', '.join(names[:32])}")
    return names.index(name) if name is not None else range(len(names))[default]
