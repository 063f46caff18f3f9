"""A stand-in for something without a skeleton of its own, such as a head."""

from __future__ import annotations

import numpy as np

from .model import Body

_RINGS, _SECTORS = 12, 16


def stand_in(name: str, low: np.ndarray, high: np.ndarray, licence: str) -> Body:
    """An ellipsoid that fills the box from `low` to `high` [3] (metres, the head's frame), with one joint."""
    v, u = np.mgrid[0 : _RINGS + 1, 0:_SECTORS].reshape(2, -1)
    up, around = np.pi * v / _RINGS, 2 * np.pi * u / _SECTORS
    unit = np.stack([np.sin(up) * np.cos(around), np.cos(up), np.sin(up) * np.sin(around)], 1)
    vertices = ((low + high) / 2 + unit * (high - low) / 2).astype(np.float32)
    ring, sector = np.mgrid[0:_RINGS, 0:_SECTORS].reshape(2, -1)
    a, b = ring * _SECTORS + sector, ring * _SECTORS + (sector + 1) % _SECTORS
    c, d = a + _SECTORS, b + _SECTORS
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    return Body(
        name=name,
        vertices=vertices,
        faces=faces,
        uv=np.zeros((0, 2), np.float32),
        face_uv=np.zeros((0, 3), np.int32),
        weights=np.ones((len(vertices), 1), np.float32),
        joint_names=("head",),
        parents=np.array([-1]),
        regressor=np.full((1, len(vertices)), 1 / len(vertices), np.float32),
        licence=licence,
    )
