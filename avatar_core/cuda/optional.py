"""The one place that chooses nvdiffrast and tiny-cuda-nn: used for tensors on a GPU where a user has installed them.

nvdiffrast (Laine et al. 2020) gives silhouettes their gradients, `antialias`; tiny-cuda-nn (Mueller 2021) runs small
networks in half precision, `fused_mlp`. Each function returns None where ours is to be used; AVATAR_BACKEND, set to
anything, asks for ours everywhere. Neither package is on PyPI, and nvdiffrast's licence allows no commercial use, so
nothing depends on them.
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .raster import Raster

_MODULES = {"nvdiffrast": "nvdiffrast.torch", "tiny-cuda-nn": "tinycudann"}
_FUSED_WIDTHS = (16, 32, 64, 128)  # of tiny-cuda-nn's FullyFusedMLP; its CutlassMLP takes others
_MOST_FACES = 1 << 24  # nvdiffrast keeps the number of a face in a float


class Found(NamedTuple):
    """module: None where the package is not used. reason: why. remedy: what to do about it; may be empty."""

    module: ModuleType | None
    reason: str
    remedy: str = ""


@cache
def found(name: str) -> Found:
    """The package 'nvdiffrast' or 'tiny-cuda-nn'."""
    if os.environ.get("AVATAR_BACKEND"):
        return Found(None, "not used: AVATAR_BACKEND asks for our own kernels")
    if not torch.cuda.is_available():
        return Found(None, "not used: PyTorch sees no CUDA device")
    try:
        return Found(importlib.import_module(_MODULES[name]), "in use")
    except ModuleNotFoundError:
        return Found(None, "not installed, our own kernels do its work")
    except Exception as error:  # a build for another PyTorch or GPU fails in ways of its own
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        remedy = "build it again for this PyTorch and GPU, or uninstall it: our own kernels do its work"
        return Found(None, f"cannot be loaded ({problem})", remedy)


def antialias(picture: Tensor, raster: Raster, positions: Tensor, faces: Tensor) -> Tensor | None:
    """`antialias.antialias` by nvdiffrast."""
    fit = {picture.dtype, positions.dtype} == {torch.float32} and 0 < len(faces) < _MOST_FACES and picture.numel()
    module = found("nvdiffrast").module if picture.is_cuda and fit else None
    if module is None:
        return None
    height, width = raster.face.shape
    clip, buffer = clip_space(positions, height, width), raster_buffer(raster, _near(positions))
    return module.antialias(picture[None].contiguous(), buffer[None], clip[None], faces.int().contiguous())[0]


def clip_space(positions: Tensor, height: int, width: int) -> Tensor:
    """Homogeneous pixels [V, 3] as OpenGL's clip space [V, 4] for nvdiffrast, whose row 0 is y = -1: rows stay rows.

    x, y are -w to w across the picture; z = w - 2 near, so that z / w rises with depth from -1 to 1.
    """
    x, y, w = positions.unbind(-1)
    return torch.stack([2 * x / width - w, 2 * y / height - w, w - 2 * _near(positions), w], -1)


def raster_buffer(raster: Raster, near: Tensor | float) -> Tensor:
    """A raster as nvdiffrast's float32 buffer [H, W, 4]: weights of corners 0 and 1, z / w, number of the face plus 1;
    0 where empty."""
    height = (1 - 2 * near / raster.depth).masked_fill(raster.face < 0, 0)
    return torch.cat([raster.bary[..., :2], height[..., None], (raster.face + 1)[..., None]], -1).detach().float()


def _near(positions: Tensor) -> Tensor:
    """Half the least depth in front of the camera: nothing that is drawn lies before it."""
    depth = positions[:, 2].detach()
    return torch.where(depth > 1e-3, depth, 1e-3).amin() / 2


def fused_mlp(x: Tensor, params: Tensor, outputs: int, shapes: tuple[tuple[int, int], ...]) -> Tensor | None:
    """A network of `nn.tcnn.PackedMLP` [N, inputs] to [N, outputs], float16, where autocast asks for half precision."""
    half = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda") == torch.float16
    module = found("tiny-cuda-nn").module if x.is_cuda and half and len(x) else None
    if module is None:
        return None
    return run_network(_network(module, x.device, x.shape[1], outputs, shapes[0][0], len(shapes) - 1), params, x)


def run_network(network: torch.nn.Module, params: Tensor, x: Tensor) -> Tensor:
    """A `tinycudann.Network` with our parameters in place of its own; gradients flow to ours."""
    return torch.func.functional_call(network, {"params": params}, (x,))


@cache
def _network(module: Any, device: torch.device, inputs: int, outputs: int, width: int, layers: int) -> torch.nn.Module:
    with torch.cuda.device(device):
        return module.Network(inputs, outputs, network_config(width, layers))


def network_config(width: int, layers: int) -> dict[str, str | int]:
    """What tiny-cuda-nn is asked for: fused where it has the width, else by CUTLASS."""
    return {
        "otype": "FullyFusedMLP" if width in _FUSED_WIDTHS else "CutlassMLP",
        "activation": "ReLU",
        "output_activation": "None",
        "n_neurons": width,
        "n_hidden_layers": layers,
    }
