"""`avatar replay-head`: recorded frames beside the actor's, and the actor's below the tracked mesh."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from avatar_core.actor import QUALITIES, Actor
from avatar_core.cuda.raster import rasterise
from avatar_core.data.multiface_capture import MultifaceCapture
from avatar_core.device import choose
from avatar_core.errors import AvatarError
from avatar_core.frame import write_image
from avatar_core.methods.npva import Model
from avatar_core.methods.npva.importer import frame_latent, frame_positions
from avatar_core.methods.npva.space import placed_view
from avatar_core.quality import quality_named
from avatar_core.render.tiles import Watch
from avatar_core.video import VideoWriter, picture_of

_LINE, _MESH = 0.12, np.array([40.0, 220.0, 190.0])  # half a line's width in a triangle, and its colour
_SHADE = 0.5  # of the mesh over the picture
DRIVERS = "encoder", "mesh", "expressions"  # a frame's texture and mesh, as published; its mesh alone; coefficients


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("actor", type=Path, help="the .actor file of an NPVA head")
    parser.add_argument("folder", type=Path, help="of its identity, prepared")
    parser.add_argument("--frames", type=Path, help="list of frames, a line 'SEQUENCE FRAME' each (default: held out)")
    parser.add_argument("--camera", help="by name (default: the first)")
    parser.add_argument(
        "--by", choices=DRIVERS, help="what drives it (default: encoder where the actor has one, else expressions)"
    )
    parser.add_argument("--quality", choices=QUALITIES, default="preview")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, … (default cpu)")
    parser.add_argument("--fps", type=int, default=30, help="of the video (default 30)")
    parser.add_argument("--output", type=Path, required=True, help="an .mp4 file, or a folder of pictures")


def run(arguments: Namespace) -> int:
    actor = Actor.load(arguments.actor, choose(arguments.device))
    if not isinstance(actor.model, Model):
        raise AvatarError(f"{arguments.actor} is no head of NPVA; 'avatar render' shows others")
    capture = MultifaceCapture.open(arguments.folder, arguments.frames)
    names = [camera.name for camera in capture.cameras]
    if arguments.camera is not None and arguments.camera not in names:
        raise AvatarError(f"--camera: there is no '{arguments.camera}'; there are {', '.join(names)}")
    camera = 0 if arguments.camera is None else names.index(arguments.camera)
    frames = [place for place, frame in enumerate(capture.frames) if frame.split == "test"]
    film = arguments.output.suffix == ".mp4"
    (arguments.output.parent if film else arguments.output).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        video: VideoWriter | None = None
        for frame in tqdm(frames, unit="frame"):
            picture = panels(actor.model, capture, camera, frame, arguments.quality, arguments.by)
            if not film:
                moment = capture.source.moments[frame]
                write_image(arguments.output / f"{moment.sequence}_{moment.frame}.png", picture)
                continue
            if video is None:
                video = VideoWriter(arguments.output, (picture.shape[1], picture.shape[0]), arguments.fps)
                stack.enter_context(video)
            video.add(picture)
    print(f"wrote {arguments.output}: {len(frames)} frames of camera {names[camera]}")
    return 0


def panels(
    model: Model, capture: MultifaceCapture, camera: int, frame: int, quality: str, by: str | None = None
) -> np.ndarray:
    """[H, 3 W, 3] uint8: the captured picture within its mask, the actor's, and the latter below the tracked mesh. by:
    one of DRIVERS. Raises AvatarError."""
    view, controls = capture.cameras[camera].camera, capture.frames[frame].controls
    with torch.inference_mode():
        latent = _latent(model, capture, frame, by or ("encoder" if model.encoder is not None else "expressions"))
    drawn = model.picture(latent, np.asarray(controls.head), view, quality_named(quality), Watch())
    picture = picture_of(drawn, "color", (0.0, 1.0))
    image = capture.image(camera, frame).astype(np.float32)
    alpha = image[..., 3:] / 255
    captured = np.round(image[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.concatenate([captured, picture, _overlaid(capture, camera, frame, picture)], 1)


def _latent(model: Model, capture: MultifaceCapture, frame: int, by: str) -> Tensor:
    """[1, 4, 8, 8], of a recorded frame."""
    moment = capture.source.moments[frame]
    if by == "encoder":
        return frame_latent(model, capture.folder, moment.sequence, moment.frame)
    if by == "mesh":
        return model.follow(frame_positions(capture.folder, moment.sequence, moment.frame))
    if model.schema.expressions != capture.names:
        raise AvatarError(f"{capture.folder} has other coefficients than the actor: drive it '--by mesh' or 'encoder'")
    return model.drive(capture.frames[frame].controls.expression)


def _overlaid(capture: MultifaceCapture, camera: int, frame: int, picture: np.ndarray) -> np.ndarray:
    """The picture below the tracked mesh: shaded, with the edges of its triangles."""
    source, view = capture.source, capture.cameras[camera].camera
    placed, _ = placed_view(view, np.asarray(capture.frames[frame].controls.head), torch.device("cpu"))
    vertices = torch.as_tensor(source.vertices(source.moments[frame])).float()
    local, faces = vertices @ placed.rotation.T + placed.translation, torch.as_tensor(source.topology.faces)
    found = rasterise(local @ placed.K.T, faces, view.height, view.width)
    corners = local[faces]
    flat = normalize(torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=1)
    seen = (found.face >= 0).numpy()
    light = flat[:, 2].abs()[found.face.clamp(min=0)].numpy()
    edge = (found.bary.amin(-1) < _LINE).numpy()
    over = np.where(edge, 0.5, 1.0)[..., None] * light[..., None] * _MESH
    mixed = np.where(seen[..., None], (1 - _SHADE) * picture + _SHADE * over, picture)
    return np.round(mixed).astype(np.uint8)
