"""Small data sets in the layouts of processed Panoptic Studio and Human3.6M, written by liblmdb and torch.pickle."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import torch
from PIL import Image, ImageDraw

WIDTH, HEIGHT, FRAMES = 96, 64, 5
K = [[90.0, 0, 47.5], [0, 90.0, 31.5], [0, 0, 1]]
LENS = [-0.2, 0.25, 1e-4, 7e-4, 0.04]


def write_database(folder: Path, entries: dict[int, Any], encoded: bool = False) -> None:
    """Values are encoded pictures, or are pickled."""
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"protocol", pickle.dumps(4))
        transaction.put(pickle.dumps("keys", 4), pickle.dumps(list(entries), 4))
        for key, value in entries.items():
            transaction.put(pickle.dumps(key, 4), value if encoded else pickle.dumps(value, 4))


def panoptic(root: Path, recording: str = "171026_pose1/Subsequences/0") -> Path:
    """Two views, five frames; the second view has no frame 0, and none of the 135 points but the body's is sure."""
    rng = np.random.default_rng(0)
    world = np.concatenate([rng.normal(0, 0.3, (FRAMES, 135, 3)), np.full((FRAMES, 135, 1), 0.9)], 2)
    world[:, 25:, 3] = 0.1
    return _write(root / recording, ("00", "01"), "BODY_135", "BODY_135/Reconstructed", world)


def human36m(root: Path, recording: str = "S1/Sequences/Directions") -> Path:
    """Two views, five frames, 17 joints without confidences."""
    world = np.random.default_rng(1).normal(0, 0.3, (FRAMES, 17, 3))
    return _write(root / recording, ("54138969", "55011271"), "CPN", "Groundtruth", world)


def _write(folder: Path, views: tuple[str, ...], points: str, reconstructed: str, world: np.ndarray) -> Path:
    databases, cameras = folder / "Databases", {}
    poses = databases / "Poses"
    tensors = {frame: torch.tensor(world[frame], dtype=torch.float32)[..., None] for frame in range(FRAMES)}
    write_database(poses / "3D" / f"{reconstructed}.lmdb", tensors)
    for place, view in enumerate(views):
        turn, frames = 0.6 * place, range(min(place, 1), FRAMES)
        R = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        cameras[view] = {"R": R.tolist(), "t": [[0.0], [0.1], [4.2]], "K": K, "dist_coef": LENS}
        cameras[view]["resolution"] = [HEIGHT, WIDTH]  # exchanged, as published ones are in places
        seen = world[..., :3] @ R.T + (0, 0.1, 4.2)
        flat = seen[..., :2] / seen[..., 2:] * 90 + (47.5, 31.5)
        rows = np.concatenate([flat, world[..., 3:]], 2)
        tensors = {frame: torch.tensor(rows[frame], dtype=torch.float32)[..., None] for frame in frames}
        write_database(poses / "2D" / points / f"{view}.lmdb", tensors)
        write_database(databases / "Images" / f"{view}.lmdb", {f: _picture(f, "RGB") for f in frames}, True)
        write_database(databases / "Masks" / "SOLO" / f"{view}.lmdb", {f: _picture(f, "L") for f in frames}, True)
    (folder / "cameras.json").write_text(json.dumps(cameras))
    return folder


def _picture(frame: int, mode: str) -> bytes:
    """A person-sized box, redder frame by frame; its mask is soft at the left."""
    image = Image.new(mode, (WIDTH, HEIGHT), 40 if mode == "L" else (30, 90, 60))
    ImageDraw.Draw(image).rectangle((32, 8, 63, 55), fill=250 if mode == "L" else (100 + 30 * frame, 20, 20))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
