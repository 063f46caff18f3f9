"""The two skeletons that models are published for: joints, limbs, and how wide limbs are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Skeleton:
    """limbs: pairs of joints. widths: standard deviations across the limbs, metres. background: display sRGB that
    published models draw around a person. parts: first joint and the one after the last, by name."""

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    widths: tuple[float, ...]
    root: int
    background: tuple[float, float, float]
    parts: dict[str, tuple[int, int]]

    def index(self, joint: str) -> int:
        return self.joints.index(joint)

    @property
    def limb_names(self) -> tuple[str, ...]:
        return tuple(f"{self.joints[a]}-{self.joints[b]}" for a, b in self.limbs)


_FINGER_JOINTS = {
    "Thumb": ("1CMC", "2Knuckles", "3IP", "4FingerTip"),
    **{name: ("1Knuckles", "2PIP", "3DIP", "4FingerTip") for name in ("Index", "Middle", "Ring", "Pinky")},
}
_BODY = (
    *("Nose", "LEye", "REye", "LEar", "REar", "LShoulder", "RShoulder", "LElbow", "RElbow", "LWrist", "RWrist"),
    *("LHip", "RHip", "LKnee", "RKnee", "LAnkle", "RAnkle", "Sternum", "Head"),
)
_HANDS = tuple(f"{side}{finger}{joint}" for side in "LR" for finger, names in _FINGER_JOINTS.items() for joint in names)
_FACE = (
    *(f"FaceContour{i}" for i in range(5, 12)),
    *(f"REyeBrow{i}" for i in range(5)),
    *(f"LEyeBrow{i}" for i in reversed(range(5))),
    *(f"NoseUpper{i}" for i in range(4)),
    *(f"NoseLower{i}" for i in range(5)),
    *(f"REye{i}" for i in range(6)),
    *(f"LEye{i}" for i in range(6)),
    *(f"OMouth{i}" for i in range(12)),
    *(f"IMouth{i}" for i in range(8)),
)  # iBUG's 68 without the upper ends of the contour


def _chain(first: int, count: int, closed: bool = False) -> tuple[tuple[int, int], ...]:
    pairs = tuple((i, i + 1) for i in range(first, first + count - 1))
    return (*pairs, (first + count - 1, first)) if closed else pairs


def _hand(wrist: int, first: int) -> tuple[tuple[int, int], ...]:
    return tuple(pair for i in range(first, first + 20, 4) for pair in ((wrist, i), *_chain(i, 4)))


_BODY_LIMBS = (
    *((18, 17), (17, 5), (17, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
    *((17, 11), (17, 12), (11, 13), (12, 14), (13, 15), (14, 16), (11, 12)),
)
_BODY_WIDTHS = (0.01, *(0.04,) * 4, *(0.035,) * 2, *(0.075,) * 4, *(0.05,) * 2, 0.045)
_JAW = (*_chain(59, 7), (4, 59), (3, 65))
_BROWS = (*_chain(66, 5), *_chain(71, 5))
_NOSE = (*_chain(76, 4), *_chain(80, 5))
_EYES_MOUTH = (*_chain(85, 6, True), *_chain(91, 6, True), *_chain(97, 12), *_chain(109, 8, True))

PANOPTIC = Skeleton(
    name="panoptic117",
    joints=(*_BODY, *_HANDS, *_FACE),
    limbs=(*_BODY_LIMBS, *_hand(9, 19), *_hand(10, 39), *_JAW, *_BROWS, *_NOSE, *_EYES_MOUTH),
    widths=(
        *_BODY_WIDTHS,
        *(0.01,) * (40 + len(_JAW)),
        *(0.0075,) * len(_BROWS),
        *(0.01,) * len(_NOSE),
        *(0.0075,) * len(_EYES_MOUTH),
    ),
    root=17,
    background=(126 / 255, 130 / 255, 108 / 255),
    parts={"body": (0, 19), "left_hand": (19, 39), "right_hand": (39, 59), "face": (59, 117)},
)
HUMAN36M = Skeleton(
    name="human36m17",
    joints=(
        *("HipCenter", "RHip", "RKnee", "RFoot", "LHip", "LKnee", "LFoot", "Spine", "Thorax", "Neck/Nose", "Head"),
        *("LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist"),
    ),
    limbs=(
        *((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8)),
        *((8, 9), (9, 10), (8, 11), (11, 12), (12, 13), (8, 14), (14, 15), (15, 16)),
    ),
    widths=(0.045, 0.075, 0.05, 0.045, 0.075, 0.05, 0.05, 0.05, 0.02, 0.02, 0.04, 0.04, 0.035, 0.04, 0.04, 0.035),
    root=0,
    background=(244 / 255, 191 / 255, 175 / 255),
    parts={"body": (0, 17)},
)
SKELETONS = {skeleton.name: skeleton for skeleton in (PANOPTIC, HUMAN36M)}
