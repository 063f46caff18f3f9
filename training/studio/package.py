"""Hands a character and its frames to Blender: arrays and textures in a folder, for `scene.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .character import Character
from .motion import Poses


def write_character(folder: Path, character: Character, poses: Poses) -> None:
    """Writes character.npz and one PNG a texture."""
    body, names = character.body, character.body.joint_names
    arrays: dict[str, np.ndarray] = {
        **{key: getattr(body, key) for key in ("vertices", "faces", "uv", "face_uv", "weights", "parents")},
        "joints": body.joints(),
        "joint_names": np.array(names),
        "pose": poses.pose,
        "transl": poses.transl,
        "parts": np.array([part.name for part in character.clothes]),
    }
    for part in character.clothes:
        fields = {
            "vertices": part.surface.vertices,
            "quads": part.surface.quads,
            "weights": part.surface.weights,
            "corner_uv": part.surface.corner_uv,
            "wrinkles": np.array([wrinkle.name for wrinkle in part.wrinkles], str),
            "offsets": np.array([wrinkle.offsets for wrinkle in part.wrinkles]),
            "strengths": np.array([wrinkle.strength(poses.pose, names) for wrinkle in part.wrinkles]),
        }
        arrays.update({f"{part.name}.{key}": value for key, value in fields.items()})
        _write_texture(folder / f"{part.name}.png", part.texture)
    _write_texture(folder / "skin.png", character.skin)
    np.savez(folder / "character.npz", **arrays)  # type: ignore[arg-type]


def _write_texture(path: Path, texture: np.ndarray) -> None:
    Image.fromarray(np.round(texture * 255).astype(np.uint8)).save(path, compress_level=1)
