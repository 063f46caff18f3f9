"""Which poses a capture shows: frames of several clips, varied so that no two share a heading or a gaze."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from avatar_core.body import Body
from avatar_core.body.kinematics import relative_transforms
from avatar_core.cuda.skin import skin_points
from blend_templates.motions import load_motion

TEST_EVERY = 6  # one frame in so many is held out
_GOLDEN = 0.6180339887  # share of a turn between the headings of successive frames
_JITTER = {  # degrees of random turn per axis, by the joint's name without its side
    "hip": 5.0,
    "knee": 4.0,
    "ankle": 5.0,
    "spine1": 2.0,
    "spine2": 2.0,
    "spine3": 2.0,
    "collar": 2.0,
    "shoulder": 6.0,
    "elbow": 6.0,
    "wrist": 10.0,
    "hand": 8.0,
}
MIDDLE = 0.85  # metres: height at which every pose has its middle
_POINTS = 1900  # vertices that stand for all where only the extent of a pose matters
_LOOK = (12.0, 22.0, 7.0)  # degrees: largest nod, turn and tilt of the neck, and again of the head


@dataclass(frozen=True)
class Poses:
    """What the body does in every frame."""

    pose: np.ndarray  # [T, J, 3] axis-angle, radians
    transl: np.ndarray  # [T, 3] metres, world
    test: np.ndarray  # [T] bool: held out of training


def sample_poses(body: Body, clips: tuple[str, ...], count: int, seed: int) -> Poses:
    """`count` frames, shared evenly among the clips. Raises BodyFileError for an unknown clip."""
    rng = np.random.default_rng(seed)
    shares = [len(part) for part in np.array_split(np.arange(count), len(clips))]
    poses, places = [], []
    for clip, share in zip(clips, shares):
        motion = load_motion(clip)
        phase = (np.arange(share) + rng.uniform(0.2, 0.8, share)) / max(share, 1)
        time = (phase * len(motion.pose)).astype(int)
        poses.append(motion.pose[time])
        places.append(motion.transl[time])
    pose, transl = np.concatenate(poses).astype(np.float64), np.concatenate(places)
    for index, joint in enumerate(body.joint_names):
        spread = np.radians(_JITTER.get(joint.removeprefix("left_").removeprefix("right_"), 0.0))
        pose[:, index] += rng.normal(0, 1, (count, 3)).clip(-2, 2) * spread
        if joint in ("neck", "head"):
            angles = rng.uniform(-1, 1, (count, 3)) * np.radians(_LOOK)
            turn = Rotation.from_euler("YXZ", angles[:, [1, 0, 2]])
            pose[:, index] = (turn * Rotation.from_rotvec(pose[:, index])).as_rotvec()
    angles = np.arange(count) * _GOLDEN % 1 * 2 * np.pi
    heading = Rotation.from_rotvec(angles[:, None] * np.array([[0, 1, 0]]))
    pose[:, 0] = (heading * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    return Poses(pose.astype(np.float32), transl.astype(np.float32), held_out(count))


def held_out(count: int) -> np.ndarray:
    """[count] bool: which frames are for testing; at least one where there are two."""
    test = np.arange(count) % TEST_EVERY == TEST_EVERY - 1
    if count > 1 and not test.any():
        test[-1] = True
    return test


def posed_points(body: Body, poses: Poses) -> np.ndarray:
    """[T, N, 3] metres, world: some of the vertices in all frames."""
    thinned = slice(None, None, max(1, len(body.vertices) // _POINTS))
    rest, weights = torch.from_numpy(body.vertices[thinned]), torch.from_numpy(body.weights[thinned])
    joints, pose = torch.from_numpy(body.joints()), torch.from_numpy(poses.pose)
    transforms = relative_transforms(pose, joints, body.parents, torch.from_numpy(poses.transl))
    return skin_points(rest, weights, transforms).numpy()


def centred(body: Body, poses: Poses) -> Poses:
    """The same poses, each raised or lowered to have its middle at one height: then a camera that sees the
    tallest one is close to all of them. There is no floor in the pictures."""
    height = posed_points(body, poses)[:, :, 1]
    transl = poses.transl.copy()
    transl[:, 1] += MIDDLE - (height.max(1) + height.min(1)) / 2
    return replace(poses, transl=transl)
