"""Different people in front of the same cameras: the studio's character in other sizes, skins and dyes, with joints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from avatar_core.data.capture import Capture
from avatar_core.data.people.capture import Joints, Recording
from avatar_core.methods.human_view_synthesis.rigs import JointMap
from avatar_core.methods.human_view_synthesis.skeleton import SKELETONS

from .character import Character

SKELETON = "human36m17"
BACKGROUND = (128, 128, 128)
_TALL, _WIDE = (0.88, 1.08), (0.92, 1.1)  # shares of the character's height and breadth
_SKIN, _HAIR, _DYE = (0.4, 1.15), (0.5, 2.6), (0.7, 1.25)  # brightness of skins, hair and cloth, against its own
_OCCLUDER_AT, _OCCLUDER = (1.15, 1.45), (0.05, 0.14)  # metres from the middle; half its sides


@dataclass(frozen=True)
class Occluder:
    """A box that stands in the way, sides along the world's axes. centre, half: [3] metres."""

    centre: np.ndarray
    half: np.ndarray

    def hides(self, eye: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Whether it lies between the eye [3] and points [..., 3]."""
        way = points - eye
        way = np.where(np.abs(way) < 1e-12, 1e-12, way)
        ends = np.stack([(self.centre + sign * self.half - eye) / way for sign in (-1, 1)])
        return ends.min(0).max(-1) < np.minimum(ends.max(0).min(-1), 1)

    def to_dict(self) -> dict[str, Any]:
        return {"centre": self.centre.tolist(), "half": self.half.tolist()}


def make_occluders(count: int, middle: np.ndarray, seed: int) -> list[Occluder]:
    """Around `middle` [3], each somewhere between the cameras and the person."""
    rng = np.random.default_rng((seed, count))
    made = []
    for turn in rng.uniform(0, 2 * np.pi, count):
        half = rng.uniform(*_OCCLUDER, 3) * (1, 2.5, 1)
        away = rng.uniform(*_OCCLUDER_AT) * np.array([np.sin(turn), 0, np.cos(turn)])
        made.append(Occluder(middle + away + (0, rng.uniform(-0.6, 0.6), 0), half))
    return made


def make_person(character: Character, number: int) -> Character:
    """Person 0 is the character; others differ in size and colours, the same ones for a number every time."""
    if number == 0:
        return character
    rng = np.random.default_rng((17, number))
    tall, wide = rng.uniform(*_TALL), rng.uniform(*_WIDE)
    size = np.array([wide, tall, wide], np.float32)
    skin, hair = rng.uniform(*_SKIN), rng.uniform(*_HAIR)
    clothes = []
    for part in character.clothes:
        tint = hair if part.name == "hair" else rng.uniform(*_DYE)
        turned = part.texture if part.name == "hair" else _other_hue(part.texture, rng.uniform(0.6, 5.6))
        texture = (turned * tint).clip(0, 1).astype(np.float32)
        surface = replace(part.surface, vertices=part.surface.vertices * size)
        wrinkles = tuple(replace(wrinkle, offsets=wrinkle.offsets * size) for wrinkle in part.wrinkles)
        clothes.append(replace(part, surface=surface, texture=texture, wrinkles=wrinkles))
    body = replace(
        character.body,
        vertices=character.body.vertices * size,
        shapedirs=character.body.shapedirs * size[:, None],
        expressions=character.body.expressions * size[:, None],
    )
    return Character(body, (character.skin * skin).clip(0, 1).astype(np.float32), tuple(clothes))


def _other_hue(texture: np.ndarray, angle: float) -> np.ndarray:
    """Colours [..., 3] turned about grey."""
    return texture @ Rotation.from_rotvec(np.full(3, angle / 3**0.5)).as_matrix().T.astype(np.float32)


def make_recording(capture: Capture, person: str, split: str, occluders: list[Occluder]) -> Recording:
    """What the cameras of a person's capture know of the joints: none that lie outside of a picture or are hidden."""
    joint_map = JointMap(SKELETONS[SKELETON], capture.body)
    world = np.stack([joint_map.points(frame.controls).numpy() for frame in capture.frames])
    points, confidence = [], []
    for view in capture.cameras:
        pixels, depth = view.camera.project(world.reshape(-1, 3))
        inside = (pixels > 0).all(1) & (pixels < (view.camera.width, view.camera.height)).all(1) & (depth > 0)
        hidden = np.any([box.hides(view.camera.position, world.reshape(-1, 3)) for box in occluders], 0)
        points.append(pixels.reshape(*world.shape[:2], 2))
        confidence.append((inside & ~hidden).reshape(world.shape[:2]))
    joints = Joints(
        frames=np.array([frame.index for frame in capture.frames], np.int32),
        test=np.array([frame.split == "test" for frame in capture.frames]),
        world=world.astype(np.float32),
        world_confidence=np.ones(world.shape[:2], np.float32),
        points=np.stack(points).astype(np.float32),
        confidence=np.stack(confidence).astype(np.float32),
        seen=np.ones((len(capture.cameras), len(capture.frames)), bool),
    )
    return Recording(capture.folder, capture.folder.name, person, split, capture.cameras, joints)
