"""The networks, with the published names of their parameters."""

from __future__ import annotations

import math
from itertools import pairwise, product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...cuda.mlp import run_mlp

CODE = 64  # numbers in a shape code, and in a detail code
VOLUME = 64  # channels of the feature volume
_SHARPNESS = 100.0  # of Softplus
_WIDTHS = (256, 128, 64, VOLUME)  # channels of the generator, coarse to fine
_LAST = len(_WIDTHS) - 2  # number of the generator's last layer
_SLOPE = 0.01


class _Linear(nn.Module):
    """A layer with weight normalisation: W = g v / |v|, row by row (Salimans and Kingma 2016)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        layer = nn.Linear(inputs, outputs)
        self.bias = nn.Parameter(layer.bias.detach())
        self.weight_g = nn.Parameter(layer.weight.detach().norm(dim=1, keepdim=True))
        self.weight_v = nn.Parameter(layer.weight.detach())

    def weight(self) -> Tensor:
        return self.weight_g * self.weight_v / self.weight_v.norm(dim=1, keepdim=True)


class ImplicitNetwork(nn.Module):
    """Points and what they are conditioned on to values.

    frequencies: octaves of the points' encoding, which has no factor pi. conditions: numbers beside a point in the
    first layer. skip: the layer that takes the encoded point again, None for none.
    """

    def __init__(
        self, frequencies: int, conditions: int, width: int, depth: int, outputs: int, skip: int | None = None
    ) -> None:
        super().__init__()
        self.frequencies, self.depth, self.skip = frequencies, depth, skip
        encoded = 3 + 6 * frequencies
        for number in range(depth + 1):
            inputs = encoded + conditions if number == 0 else width
            after = outputs if number == depth else width - (encoded if number + 1 == skip else 0)
            setattr(self, f"lin{number}", _Linear(inputs, after))

    def forward(self, points: Tensor, *conditions: Tensor) -> tuple[Tensor, Tensor]:
        """Values [N, outputs] and the hidden layer [N, H] before the skip, without one before the last. points: [N, 3];
        conditions: [N, C] or [C] each, side by side in this order."""
        encoded = encode(points, self.frequencies)
        layers: list[_Linear] = [getattr(self, f"lin{number}") for number in range(self.depth + 1)]
        weights, biases = [layer.weight() for layer in layers], [layer.bias for layer in layers]
        middle = self.depth if self.skip is None else self.skip
        inputs = [encoded, *(one.expand(len(points), -1) for one in conditions)]
        features = run_mlp(inputs, weights[:middle], biases[:middle], sharpness=_SHARPNESS, hidden=True)
        after = [features]
        if self.skip is not None:
            after, weights[middle] = [features, encoded], weights[middle] / math.sqrt(2)
        return run_mlp(after, weights[middle:], biases[middle:], sharpness=_SHARPNESS), features

    @torch.no_grad()
    def start_as_ball(self) -> None:
        """Geometric initialisation (Atzmon and Lipman 2020; here positive inside): about a ball of radius 1, on points
        and the last CODE conditions alone. The last layer counts as last, though it is the skip layer too."""
        encoded = 3 + 6 * self.frequencies
        for number in range(self.depth + 1):
            layer: _Linear = getattr(self, f"lin{number}")
            outputs, inputs = layer.weight_v.shape
            if number == self.depth:
                layer.weight_v.normal_(-math.sqrt(math.pi) / math.sqrt(inputs), 1e-4)
                layer.bias.fill_(1)
            else:
                layer.weight_v.normal_(0, math.sqrt(2) / math.sqrt(outputs))
                layer.bias.zero_()
                if number == 0:
                    layer.weight_v[:, 3:-CODE] = 0
                elif number == self.skip:
                    layer.weight_v[:, 3 - encoded :] = 0
            layer.weight_g.copy_(layer.weight_v.norm(dim=1, keepdim=True))


def encode(points: Tensor, frequencies: int) -> Tensor:
    """[x, sin x, cos x, sin 2x, cos 2x, sin 4x, ...]: [N, 3 + 6 frequencies]."""
    waves = [wave(points * 2**octave) for octave in range(frequencies) for wave in (torch.sin, torch.cos)]
    return torch.cat([points, *waves], 1)


class Generator(nn.Module):
    """A shape code to a volume of features, by modulated instance normalisation. Nothing uses `lin2` of the files."""

    def __init__(self) -> None:
        super().__init__()
        self.shape_code = nn.Parameter(0.002 * torch.randn(1, _WIDTHS[0], 2, 8, 8))
        self.lin_code = nn.Linear(CODE, 2 * _WIDTHS[0])
        for number, (inputs, outputs) in enumerate(pairwise(_WIDTHS)):
            setattr(self, f"enc{number}", nn.Conv3d(inputs, outputs, 3, padding=1))
            setattr(self, f"lin{number}", nn.Linear(CODE, 2 * outputs))

    def forward(self, code: Tensor) -> Tensor:
        """[64] to [VOLUME, 16, 64, 64], sides z, y, x."""
        return functional.leaky_relu(self._last(self.before_last(code)[None]), _SLOPE)[0]

    def before_last(self, code: Tensor) -> Tensor:
        """What the last layer reads, [64, 16, 64, 64]."""
        hidden = functional.leaky_relu(_modulate(self.shape_code, self.lin_code(code)), _SLOPE)
        for number in range(_LAST):
            hidden = getattr(self, f"enc{number}")(_upsampled(hidden))
            hidden = functional.leaky_relu(_modulate(hidden, getattr(self, f"lin{number}")(code)), _SLOPE)
        return _upsampled(hidden)[0]

    def at(self, before: Tensor, points: Tensor) -> Tensor:
        """The volume at points [N, 3] (x, y, z, from -1 to 1), [N, VOLUME], made where they look alone: most of the
        volume is far from any surface. before: of `before_last`."""
        sides = before.shape[:0:-1]  # x, y, z
        place = (points + 1) * (points.new_tensor(sides) - 1) / 2
        cell = place.detach().floor()
        share = place - cell
        corners, weights = [], []
        for number in range(8):
            step = points.new_tensor([number & 1, number >> 1 & 1, number >> 2])
            corner = (cell + step).long()
            within = ((corner >= 0) & (corner < corner.new_tensor(sides))).all(1)
            corners.append(torch.where(within[:, None], corner, 0))
            weights.append(torch.where(step.bool(), share, 1 - share).prod(1) * within)
        x, y, z = torch.stack(corners, 1).unbind(2)
        wide, high = sides[0] + 2, sides[1] + 2
        voxel, row = torch.unique((z * high + y) * wide + x, return_inverse=True)
        padded = functional.pad(before, (1,) * 6).flatten(1).T.contiguous()
        taps = self._last.weight.flatten(2).permute(2, 1, 0).contiguous()
        values = _SparseConvolution.apply(padded, voxel, taps, wide, high) + self._last.bias
        found = functional.leaky_relu(values, _SLOPE)[row]
        return (found * torch.stack(weights, 1)[..., None]).sum(1)

    @property
    def _last(self) -> nn.Conv3d:
        return getattr(self, f"enc{_LAST}")


class _SparseConvolution(torch.autograd.Function):
    """Three taps a side at some voxels alone: one product of matrices a tap, on rows that stay in the cache; gradients
    are summed in place, where autograd would make a volume a tap.

    padded: [D H W, C]; voxel: [K], the lowest tap's rows; taps: [27, C, C'], z first. Gives [K, C'].
    """

    @staticmethod
    def forward(context: Any, padded: Tensor, voxel: Tensor, taps: Tensor, wide: int, high: int) -> Tensor:
        offsets = [(dz * high + dy) * wide + dx for dz, dy, dx in product(range(3), repeat=3)]
        context.offsets = offsets
        context.save_for_backward(padded, voxel, taps)
        values = padded.new_zeros(len(voxel), taps.shape[2])
        for tap, offset in zip(taps, offsets):
            values.addmm_(padded.index_select(0, voxel + offset), tap)
        return values

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, None, None]:
        (gradient,) = gradients
        padded, voxel, taps = context.saved_tensors
        of_padded, of_taps = torch.zeros_like(padded), torch.empty_like(taps)
        for number, offset in enumerate(context.offsets):
            at = voxel + offset
            torch.mm(padded.index_select(0, at).T, gradient, out=of_taps[number])
            of_padded.index_add_(0, at, gradient @ taps[number].T)
        return of_padded, None, of_taps, None, None


def _upsampled(volume: Tensor) -> Tensor:
    """Twice as large a side, trilinear between corners [1, C, D, H, W]: products of matrices, much faster than torch's
    own interpolation and its gradient."""
    depth, height, width = volume.shape[2:]
    rows = _doubling(depth).to(volume) @ volume.flatten(3)
    rows = _doubling(height).to(volume) @ rows.unflatten(3, (height, width))
    return rows @ _doubling(width).to(volume).T


def _doubling(side: int) -> Tensor:
    """[2 side, side]: linear interpolation with ends on ends."""
    place = torch.linspace(0, side - 1, 2 * side, dtype=torch.float64)
    return (1 - (place[:, None] - torch.arange(side)).abs()).clamp(min=0)


def _modulate(volume: Tensor, style: Tensor) -> Tensor:
    """Statistics of each channel (unbiased variance) become those of a style: shifts, then scales."""
    variance, mean = torch.var_mean(volume, (2, 3, 4), keepdim=True)
    shift, scale = style.view(2, 1, -1, 1, 1, 1)
    return (volume - mean) / (variance + 1e-5).sqrt() * scale + shift
