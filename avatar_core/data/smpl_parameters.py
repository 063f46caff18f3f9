"""SMPL parameters of scans: `0000_smpl.pkl`, as they come for THuman2.0, read without running the pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..body.arrays import BodyFileError
from ..body.pickles import PickledArrays
from .obj import ScanError

_SIZES = {"global_orient": 3, "body_pose": 69, "betas": 10, "transl": 3, "scale": 1}
BETAS = 10  # those that are used of more


@dataclass(frozen=True, eq=False)
class SmplParameters:
    """pose: [24, 3] axis-angle, radians, y up. betas: [10]. transl: [3] and scale: of the scan's own frame,
    scan = scale SMPL + transl."""

    pose: np.ndarray
    betas: np.ndarray
    transl: np.ndarray
    scale: float

    def normalised(self, vertices: np.ndarray) -> np.ndarray:
        """The scan's vertices [V, 3] in SMPL's metres."""
        return ((vertices - self.transl) / self.scale).astype(np.float32)


def read_smpl_parameters(path: Path) -> SmplParameters:
    """Raises ScanError that names the file and the entry."""
    try:
        file = PickledArrays(path)
        missing = sorted(set(_SIZES) - file.names)
        if missing:
            raise ScanError(f"{path} has no '{missing[0]}'; SMPL parameters are {', '.join(_SIZES)}")
        values = {name: file.array(name).astype(np.float64).reshape(-1) for name in _SIZES}
    except BodyFileError as error:
        raise ScanError(str(error)) from error
    for name, size in _SIZES.items():
        found = values[name]
        if len(found) != size and not (name == "betas" and len(found) > size):
            raise ScanError(f"{path}: '{name}' must have {size} numbers, has {len(found)}")
        if not np.isfinite(found).all():
            raise ScanError(f"{path}: '{name}' holds NaN or infinity")
    if values["scale"][0] <= 0:
        raise ScanError(f"{path}: 'scale' must be above 0, is {values['scale'][0]:g}")
    pose = np.concatenate([values["global_orient"], values["body_pose"]]).reshape(24, 3)
    return SmplParameters(
        pose.astype(np.float32),
        values["betas"][:BETAS].astype(np.float32),
        values["transl"],
        float(values["scale"][0]),
    )
