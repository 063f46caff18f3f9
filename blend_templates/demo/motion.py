"""What the actor does in the demo: walks in, stops, waves, and looks around."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from avatar_core.body.joints import SMPL_JOINTS

from ..motions import load_motion

FRAMES = 48
_BLEND = 10  # frames from walk to wave
_SPEED = 0.032  # metres a frame, so that the standing foot stays where it is
_START = -0.85  # metres


def demo_motion(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """pose [frames, 24, 3] axis-angle and transl [frames, 3] metres. The shot lasts FRAMES frames; fewer are its start,
    more go on waving."""
    count = max(frames, FRAMES)
    walk, wave = load_motion("walk"), load_motion("wave")
    half = FRAMES // 2
    share = np.clip((np.arange(count) - (half - _BLEND)) / _BLEND, 0, 1)
    share = share * share * (3 - 2 * share)  # 0 walks, 1 waves
    step = np.arange(count) % len(walk.pose)
    gesture = np.maximum(np.arange(count) - half + _BLEND, 0) % len(wave.pose)
    pose = np.empty((count, 24, 3))
    for frame in range(count):
        pair = np.stack([walk.pose[step[frame]], wave.pose[gesture[frame]]])
        for joint in range(24):
            pose[frame, joint] = Slerp([0, 1], Rotation.from_rotvec(pair[:, joint]))(share[frame]).as_rotvec()
    transl = (1 - share[:, None]) * walk.transl[step] + share[:, None] * wave.transl[gesture]
    transl[:, 2] += _START + np.cumsum(_SPEED * (1 - share))
    turn = np.sin(np.arange(count) / FRAMES * 2 * np.pi)
    for name, degrees in (("neck", 14.0), ("head", 22.0)):
        index = SMPL_JOINTS.index(name)
        look = Rotation.from_rotvec(np.radians(degrees) * turn[:, None] * [[0, 1, 0]])
        pose[:, index] = (look * Rotation.from_rotvec(pose[:, index])).as_rotvec()
    return pose[:frames].astype(np.float32), transl[:frames].astype(np.float32)
