"""Motions that others recorded: SMPL poses as AMASS, AIST++ and EasyMocap store them.

*.npz of AMASS: poses [T, 66 or more], trans [T, 3] metres, z up. *.pkl of AIST++: smpl_poses [T, 72], smpl_trans
[T, 3], which smpl_scaling divides, y up. A folder of *.npz, one a frame by name, as gDNA's demo has them: pose [72], in
place, y up. A folder of EasyMocap's JSON files, one a frame (data/easymocap.py), z up.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from .body import Body, BodyFileError
from .body.arrays import read_npz
from .body.pickles import PickledArrays
from .controls import Controls
from .data.easymocap import BODY_JOINTS, UPS, Track, read_tracks
from .errors import AvatarError

_MAX_BYTES = 1 << 30  # of a motion, unpacked
_MAX_POSE_BYTES = 1 << 20  # of a file with one frame
_MAX_FRAMES = 1_000_000
_MAX_RATE = 1000.0
_AIST_RATE = 60.0
_AMASS_RATES = ("mocap_framerate", "mocap_frame_rate")  # SMPL-H's files, SMPL-X's


def read_motion(path: Path, body: Body, up: str | None = None, betas: np.ndarray | None = None) -> list[Controls]:
    """The motion for `body` of the shape `betas` [B] (None: its mean), not of the one recorded; joints that only one of
    both has stay at rest. up: the axis of the file's world that is up, a key of UPS; None for the format's own. Raises
    AvatarError."""
    if len(body.joint_names) < BODY_JOINTS:
        raise AvatarError(f"motions are of SMPL's skeleton; this actor has {len(body.joint_names)} joints: use --shot")
    if path.is_dir():
        poses = sorted(path.glob("*.npz"))
        tracks, usual = (_poses(path, poses), "y") if poses else (read_tracks(path), "z")
    elif path.suffix == ".pkl":
        tracks, usual = _aist(path), "y"
    elif path.suffix == ".npz":
        tracks, usual = _amass(path), "z"
    else:
        raise AvatarError(
            f"{path} is no motion: give a .npz of AMASS, a .pkl of AIST++, a folder of EasyMocap's or of gDNA's"
        )
    world = UPS[up or usual]
    shapes = np.zeros(0) if betas is None else betas
    return [replace(track.turned(world), shapes=shapes).controls(body) for track in tracks]


def frame_rate(path: Path) -> float | None:
    """Frames a second, where the file says so (AMASS) or its format does (AIST++). Raises AvatarError."""
    if path.suffix == ".pkl":
        return _AIST_RATE
    if path.suffix != ".npz":
        return None
    said = read_npz(path, _MAX_BYTES, set(_AMASS_RATES))
    rates = [float(rate.reshape(-1)[0]) for rate in said.values() if rate.size and rate.dtype.kind in "iuf"]
    return rates[0] if rates and 0 < rates[0] <= _MAX_RATE else None


def _amass(path: Path) -> list[Track]:
    try:
        arrays = read_npz(path, _MAX_BYTES, {"poses", "trans"})
        return _tracks(path, arrays["poses"], arrays["trans"])
    except BodyFileError as error:
        raise AvatarError(f"{error}: choose another, or fetch it again") from error
    except KeyError as error:
        raise AvatarError(f"{path} is no motion of AMASS: it has no {error}; choose another") from error


def _poses(folder: Path, files: list[Path]) -> list[Track]:
    poses = []
    for file in files[: _MAX_FRAMES + 1]:
        try:
            poses.append(read_npz(file, _MAX_POSE_BYTES, {"pose"})["pose"].reshape(-1))
        except (BodyFileError, KeyError) as error:
            raise AvatarError(f"{file} holds no 'pose' of one frame: {error}") from error
    sizes = {len(pose) for pose in poses}
    if len(sizes) > 1:
        raise AvatarError(f"{folder}: poses must be of one length, found {', '.join(map(str, sorted(sizes)))} numbers")
    return _tracks(folder, np.stack(poses), np.zeros((len(poses), 3)))


def _aist(path: Path) -> list[Track]:
    try:
        pickled = PickledArrays(path)
        scale = pickled.array("smpl_scaling").reshape(-1)[:1] if "smpl_scaling" in pickled.names else np.ones(1)
        return _tracks(path, pickled.array("smpl_poses"), pickled.array("smpl_trans") / scale)
    except (BodyFileError, KeyError) as error:
        raise AvatarError(f"{path} is no motion of AIST++, or damaged: choose another or fetch it again") from error


def _tracks(path: Path, poses: np.ndarray, trans: np.ndarray) -> list[Track]:
    """poses: [T, 3 N] of which the first is the root's turn about the pelvis."""
    right = poses.ndim == 2 and poses.shape[1] % 3 == 0 and poses.shape[1] >= 3 * BODY_JOINTS
    if not right or trans.shape != (len(poses), 3) or not 0 < len(poses) <= _MAX_FRAMES:
        raise AvatarError(
            f"{path}: it needs poses T x 66 or more and places T x 3, has {poses.shape} and {trans.shape}"
        )
    if not (np.isfinite(poses).all() and np.isfinite(trans).all()):
        raise AvatarError(f"{path} has numbers that are not finite")
    angles, still = poses.astype(np.float64).reshape(len(poses), -1, 3), np.eye(3)
    places = trans.astype(np.float64)
    return [Track(str(i), still, place, pose, np.zeros(0)) for i, (pose, place) in enumerate(zip(angles, places))]
