"""Motions that others recorded: SMPL poses as AMASS, AIST++ and EasyMocap store them.

*.npz of AMASS: poses [T, 66 or more], trans [T, 3] metres, z up. *.pkl of AIST++: smpl_poses [T, 72], smpl_trans [T, 3],
which smpl_scaling divides, y up. A folder of EasyMocap's JSON files, one a frame (data/easymocap.py), z up.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .body import Body, BodyFileError
from .body.arrays import npz_names, read_npz
from .body.pickles import PickledArrays
from .controls import Controls
from .data.easymocap import BODY_JOINTS, UPS, Track, read_tracks
from .errors import AvatarError

_MAX_BYTES = 1 << 30  # of a motion, unpacked
_MAX_FRAMES = 1_000_000


def read_motion(path: Path, body: Body, up: str | None = None) -> list[Controls]:
    """The motion for `body`, whose own shape is kept; joints that only one of both has stay at rest. up: the axis of the
    file's world that is up, a key of UPS; None for the format's own. Raises AvatarError."""
    if len(body.joint_names) < BODY_JOINTS:
        raise AvatarError(f"motions are of SMPL's skeleton; this actor has {len(body.joint_names)} joints: use --shot")
    if path.is_dir():
        world = UPS[up or "z"]
        tracks = [track.turned(world) for track in read_tracks(path)]
        return [Track(t.name, t.rotation, t.translation, t.poses, np.zeros(0)).controls(body) for t in tracks]
    try:
        if path.suffix == ".pkl":
            pickled = PickledArrays(path)
            poses, trans = _smooth(path, pickled.array("smpl_poses")), pickled.array("smpl_trans")
            trans = trans / float(pickled.array("smpl_scaling").reshape(-1)[0]) if "smpl_scaling" in pickled.names else trans
            world = UPS[up or "y"]
        else:
            if not path.is_file() or path.suffix != ".npz":
                raise AvatarError(f"{path} is no motion: a .npz of AMASS, a .pkl of AIST++ or a folder of EasyMocap's")
            missing = {"poses", "trans"} - npz_names(path)
            if missing:
                raise AvatarError(f"{path} is no motion of AMASS: it has no '{min(missing)}'")
            arrays = read_npz(path, _MAX_BYTES, {"poses", "trans"})
            poses, trans, world = _smooth(path, arrays["poses"]), arrays["trans"], UPS[up or "z"]
    except (BodyFileError, KeyError) as error:
        raise AvatarError(f"{path} is no motion of AIST++ or AMASS: {error}") from error
    if trans.shape != (len(poses), 3) or not np.isfinite(trans).all():
        raise AvatarError(f"{path}: the translation must be {len(poses)} x 3 finite numbers, has shape {trans.shape}")
    return [_about_pelvis(pose, t, world, body) for pose, t in zip(poses, trans.astype(np.float64))]
