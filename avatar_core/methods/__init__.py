"""The methods, one folder each. A sixth method is one folder and one line here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import AvatarError

METHODS = {
    "neural_actor": "avatar_core.methods.neural_actor",
    "neural_actor_paper": "avatar_core.methods.neural_actor.paper",
    "nerf_blendshape": "avatar_core.methods.nerf_blendshape.fast",
    "nerf_blendshape_paper": "avatar_core.methods.nerf_blendshape.paper",
    "gdna": "avatar_core.methods.gdna",
    "npva": "avatar_core.methods.npva",
    "human_view_synthesis": "avatar_core.methods.human_view_synthesis",
}


def load_method(name: str) -> Any:
    """The module of a method: it has `Config` (frozen dataclass) and `Model` (see base.Model)."""
    if name not in METHODS:
        raise AvatarError(f"unknown method '{name}'; this version has {', '.join(METHODS)}")
    return import_module(METHODS[name])
