"""`avatar fit`: codes, pose and shape of a scan, or of a picture of normals, for an actor of gDNA."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch

from avatar_core.actor import Actor
from avatar_core.controls import Controls
from avatar_core.data.capture import read_picture, write_atomically
from avatar_core.data.obj import ScanError, read_obj
from avatar_core.data.scans import Samples, views
from avatar_core.data.smpl_parameters import SmplParameters, read_smpl_parameters
from avatar_core.device import choose
from avatar_core.errors import AvatarError
from avatar_core.methods.gdna import Model
from avatar_core.methods.gdna.fitting import Fitted, fit_normals, fit_scan

_POINTS = 50_000  # of a scan, of each kind
_SIZE = 512  # pixels a side of the shot's camera


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("actor", type=Path, help="the .actor file, of gDNA")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--scan", type=Path, metavar="FILE.obj", help="a watertight mesh, metres, y up")
    what.add_argument("--normals", type=Path, metavar="FILE.png", help="world normals from the front, alpha as mask")
    parser.add_argument(
        "--parameters", type=Path, metavar="FILE.pkl", help="SMPL parameters to begin with (default: rest pose)"
    )
    parser.add_argument("--steps", type=int, default=120, help="default 120")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, … (default cpu)")
    parser.add_argument("--output", type=Path, required=True, metavar="SHOT.json", help="for 'avatar render --shot'")


def run(arguments: Namespace) -> int:
    if not 1 <= arguments.steps <= 100_000:
        raise AvatarError("--steps must be 1 to 100000")
    actor = Actor.load(arguments.actor, choose(arguments.device))
    model = actor._model
    if not isinstance(model, Model):
        raise AvatarError(f"{arguments.actor} is an actor of another method; only people of gDNA can be fitted")
    rest = np.zeros(3)
    known = SmplParameters(np.zeros((24, 3), np.float32), np.zeros(10, np.float32), rest, 1.0)
    if arguments.parameters is not None:
        known = read_smpl_parameters(arguments.parameters)
    start = Controls(pose=known.pose, betas=known.betas)
    if arguments.scan is not None:
        fitted = fit_scan(model, _scan(arguments.scan, known), start, arguments.steps)
    else:
        fitted = _fit_picture(model, arguments.normals, start, arguments.steps)
    shot = {"camera": views(_SIZE)[0].camera.to_dict(), "frames": [fitted.controls.to_dict()]}
    try:
        write_atomically(arguments.output, json.dumps(shot).encode())
    except OSError as error:
        raise AvatarError(f"{arguments.output} cannot be written: {error.strerror or error}") from error
    print(f"wrote {arguments.output}: error {fitted.errors[0]:.3f} to {fitted.errors[-1]:.3f}")
    return 0


def _scan(path: Path, known: SmplParameters) -> Samples:
    from .prepare import sample

    mesh = read_obj(path)
    arrays = sample(mesh, torch.as_tensor(known.normalised(mesh.vertices)), _POINTS, 0, str(path))
    return Samples(**{name: arrays[name] for name in arrays if name != "colours"}, colours=arrays.get("colours"))


def _fit_picture(model: Model, path: Path, start: Controls, steps: int) -> Fitted:
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            size = picture.size[0]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ScanError(f"{path} cannot be read: {error}") from error
    camera = views(size)[0].camera
    return fit_normals(model, read_picture(path, camera), camera, start, steps)
