"""Released checkpoints: files of PyTorch Lightning, of either skeleton, at any resolution and of any training stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...config import ConfigError
from ..checkpoint import CheckpointError, load, take
from .config import Config
from .generator import Generator
from .skeleton import SKELETONS, Skeleton

SYSTEM = "HumanViewSynthesis"
_MODEL, _CRITIC = "model.", "discriminator."
_EXPLAINED = (_MODEL, _CRITIC, "lpips_metric.", "lpips_loss.", "vgg_loss.", "adaptive_augmentations.")
_EXTENT = {"human36m17": 2.6, "panoptic117": 1.86}  # metres across the pictures of the published virtual cameras
_RENDERED = 256  # pixels a side of latent images, where the file does not say


@dataclass(frozen=True)
class Checkpoint:
    """generator: tensors of generator.Generator. critic: those of the discriminator, empty where there is none."""

    config: Config
    generator: dict[str, Tensor]
    critic: dict[str, Tensor]


def read(path: Path) -> Checkpoint:
    """Raises CheckpointError."""
    data = load(path, SYSTEM, foreign=True)
    state, options = data.get("state_dict"), data.get("hyper_parameters")
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} has no 'state_dict'; it is no checkpoint of {SYSTEM}")
    tensors = {str(name): value.detach() for name, value in state.items() if isinstance(value, Tensor)}
    return parse(tensors, options if isinstance(options, dict) else {}, path)


def parse(state: dict[str, Tensor], options: dict[str, Any], path: Path) -> Checkpoint:
    """Raises CheckpointError that names `path`."""
    unknown = [name for name in state if not name.startswith(_EXPLAINED)]
    if unknown:
        raise CheckpointError(f"{path} has a tensor '{unknown[0]}', which no checkpoint of {SYSTEM} has")
    found = {name[len(_MODEL) :]: value for name, value in state.items() if name.startswith(_MODEL)}
    if "layers.3.bias" in found:
        raise CheckpointError(f"{path} holds the pose network alone; import the model of view synthesis")
    config = _config(found, options, path)
    with torch.device("meta"):
        wanted = {name: value for name, value in Generator(config).state_dict().items() if name != "primitives.widths"}
    extra = sorted(set(found) - set(wanted))
    if extra:
        raise CheckpointError(f"{path} has a tensor 'model.{extra[0]}', which no checkpoint of {SYSTEM} has")
    flags = {name for name, value in wanted.items() if value.dtype == torch.bool}
    for name in flags:
        if name not in found or found[name].dtype != torch.bool or found[name].dim():
            raise CheckpointError(f"{path}: 'model.{name}' must be a single truth value")
    shapes = {name: tuple(value.shape) for name, value in wanted.items() if name not in flags}
    generator = take(found, shapes, path, f"model of {SYSTEM}") | {name: found[name] for name in flags}
    generator["primitives.widths"] = _widths(config.skeleton_of(), options, path)
    critic = {name[len(_CRITIC) :]: value for name, value in state.items() if name.startswith(_CRITIC)}
    return Checkpoint(config, generator, critic)


def _config(found: dict[str, Tensor], options: dict[str, Any], path: Path) -> Config:
    """What shapes say, and the resolutions, which they do not."""
    try:
        joints, width = found["p2p.layers.3.weight"].shape
        features, base = len(found["r2i.in_block.0.n.ema.average"]), len(found["r2i.in_block.1.c.weight"])
        style = found["r2i.in_block.0.c.linear.weight"].shape[1]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise CheckpointError(f"{path} has not all networks of {SYSTEM} ({error})") from error
    sides = joints, style
    skeleton = next((s for s in SKELETONS.values() if (3 * len(s.joints), features * len(s.limbs)) == sides), None)
    if skeleton is None:
        raise CheckpointError(f"{path} is for {joints // 3} joints: neither Human3.6M's nor Panoptic's skeleton")
    _check_skeleton(skeleton, options, path)
    enlarge = len({name.split(".")[2] for name in found if name.startswith("r2i.outer_blocks.")})
    latent = _side(options.get("rendering_resolution"), _RENDERED)
    try:
        return Config(
            skeleton=skeleton.name,
            published=True,
            alpha=False,
            size=_side(options.get("target_resolution"), latent << min(enlarge, 8)),
            latent=latent,
            features=features,
            base=base,
            extent=_EXTENT[skeleton.name],
            pose_width=width,
        )
    except ConfigError as error:
        raise CheckpointError(f"{path} cannot be a model of {SYSTEM}: {error}") from error


def _side(value: Any, default: int) -> int:
    first = next(iter(value), None) if isinstance(value, (list, tuple)) else value
    return first if type(first) is int else default


def _check_skeleton(skeleton: Skeleton, options: dict[str, Any], path: Path) -> None:
    """Where the file states joints and edges, they are the skeleton's."""
    joints, edges = options.get("joints"), options.get("edges")
    order = {name: number for number, name in enumerate(skeleton.joints)}
    if isinstance(joints, dict) and {str(name): number for name, number in joints.items()} != order:
        raise CheckpointError(f"{path}: its joints are not in the order of '{skeleton.name}'")
    if not isinstance(edges, (list, tuple)):
        return
    if [tuple(edge) for edge in edges if isinstance(edge, Iterable)] != list(skeleton.limbs):
        raise CheckpointError(f"{path}: its edges are not the limbs of '{skeleton.name}'")


def _widths(skeleton: Skeleton, options: dict[str, Any], path: Path) -> Tensor:
    """[M]; the skeleton's where the file has none."""
    stored = options.get("widths")
    if not isinstance(stored, Tensor):
        return torch.tensor(skeleton.widths)
    widths = stored.detach().float().flatten()
    if len(widths) != len(skeleton.limbs) or not bool(((widths > 1e-4) & (widths < 1)).all()):
        raise CheckpointError(f"{path}: 'widths' must be {len(skeleton.limbs)} numbers between 0.1 mm and 1 m")
    return widths
