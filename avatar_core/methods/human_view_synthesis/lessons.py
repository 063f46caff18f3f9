"""Batches of training: the same people seen by two cameras, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...camera import Camera
from ...data.people.views import View
from .lens import plane


@dataclass(frozen=True)
class Views:
    """B views. pictures: [B, 4, S, S] float32, display sRGB with straight alpha, 0 to 1 (empty where only poses are
    learnt). points: [B, J, 2] pixels, sure: [B, J] bool, sizes: [B, 2]: of the whole picture. root: [B, 3] and joints:
    [B, J, 3] about it, metres in the cameras' axes; known: [B, J] bool. turn, shift: [B, 3, 3], [B, 3] world to camera.
    people: [B] int64, which of the people that are learnt from, where that is known.
    """

    pictures: Tensor
    points: Tensor
    sure: Tensor
    sizes: Tensor
    root: Tensor
    joints: Tensor
    known: Tensor
    turn: Tensor
    shift: Tensor
    cameras: tuple[Camera, ...]
    people: Tensor | None = None

    @classmethod
    def of(cls, views: Sequence[View], root: int, device: torch.device | str = "cpu") -> Views:
        """root: the joint that others are relative to."""

        def stacked(name: str) -> Tensor:
            return torch.as_tensor(np.stack([getattr(view, name) for view in views]), device=device)

        joints = stacked("joints")
        cameras = np.stack([view.camera.world_to_camera for view in views])
        world = torch.as_tensor(cameras, dtype=torch.float32, device=device)
        return cls(
            stacked("picture").permute(0, 3, 1, 2).float() / 255,
            stacked("points").float(),
            stacked("sure"),
            stacked("size").float(),
            joints[:, root],
            joints - joints[:, root : root + 1],
            stacked("known"),
            world[:, :3, :3],
            world[:, :3, 3],
            tuple(view.camera for view in views),
        )

    @property
    def poses(self) -> Tensor:
        """[B, J, 3] metres, the cameras' axes; NaN where joints are unknown."""
        return torch.where(self.known[..., None], self.root[:, None] + self.joints, torch.nan)

    def planes(self, side: int) -> list[Tensor]:
        """Rays [side, side, 2] of each square."""
        made = []
        for camera in self.cameras:
            small = camera.scaled(side / camera.width)
            places = torch.arange(side) + 0.5
            K, lens = (torch.from_numpy(array).float() for array in (small.K, small.distortion))
            made.append(plane(K, lens, places, places).to(self.root.device))
        return made
