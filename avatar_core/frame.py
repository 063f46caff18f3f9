"""A rendered picture and its files.

Colour is scene-linear Rec.709, premultiplied by alpha. Depth is planar camera z in metres, EMPTY_DEPTH where there
is nothing (as Cycles writes it). Normals are unit vectors in the world (y up), zero where there is nothing.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import AvatarError

EMPTY_DEPTH = 1e10  # metres


@dataclass(frozen=True)
class Frame:
    """All planes are float32 with the top row first.

    rgba: [H, W, 4]. depth: [H, W]. normal: [H, W, 3]. mask: [H, W] coverage, 0 to 1. limb: [H, W] int32, which of the
    body's limbs shows, -1 where none does; None for methods that know no limbs.
    """

    rgba: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    mask: np.ndarray
    limb: np.ndarray | None = None

    @classmethod
    def empty(cls, width: int, height: int) -> Frame:
        """A frame with nobody in it."""
        return cls(
            np.zeros((height, width, 4), np.float32),
            np.full((height, width), EMPTY_DEPTH, np.float32),
            np.zeros((height, width, 3), np.float32),
            np.zeros((height, width), np.float32),
        )

    def enlarged(self, width: int, height: int) -> Frame:
        """A frame of another size: colour and coverage bilinear, depth and normal from the nearest pixel."""
        import torch
        from torch.nn.functional import interpolate

        def resize(plane: np.ndarray, mode: str) -> np.ndarray:
            tensor = torch.as_tensor(plane.reshape(*plane.shape[:2], -1)).permute(2, 0, 1)[None]
            align = {"align_corners": False} if mode == "bilinear" else {}
            result = interpolate(tensor, size=(height, width), mode=mode, **align)
            return result[0].permute(1, 2, 0).reshape(height, width, *plane.shape[2:]).contiguous().numpy()

        rgba, mask = resize(self.rgba, "bilinear"), resize(self.mask, "bilinear")
        depth, normal = resize(self.depth, "nearest-exact"), resize(self.normal, "nearest-exact")
        empty = depth >= EMPTY_DEPTH  # where bilinear colour spills over the nearest depth, there is nothing to merge
        rgba[empty], mask[empty] = 0, 0
        return Frame(rgba, depth, normal, mask)

    def reduced(self, factor: int) -> Frame:
        """Blocks of factor x factor pixels as one: colour and coverage are means (light adds linearly), depth and
        normal are means weighted by coverage over the pixels that hold something."""
        height, width = (side // factor for side in self.depth.shape)

        def blocks(plane: np.ndarray) -> np.ndarray:
            return plane.reshape(height, factor, width, factor, *plane.shape[2:])

        weight = blocks(self.mask * (self.depth < EMPTY_DEPTH))
        total = weight.sum((1, 3))
        share = weight / np.maximum(total, 1e-6)[:, None, :, None]
        depth = np.where(total > 0, (blocks(self.depth) * share).sum((1, 3)), EMPTY_DEPTH)
        normal = (blocks(self.normal) * share[..., None]).sum((1, 3))
        normal /= np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1e-6)
        rgba, mask = (blocks(plane).mean((1, 3)) for plane in (self.rgba, self.mask))
        return Frame(rgba, depth.astype(np.float32), normal, mask)

    def over(self, background: np.ndarray) -> np.ndarray:
        """The frame over a scene-linear `background` ([3] or [H, W, 3]): [H, W, 3] scene-linear."""
        return self.rgba[..., :3] + (1 - self.rgba[..., 3:]) * np.asarray(background, np.float32)


def srgb_to_linear(value: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, display to scene-linear; any shape, any float type."""
    value = np.asarray(value)
    return np.where(value <= 0.04045, value / 12.92, ((np.maximum(value, 0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(value: np.ndarray) -> np.ndarray:
    """The inverse of `srgb_to_linear`; values above 1 stay above 1."""
    value = np.asarray(value)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * np.maximum(value, 1e-12) ** (1 / 2.4) - 0.055)


def to_png8(frame: Frame) -> np.ndarray:
    """[H, W, 4] uint8, sRGB with straight alpha: what a PNG file holds."""
    alpha = np.clip(frame.rgba[..., 3:], 0, 1)
    straight = frame.rgba[..., :3] / np.maximum(alpha, 1e-6)
    colour = np.clip(linear_to_srgb(straight), 0, 1) * (alpha > 0)
    return np.round(np.concatenate([colour, alpha], -1) * 255).astype(np.uint8)


def write_png(path: Path | str, frame: Frame) -> None:
    """8-bit sRGB, straight alpha; written beside and renamed, so a file is whole or absent."""
    write_image(path, to_png8(frame))


def write_image(path: Path | str, pixels: np.ndarray) -> None:
    """A PNG of [H, W] or [H, W, 3 or 4] uint8; written beside and renamed. Raises AvatarError."""
    from PIL import Image

    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    try:
        Image.fromarray(pixels).save(temporary, format="PNG")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise AvatarError(f"{path} cannot be written: {error.strerror or error}") from error


def write_exr(path: Path | str, frame: Frame) -> None:
    """Float32 OpenEXR with channels R G B A, depth.Z, normal.X/Y/Z and mask.V, and limb.V (-1: none) where
    it has limbs; written beside and renamed."""
    channels = {
        **{name: frame.rgba[..., i] for i, name in enumerate("RGBA")},
        "depth.Z": frame.depth,
        **{f"normal.{name}": frame.normal[..., i] for i, name in enumerate("XYZ")},
        "mask.V": frame.mask,
    }
    if frame.limb is not None:
        channels["limb.V"] = frame.limb.astype(np.float32)
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(_encode_exr(channels))
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise AvatarError(f"{path} cannot be written: {error.strerror or error}") from error


def _encode_exr(channels: dict[str, np.ndarray]) -> bytes:
    """Single part, scan lines, ZIPS compression (openexr.com/en/latest/OpenEXRFileLayout.html)."""
    names = sorted(channels)
    height, width = channels[names[0]].shape
    channel_list = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", 2, 0, 1, 1) for name in names) + b"\0"
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    header = struct.pack("<2i", 20000630, 2)
    for name, kind, value in (
        ("channels", "chlist", channel_list),
        ("compression", "compression", b"\2"),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    ):
        header += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
    header += b"\0"
    rows = np.stack([np.asarray(channels[name], "<f4") for name in names], 1)  # [H, channels, W]
    blocks = [struct.pack("<2i", y, len(data)) + data for y, data in enumerate(map(_compress_row, rows))]
    offsets = np.cumsum([len(header) + 8 * height, *(len(block) for block in blocks[:-1])])
    return header + offsets.astype("<u8").tobytes() + b"".join(blocks)


def _compress_row(row: np.ndarray) -> bytes:
    raw = np.frombuffer(row.tobytes(), np.uint8)
    split = np.concatenate([raw[0::2], raw[1::2]]).astype(np.int32)
    delta = split.copy()
    delta[1:] = (np.diff(split) + 128) & 255
    packed = zlib.compress(delta.astype(np.uint8).tobytes(), 1)
    return packed if len(packed) < raw.size else raw.tobytes()
