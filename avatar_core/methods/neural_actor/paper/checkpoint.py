"""Released checkpoints: `nerf_*.pt`, a fairseq 0.9 file with the options, the model and optimiser states.

Read by torch's restricted unpickler, with `argparse.Namespace` as the only class that it may make.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ....data.neural_actor import ActorMesh
from ...checkpoint import CheckpointError, load

_PREFIXES = {
    "encoder.texture_encoder.model.": "encoder.",
    **{f"encoder.merge_joint_field.net.{i}.net.0.": f"field.local.{i}." for i in range(4)},
    "encoder.skinning_deform.net.0.net.0.": "field.deform_in.",
    "encoder.skinning_deform.net.1.": "field.deform_out.",
    **{f"field.feature_field.net.{i}.net.0.": f"field.trunk.{i}." for i in range(8)},
    "field.predictor.hidden_layer.net.0.": "field.density_in.",
    "field.predictor.output_layer.": "field.density_out.",
    "field.renderer.net.0.net.0.": "field.colour_in.",
    **{f"field.renderer.net.{i + 1}.net.0.": f"field.colour.{i}." for i in range(3)},
    "field.renderer.net.4.": "field.colour_out.",
}  # how names begin in published files, and in our renderer
_UNUSED = re.compile(
    r"encoder\.texture_encoder\.model\.(layer4|fc)\.|encoder\.texture_mask$|.*\.emb$|field\.bg_color\.|field_fine\."
)
_BODY = ("encoder.vertices", "encoder.faces", "encoder.face_uv", "encoder.weights")


@dataclass(frozen=True)
class Checkpoint:
    """mesh: the actor's own body. state: parameters of our renderer by name. options: the flags it was trained with."""

    mesh: ActorMesh
    state: dict[str, Tensor]
    options: dict[str, Any]


def read(path: Path) -> Checkpoint:
    """Raises CheckpointError."""
    data = load(path, "Neural Actor", [argparse.Namespace])
    model, options = data.get("model"), data.get("args")
    if not isinstance(model, dict):
        raise CheckpointError(f"{path} has no 'model'; it is no Neural Actor checkpoint")
    named = {str(name): tensor for name, tensor in model.items()}
    return Checkpoint(_mesh(path, named), rename(named, path), {} if options is None else vars(options))


def rename(published: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Parameters by our names. A fine network, where there is one, is the one that renders. Raises CheckpointError."""
    fine = {"field." + name.removeprefix("field_fine."): t for name, t in published.items() if "field_fine." in name}
    state = {}
    for name, tensor in (published | fine).items():
        if name in _BODY or _UNUSED.match(name):
            continue
        prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None)
        if prefix is None:
            raise CheckpointError(f"{path}: '{name}' is a tensor that Neural Actor's renderer does not have")
        state[_PREFIXES[prefix] + name.removeprefix(prefix)] = tensor
    return state


def publish(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of `rename`: our parameters by their published names."""
    back = {ours: published for published, ours in _PREFIXES.items()}
    prefixes = {name: next(ours for ours in back if name.startswith(ours)) for name in state}
    return {back[prefix] + name.removeprefix(prefix): state[name] for name, prefix in prefixes.items()}


def _mesh(path: Path, published: dict[str, Tensor]) -> ActorMesh:
    missing = [name for name in _BODY if name not in published]
    if missing:
        raise CheckpointError(f"{path} has no '{missing[0]}'; it holds no renderer of Neural Actor")
    vertices, faces, face_uv, weights = (published[name] for name in _BODY)
    count = len(vertices)
    right = vertices.shape == (count, 3) and faces.dim() == 2 and faces.shape[1] == 3 and len(weights) == count
    if not right or face_uv.shape != (len(faces), 3, 2) or int(faces.min()) < 0 or int(faces.max()) >= count:
        raise CheckpointError(f"{path}: vertices, faces, face_uv and weights do not make one body")
    return ActorMesh(vertices.numpy(), faces.long().numpy(), face_uv.numpy(), weights.numpy())
