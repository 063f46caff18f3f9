"""All networks of a model together: from a person seen in one camera to a picture from another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...cuda.gaussians import GaussianImage
from .appearance import AppearanceEncoder
from .config import Config
from .decoder import Decoder
from .latent import latent_image
from .pose_network import PoseNetwork
from .primitives import Primitives


class Generator(nn.Module):
    """p2p: 2D to 3D poses. i2a: picture to appearance. r2i: latent image to picture. Named as in the published
    checkpoints; p2p and i2a are None where the configuration leaves them out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        skeleton = config.skeleton_of()
        self.config = config
        self.p2p = PoseNetwork(len(skeleton.joints), config.pose_width, config.dropout) if config.pose_width else None
        self.primitives = Primitives(skeleton, config.per_limb)
        self.i2a = (
            AppearanceEncoder(len(self.primitives), config.features, config.encoder_base) if config.encoder else None
        )
        style = len(self.primitives) * config.features
        outputs = 4 if config.alpha else 3
        self.r2i = Decoder(style, config.features, config.base, config.enlarge, outputs)

    def latents(self, poses: Tensor, appearance: Tensor, planes: Sequence[Tensor]) -> list[GaussianImage]:
        """Of poses [B, J, 3] in the cameras' axes, appearances [B, P, A], and each camera's rays [h, w, 2]."""
        options = self.config.published, self.config.density
        gaussians = [self.primitives(pose) for pose in poses]
        if not self.config.published:
            gaussians = [one.seen_by(plane) for one, plane in zip(gaussians, planes, strict=True)]
        return [
            latent_image(plane, one, features, *options)
            for one, features, plane in zip(gaussians, appearance, planes, strict=True)
        ]

    def draw(self, poses: Tensor, appearance: Tensor, planes: Sequence[Tensor]) -> tuple[Tensor, list[GaussianImage]]:
        """Pictures [B, 3 or 4, H, W] of display sRGB (and alpha), not clamped, and the latent images."""
        latents = self.latents(poses, appearance, planes)
        stacked = torch.stack([latent.features for latent in latents])
        return self.r2i(stacked, appearance.flatten(1)), latents


def between_cameras(points: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    """Points [B, J, 3] of one camera's axes in another's; a camera is its R [B, 3, 3] and t [B, 3] of the world."""
    turn = second[0] @ first[0].transpose(1, 2)
    return (points - first[1][:, None]) @ turn.transpose(1, 2) + second[1][:, None]
