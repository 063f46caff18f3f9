"""SMPL as gDNA uses it: transforms from a star pose to others.

The canonical pose is the rest pose with the legs opened by 30 degrees, so that thighs do not touch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...body import Body
from ...body.kinematics import relative_transforms
from ...body.pose_offsets import pose_offsets
from ...cuda.skin import blend
from ...errors import AvatarError

STARTS = (0, 1, 2, 4, 5, 16, 17, 18, 19)  # pelvis, hips, knees, shoulders, elbows: where the search begins
JOINTS = 24
BETAS = 10
_OPENED = math.pi / 6


@dataclass(frozen=True)
class PosedBody:
    """vertices: [V, 3] posed. joints: [24, 3] posed. bones: [24, 4, 4], canonical with the same betas to posed."""

    vertices: Tensor
    joints: Tensor
    bones: Tensor


def star_pose() -> Tensor:
    """[24, 3] axis-angle."""
    pose = torch.zeros(JOINTS, 3)
    pose[1, 2], pose[2, 2] = _OPENED, -_OPENED
    return pose


class SmplBody:
    """A body of SMPL's skeleton in one float type, on one device; what is asked of it has to lie there too. Raises
    AvatarError for another skeleton."""

    def __init__(
        self, body: Body, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> None:
        check_body(body)
        self.parents = body.parents
        arrays = body.vertices, body.weights, body.regressor, body.shapedirs[..., :BETAS]
        self.template, self.weights, self.regressor, self.shapedirs = (
            torch.tensor(a, dtype=dtype, device=device) for a in arrays
        )
        self.posedirs = None if body.posedirs is None else torch.tensor(body.posedirs, dtype=dtype, device=device)

    def canonical(self, betas: Tensor) -> PosedBody:
        """The star pose; its bones go from the rest pose to it."""
        return self._posed(star_pose().to(betas), betas)

    def pose(self, pose: Tensor, betas: Tensor, transl: Tensor | None = None, scale: float = 1.0) -> PosedBody:
        """pose: [24, 3]; betas: [10]; transl: [3] metres, added after `scale`."""
        found = self._posed(pose, betas)
        shift = torch.zeros(3).to(pose) if transl is None else transl
        similar = torch.diag(pose.new_tensor([scale, scale, scale, 1.0]))
        similar[:3, 3] = shift
        bones = similar @ found.bones @ torch.linalg.inv(self.canonical(betas).bones)
        return PosedBody(found.vertices * scale + shift, found.joints * scale + shift, bones)

    def from_parameters(self, parameters: Tensor) -> PosedBody:
        """The published vector [86]."""
        scale, transl, pose, betas = parameters.split([1, 3, 3 * JOINTS, BETAS])
        return self.pose(pose.view(JOINTS, 3), betas, transl, float(scale))

    def _posed(self, pose: Tensor, betas: Tensor) -> PosedBody:
        shaped = self.template + self.shapedirs @ betas
        joints = self.regressor @ shaped
        bones = relative_transforms(pose, joints, self.parents)
        rest = shaped if self.posedirs is None else shaped + pose_offsets(pose, self.posedirs)
        return PosedBody(apply(blend(self.weights, bones), rest), apply(bones, joints), bones)


def apply(transforms: Tensor, points: Tensor) -> Tensor:
    """[N, 4, 4] on [N, 3]."""
    return (transforms[:, :3, :3] @ points[..., None])[..., 0] + transforms[:, :3, 3]


def check_body(body: Body) -> None:
    """Raises AvatarError for a skeleton that is not SMPL's."""
    if len(body.joint_names) != JOINTS or body.shapedirs.shape[2] < BETAS:
        raise AvatarError(
            f"gDNA needs a body with SMPL's {JOINTS} joints and {BETAS} betas; '{body.name}' has "
            f"{len(body.joint_names)} and {body.shapedirs.shape[2]}"
        )
