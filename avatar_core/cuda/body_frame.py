"""An animator's body: its shape stays, its pose changes from frame to frame. On the CPU one call does a frame: joints,
pose correctives and skinning; what stays has been checked and described before. On a GPU, and where gradients are
wanted, the ops do it in turn."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..body.kinematics import relative_transforms
from ..body.pose_offsets import pose_features
from .arguments import pointer
from .correctives import BLOCK, Correctives
from .kinematics import parent_indices
from .loader import choose, kernels
from .skin import check, describe, skin_points
from .threads import parallel

_JOINTS = 256  # FRAME_JOINTS in skin.cpp
_LEAST = 48  # blocks of vertices that are worth a thread


@dataclass(frozen=True)
class ShapedBody:
    """A body of one shape.

    rest: [V, 3] metres. centres: [J, 3] of its joints. parents: J, root -1, each before its children. weights: [V, J],
    or [V, K] with the joints [V, K] int32 that they belong to. correctives: of `pose_features`. Raises ValueError.
    """

    rest: Tensor
    centres: Tensor
    parents: tuple[int, ...]
    weights: Tensor
    joints: Tensor | None = None
    correctives: Correctives | None = None

    def __post_init__(self) -> None:
        count = len(self.parents)
        features = None if self.correctives is None else self.rest.new_empty(max(0, 9 * (count - 1)))
        check(self.rest, self.weights, self.rest.new_empty(count, 4, 4), self.joints, self.correctives, features)
        if self.rest.dim() != 2 or self.centres.shape != (count, 3):
            raise ValueError(
                f"a shape must be [V, 3] and its joints ({count}, 3), got {tuple(self.rest.shape)} and "
                f"{tuple(self.centres.shape)}"
            )

    def posed(self, pose: Tensor, transl: Tensor | None = None) -> Tensor:
        """Vertices [V, 3] in a pose [J, 3], axis-angle in radians, then shifted by transl [3] metres. Differentiable.
        Raises ValueError."""
        transl = pose.new_zeros(3) if transl is None else transl
        if pose.shape != self.centres.shape or transl.shape != (3,):
            raise ValueError(
                f"pose and transl must be {tuple(self.centres.shape)} and (3,), got {tuple(pose.shape)} and "
                f"{tuple(transl.shape)}"
            )
        tensors = pose, transl, self.rest, self.centres, self.weights
        differentiable = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
        single = all(tensor.dtype == torch.float32 for tensor in tensors)
        if differentiable or not single or len(pose) > _JOINTS or choose(*tensors) != "native":
            return self.posed_by_ops(pose, transl)
        pose, transl, out = pose.contiguous(), transl.contiguous(), torch.empty(self.rest.shape)
        arguments = *self._still[0], pointer(pose), pointer(transl), pointer(out)
        parallel(kernels().skin_frame, arguments, -(-len(out) // BLOCK), _LEAST)
        return out

    def posed_by_ops(self, pose: Tensor, transl: Tensor) -> Tensor:
        """The definition, of the ops that have references of their own."""
        transforms = relative_transforms(pose, self.centres, self.parents, transl)
        features = None if self.correctives is None else pose_features(pose)
        return skin_points(self.rest, self.weights, transforms, self.joints, self.correctives, features)

    @cached_property
    def _still(self) -> tuple[tuple[Any, ...], tuple[Tensor | None, ...]]:
        """The kernel's first arguments, and the tensors that they point to."""
        rest, centres, weights = (tensor.detach().contiguous() for tensor in (self.rest, self.centres, self.weights))
        joints = None if self.joints is None else self.joints.contiguous()
        parents = parent_indices(self.parents, len(self.parents), rest.device)
        steps = None if self.correctives is None else self.correctives.steps
        transforms = rest.new_empty(1, len(parents), 4, 4)  # for its shape: the kernel has its own
        skin, _ = describe(rest, weights, transforms, None if steps is None else steps[None], joints, self.correctives)
        pointers = pointer(centres), pointer(parents), ctypes.c_void_p() if steps is None else pointer(steps)
        return (ctypes.byref(skin), *pointers), (rest, centres, weights, joints, parents, steps)
