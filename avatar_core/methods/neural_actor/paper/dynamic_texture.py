"""Where the texture map of a pose comes from: maps that are kept, or a small network that paints it.

The published system has a video network of 227 million parameters for it (vid2vid), whose pictures depend on the
pictures before. Here a map is a mean plus what a network of half a million parameters adds for the pose: a function of
the pose alone, so that every frame is the same whether it is scrubbed to or rendered on a farm.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....body import Body
from ....body.kinematics import axis_angle_to_matrix
from ....render.texels import Texels

_WIDTHS = (24, 48, 96, 160)  # channels at a half, a quarter, ... of the map's size
_POSE = 64  # width of what the network knows of the pose
_FOLD = 2  # texels a side that become channels
_MULTIPLE = _FOLD << (len(_WIDTHS) - 1)
_GROUPS = 8
_UNSEEN = 0.02  # weight of a texel that no camera sees


class StoredTextures(nn.Module):
    """Maps of known poses. maps: [T, S, S, 3] uint8, display sRGB; poses: [T, J, 3] axis-angle."""

    maps: Tensor
    poses: Tensor

    def __init__(self, count: int, joints: int, size: int) -> None:
        super().__init__()
        self.register_buffer("maps", torch.zeros(count, size, size, 3, dtype=torch.uint8))
        self.register_buffer("poses", torch.zeros(count, joints, 3))

    def forward(self, pose: Tensor, normals: Tensor) -> Tensor:
        """The map [S, S, 3] in [0, 1] whose pose turns the joints least away from `pose` [J, 3], the global turn
        apart."""
        return self.maps[self._nearest(pose)].float() / 255

    def _nearest(self, pose: Tensor) -> int:
        ours, theirs = axis_angle_to_matrix(pose[1:]), axis_angle_to_matrix(self.poses[:, 1:])
        trace = (ours * theirs).sum((2, 3))
        return int(torch.acos(((trace - 1) / 2).clamp(-1, 1)).sum(1).argmin())


class TexturePredictor(nn.Module):
    """T(pose) = mean + U(normals, rest positions | pose): a U-Net of depthwise-separable convolutions over the texture
    layout, modulated by the pose (FiLM, Perez et al. 2018).

    mean: [3, S, S], learnt. Normals are in the root's frame: turning the actor repaints nothing.
    """

    face: Tensor
    bary: Tensor
    faces: Tensor
    still: Tensor

    def __init__(self, body: Body, size: int) -> None:
        super().__init__()
        if size % _MULTIPLE:
            raise ValueError(f"a predicted texture has a multiple of {_MULTIPLE} texels a side, got {size}")
        texels = Texels.of(body, size)
        position = texels.spread(torch.tensor(body.vertices, device="cpu"))
        still = torch.cat([position, texels.mask[..., None]], 2).permute(2, 0, 1)
        for name, value in {**vars(texels), "still": still}.items():
            self.register_buffer(name, value, persistent=False)
        self.mean = nn.Parameter(torch.full((3, size, size), 0.5))
        self.pose = nn.Sequential(nn.Linear(9 * (len(body.joint_names) - 1), _POSE), nn.SiLU())
        inputs = (7 * _FOLD**2, *_WIDTHS[:-1])
        self.down = nn.ModuleList(_Block(one, two) for one, two in zip(inputs, _WIDTHS))
        self.up = nn.ModuleList(_Block(two + one, one) for one, two in pairwise(_WIDTHS))
        self.out = nn.Conv2d(_WIDTHS[0], 3 * _FOLD**2, 1)
        for parameter in self.out.parameters():  # starts as the mean
            nn.init.zeros_(parameter)

    def forward(self, pose: Tensor, normals: Tensor) -> Tensor:
        """pose: [J, 3]. normals: [V, 3] unit, in the root's frame. A map [S, S, 3] of display sRGB, not clamped."""
        turns = axis_angle_to_matrix(pose[1:]) - torch.eye(3).to(pose)
        known = self.pose(turns.reshape(-1))
        turned = Texels(self.face, self.bary, self.faces).spread(normals)
        seen = torch.cat([turned.permute(2, 0, 1), self.still])
        x = functional.pixel_unshuffle(seen[None], _FOLD)
        levels = []
        for number, block in enumerate(self.down):
            x = block(x if number == 0 else functional.avg_pool2d(x, 2), known)
            levels.append(x)
        for number in reversed(range(len(self.up))):
            wide = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = self.up[number](torch.cat([wide, levels[number]], 1), known)
        residual = functional.pixel_shuffle(self.out(x), _FOLD)[0]
        return (self.mean + residual).permute(1, 2, 0)


class _Block(nn.Module):
    """A depthwise 3x3 and a pointwise convolution, normalised, scaled and shifted by the pose."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, 1, 1, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)
        self.normalise = nn.GroupNorm(_GROUPS, outputs)
        self.film = nn.Linear(_POSE, 2 * outputs)

    def forward(self, x: Tensor, pose: Tensor) -> Tensor:
        scale, shift = self.film(pose)[None, :, None, None].chunk(2, 1)
        return functional.silu(self.normalise(self.pointwise(self.depthwise(x))) * (1 + scale) + shift)


def texture_loss(predicted: Tensor, target: Tensor, confidence: Tensor) -> Tensor:
    """Mean squared difference of maps [S, S, 3], of which texels count by how well cameras saw them: confidence [S, S]
    in [0, 1].

    Squares: the absolute difference pulls a texel that changes in few poses to its median, which is no change at all.
    """
    weight = confidence.clamp(min=_UNSEEN)
    return ((predicted - target).square().mean(2) * weight).sum() / weight.sum()
