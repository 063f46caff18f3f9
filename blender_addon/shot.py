# SPDX-License-Identifier: GPL-3.0-or-later
"""The avatars of one view: what the worker is asked for, and its answers merged into one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import session
from .box import box_of
from .client import Poll, Progress
from .coordinates import normals_to_blender, scaled_camera
from .layers import EMPTY_DEPTH, Layer, Picture, combine


@dataclass(frozen=True)
class Job:
    """One actor in one view."""

    name: str
    path: Path
    quality: str
    controls: dict[str, Any]
    camera: dict[str, Any]  # in the actor's world, which is `scale` times smaller than the scene
    scale: float
    ahead: float  # metres: so much closer it counts among avatars

    def reduced(self, share: float, quality: str) -> Job:
        """The same view with `share` of its pixels along each side."""
        return replace(self, camera=scaled_camera(self.camera, share), quality=quality)


def render(
    jobs: Sequence[Job], width: int, height: int, stop: Poll | None = None, progress: Progress | None = None
) -> Picture:
    """All jobs over each other, rows from the top, normals in Blender's world; masks in the order of `jobs`.

    Raises WorkerError and SceneError.
    """
    layers, masks = [], []
    for index, job in enumerate(jobs):

        def advance(share: float, done: int = index) -> None:
            if progress is not None:
                progress((done + share) / len(jobs))

        planes = session.current.render(job.path, job.controls, job.camera, job.quality, stop, advance)
        somebody = planes.depth < EMPTY_DEPTH
        taken = box_of(somebody)
        depth, normal = planes.depth.copy(), np.zeros(planes.normal.shape, np.float32)
        taken.of(depth)[taken.of(somebody)] *= np.float32(job.scale)
        taken.of(normal)[:] = normals_to_blender(taken.of(planes.normal))
        layers.append(Layer(planes.rgba, depth, normal, job.ahead, planes.limb))
        masks.append(planes.mask)
    return combine(layers, masks, width, height)
