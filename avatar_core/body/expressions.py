"""The 46 expressions of FaceWarehouse (Cao et al. 2014) that drive a head, and how ARKit's 52 map onto them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

EXPRESSIONS = (
    *("eyeBlinkLeft", "eyeBlinkRight", "eyeSquintLeft", "eyeSquintRight", "eyeLookDownLeft", "eyeLookDownRight"),
    *("eyeLookInLeft", "eyeLookInRight", "eyeWideLeft", "eyeWideRight", "eyeLookOutLeft", "eyeLookOutRight"),
    *("eyeLookUpLeft", "eyeLookUpRight", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft"),
    *("browOuterUpRight", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthLeft", "mouthRight"),
    *("mouthFrownLeft", "mouthFrownRight", "mouthSmileLeft", "mouthSmileRight", "mouthPressLeft", "mouthPressRight"),
    *("mouthStretchLeft", "mouthStretchRight", "mouthRollUpper", "mouthRollLower", "mouthUpperUp", "mouthLowerDown"),
    *("lipLowerDown", "mouthFunnel", "mouthPucker", "mouthShrug", "lipUpperUp", "noseSneer", "cheekPuff"),
    *("cheekSquintLeft", "cheekSquintRight"),
)
"""In the order of a dataset's `exp_ori`. Where FaceWarehouse and ARKit mean the same, the name is ARKit's."""

MERGED = {
    "mouthUpperUp": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "mouthLowerDown": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "mouthShrug": ("mouthShrugUpper", "mouthShrugLower"),
    "noseSneer": ("noseSneerLeft", "noseSneerRight"),
}
SHAPE_KEYS: dict[str, tuple[str, ...]] = {name: MERGED.get(name, (name,)) for name in EXPRESSIONS}
"""The ARKit shape keys whose mean an expression is; lipLowerDown and lipUpperUp have none of that name."""


def from_shape_keys(
    values: Mapping[str, float], names: tuple[str, ...], table: Mapping[str, tuple[str, ...]] = SHAPE_KEYS
) -> np.ndarray:
    """Coefficients [len(names)] float32 from ARKit's values by name; shape keys that are not given count as 0."""
    keys = [table.get(name, (name,)) for name in names]
    return np.array([np.mean([values.get(key, 0.0) for key in group]) for group in keys], np.float32)
