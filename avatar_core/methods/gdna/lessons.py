"""Scans as training sees them: points of a scan, and the body that it is registered to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...camera import Camera
from ...data.capture import Capture, CaptureError
from ...data.scans import ScanCapture
from .body import BETAS, SmplBody


@dataclass(frozen=True, eq=False)
class Registered:
    """A scan's body. betas: [10]. bones: [24, 4, 4], canonical with these betas to posed. canonical: [V, 3]."""

    betas: Tensor
    bones: Tensor
    canonical: Tensor


class Lessons:
    """capture: as given. neutral: canonical vertices [V, 3] without betas, their skinning weights [V, 24], and joints
    [24, 3]. All tensors lie where the body's do."""

    def __init__(self, capture: Capture, frames: Sequence[int], body: SmplBody) -> None:
        """Raises CaptureError for a capture that is no scans."""
        if not isinstance(capture, ScanCapture):
            raise CaptureError(f"{capture.folder} holds no scans, which gDNA learns from; 'avatar prepare' makes some")
        if len(frames) != len(capture.frames):
            raise CaptureError(f"{capture.folder}: every scan must have the split 'train'; views are what is held out")
        self.capture, self._body = capture, body
        neutral = body.canonical(body.template.new_zeros(BETAS))
        self.neutral, self.joints, self.weights = neutral.vertices, neutral.joints, body.weights
        self._cameras = {id(view.camera): number for number, view in enumerate(capture.cameras)}
        self._registered: dict[int, Registered] = {}

    def __len__(self) -> int:
        return len(self.capture.frames)

    def tensor(self, values: np.ndarray) -> Tensor:
        """What the capture says, as a copy where the body is: pictures may be read-only."""
        return torch.tensor(values, device=self.neutral.device)

    def registered(self, frame: int) -> Registered:
        if frame not in self._registered:
            controls = self.capture.frames[frame].controls
            pose, betas = self.tensor(controls.pose), self.tensor(controls.betas[:BETAS])
            self._registered[frame] = Registered(betas, self._body.pose(pose, betas).bones, self.shaped(betas))
        return self._registered[frame]

    def shaped(self, betas: Tensor) -> Tensor:
        """Canonical vertices [V, 3] with betas [10], of a scan or of anybody."""
        return self._body.canonical(betas).vertices

    def occupancy(self, frame: int, near: int, space: int) -> tuple[Tensor, Tensor]:
        """Random points [near + space, 3] and 1 for those inside, 0 for the others."""
        samples = self.capture.samples(frame)
        chosen = _some(len(samples.near), near), _some(len(samples.space), space)
        points = np.concatenate([samples.near[chosen[0]], samples.space[chosen[1]]])
        inside = np.concatenate([samples.near_inside[chosen[0]], samples.space_inside[chosen[1]]])
        return self.tensor(points), self.tensor(inside).float()

    def view(self, camera: Camera) -> int:
        """The number of a camera that a batch of the capture has."""
        return self._cameras[id(camera)]


def _some(count: int, wanted: int) -> np.ndarray:
    return torch.randint(count, (wanted,)).numpy()
