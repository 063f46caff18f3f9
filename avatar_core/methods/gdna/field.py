"""The person as functions of canonical points: displacement by betas, skinning weights, occupancy, normals.

x is canonical with the person's betas, x' = x + displacement(x, betas) is free of them; occupancy, normals and the
weights of the mesh live at x', and the search for correspondences reads the weights at x, as published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .body import BETAS, JOINTS
from .networks import CODE, VOLUME, Generator, ImplicitNetwork

_SHARPNESS = 20.0  # of the softmax over bones
_BETAS_SCALE = 10.0
_CENTRE, _HALF = (0.0, -0.28, 0.0), (1.0, 1.0, 0.25)  # metres, of the volume in the space of x'
_FREQUENCIES = 4  # of the occupancy network
_FEATURES = 256 - (3 + 6 * _FREQUENCIES)  # its last hidden layer, which the normal network reads


def extent() -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of the volume, metres, in the space of x'; nothing is learnt outside."""
    return np.subtract(_CENTRE, _HALF), np.add(_CENTRE, _HALF)


class Deformer(nn.Module):
    """Skinning weights and displacement."""

    def __init__(self) -> None:
        super().__init__()
        self.lbs_network = ImplicitNetwork(0, CODE, 128, 4, JOINTS)
        self.disp_network = ImplicitNetwork(0, BETAS, 128, 4, 3)

    def weights(self, points: Tensor, code: Tensor) -> Tensor:
        """[N, 24], rows sum to 1. code: [64] of shape."""
        return torch.softmax(_SHARPNESS * self.lbs_network(points, code)[0], 1)

    def neutral(self, points: Tensor, betas: Tensor) -> Tensor:
        """x' of x. betas: [10]."""
        return points + self.disp_network(points, betas / _BETAS_SCALE)[0]


class Networks(nn.Module):
    """Everything that is learnt, but for codes; parameters have their published names. frequencies: of the normal
    network, 0 for none; colours: of the colour network, which the published system does not have, likewise."""

    norm_network: ImplicitNetwork | None
    colour_network: ImplicitNetwork | None

    def __init__(self, frequencies: int, colours: int = 0) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.network = ImplicitNetwork(_FREQUENCIES, VOLUME, 256, 4, 1, skip=4)
        self.deformer = Deformer()
        self.generator = Generator()
        self.norm_network, self.colour_network = (
            ImplicitNetwork(octaves, CODE + _FEATURES, 256, 8, 3, skip=4) if octaves else None
            for octaves in (frequencies, colours)
        )

    def person(self, shape: Tensor, betas: Tensor | None = None) -> Person:
        """shape: code [64]. betas: [10], None for zeros."""
        volume = self.generator(shape)[None].contiguous(memory_format=torch.channels_last_3d)[0]  # looked up 5 x faster
        return Person(self, shape, _or_zeros(betas, shape), volume)

    def sparse_person(self, shape: Tensor, betas: Tensor | None = None) -> SparsePerson:
        """The same person, cheaper for some thousand points."""
        return SparsePerson(self, shape, _or_zeros(betas, shape), self.generator.before_last(shape))


def _or_zeros(betas: Tensor | None, shape: Tensor) -> Tensor:
    return shape.new_zeros(BETAS) if betas is None else betas


@dataclass(frozen=True)
class Person:
    """The networks with a shape code and betas. volume: [64, 16, 64, 64]."""

    networks: Networks
    shape: Tensor
    betas: Tensor
    volume: Tensor

    def weights(self, points: Tensor) -> Tensor:
        """[N, 24] of canonical points x [N, 3]."""
        return self.networks.deformer.weights(points, self.shape)

    def neutral(self, points: Tensor) -> Tensor:
        """x' [N, 3] of canonical points x [N, 3]."""
        return self.networks.deformer.neutral(points, self.betas)

    def occupancy(self, neutral: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [N], positive inside, and features [N, 229] for `normals`. neutral: x' [N, 3]."""
        scaled = (neutral - neutral.new_tensor(_CENTRE)) / neutral.new_tensor(_HALF)
        logits, features = self.networks.network(scaled, self._look_up(scaled))
        return logits[:, 0], features

    def _look_up(self, scaled: Tensor) -> Tensor:
        """[N, 64] of the volume."""
        grid = scaled[None, None, None]
        found = functional.grid_sample(self.volume[None], grid, padding_mode="zeros", align_corners=True)
        return found[0, :, 0, 0].T

    def normals(self, neutral: Tensor, detail: Tensor, features: Tensor) -> Tensor:
        """Canonical normals [N, 3], not of unit length. detail: code [64]."""
        assert self.networks.norm_network is not None, "the coarse stage has no normals"
        return self.networks.norm_network(neutral, detail, features)[0]

    def colours(self, neutral: Tensor, code: Tensor, features: Tensor) -> Tensor:
        """Display sRGB [N, 3] in [0, 1]. code: [64] of colour."""
        assert self.networks.colour_network is not None, "no colours were learnt"
        return self.networks.colour_network(neutral, code, features)[0].sigmoid()


@dataclass(frozen=True)
class SparsePerson(Person):
    """A person of whom few points are asked, as in training. volume: before the generator's last layer, which is
    evaluated around those points."""

    def _look_up(self, scaled: Tensor) -> Tensor:
        return self.networks.generator.at(self.volume, scaled)


def skin_normals(normals: Tensor, transforms: Tensor) -> Tensor:
    """Unit normals [N, 3] after transforms [N, 4, 4]: by the inverse transpose."""
    inverse = torch.linalg.inv(transforms[:, :3, :3])
    return functional.normalize((inverse.mT @ normals[..., None])[..., 0], dim=1)
