"""Joint names and trees of the SMPL family, in the order of their files."""

from __future__ import annotations

_BODY = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle"),
    *("right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
)
_BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
_FINGERS = tuple(
    f"{side}_{finger}{k}"
    for side in ("left", "right")
    for finger in ("index", "middle", "pinky", "ring", "thumb")
    for k in (1, 2, 3)
)


def _finger_parents(first: int) -> tuple[int, ...]:
    """Five chains of three on each wrist (joints 20 and 21); `first` is the index of left_index1."""
    return tuple(20 + n // 15 if n % 3 == 0 else first + n - 1 for n in range(30))


SMPL_JOINTS = (*_BODY, "left_hand", "right_hand")
SMPL_PARENTS = (*_BODY_PARENTS, 20, 21)
SMPLH_JOINTS = (*_BODY, *_FINGERS)
SMPLX_JOINTS = (*_BODY, "jaw", "left_eye", "right_eye", *_FINGERS)
SMPLX_PARENTS = (*_BODY_PARENTS, 15, 15, 15, *_finger_parents(25))
FLAME_JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")

FAMILIES: dict[int, tuple[str, tuple[str, ...]]] = {
    len(names): (family, names)
    for family, names in (
        ("smpl", SMPL_JOINTS),
        ("smplh", SMPLH_JOINTS),
        ("smplx", SMPLX_JOINTS),
        ("flame", FLAME_JOINTS),
    )
}  # a file's family is told by its number of joints
