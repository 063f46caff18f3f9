"""SMPL-X's 55 joints on the MakeHuman mesh: where they are, and which of its bones' weights they take."""

from __future__ import annotations

from typing import Any

import numpy as np

from avatar_core.body.joints import SMPLX_JOINTS

from .source import Source

_FINGERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
_SIDES = (("left", "l"), ("right", "r"))
_TORSO_CUBES = {
    "pelvis": "pelvis",
    "spine1": "spine-4",
    "spine2": "spine-3",
    "spine3": "spine-2",
    "neck": "neck",
    "head": "head",
    "jaw": "mouth",
}
_LIMB_CUBES = {
    "hip": "upper-leg",
    "knee": "knee",
    "ankle": "ankle",
    "foot": "foot-1",
    "collar": "clavicle",
    "shoulder": "shoulder",
    "elbow": "elbow",
    "wrist": "hand",
    "eye": "eye",
}
_GAME_TORSO = {
    "Root": "pelvis",
    "pelvis": "pelvis",
    "spine_01": "spine1",
    "spine_02": "spine2",
    "spine_03": "spine3",
    "neck_01": "neck",
    "head": "head",
}
_GAME_LIMBS = {
    "thigh": "hip",
    "calf": "knee",
    "foot": "ankle",
    "ball": "foot",
    "clavicle": "collar",
    "upperarm": "shoulder",
    "lowerarm": "elbow",
    "hand": "wrist",
}
_DEFAULT_TORSO = {
    "root": "pelvis",
    "pelvis": "pelvis",
    "spine05": "pelvis",
    "spine04": "spine1",
    "spine03": "spine2",
    "spine02": "spine3",
    "spine01": "spine3",
    "breast": "spine3",
    "neck01": "neck",
    "neck02": "neck",
    "neck03": "neck",
    "head": "head",
    "jaw": "head",
}
_DEFAULT_LIMBS = {
    "clavicle": "collar",
    "shoulder01": "collar",
    "upperarm01": "shoulder",
    "upperarm02": "shoulder",
    "lowerarm01": "elbow",
    "lowerarm02": "elbow",
    "wrist": "wrist",
    "upperleg01": "hip",
    "upperleg02": "hip",
    "lowerleg01": "knee",
    "lowerleg02": "knee",
    "foot": "ankle",
}


def joint_cubes() -> dict[str, str]:
    """SMPL-X joint -> the base mesh's joint cube whose centre it is."""
    cubes = dict(_TORSO_CUBES)
    for side, s in _SIDES:
        cubes.update({f"{side}_{joint}": f"{s}-{cube}" for joint, cube in _LIMB_CUBES.items()})
        for finger, number in _FINGERS.items():
            cubes.update({f"{side}_{finger}{k}": f"{s}-finger-{number}-{k}" for k in (1, 2, 3)})
    return cubes


class DefaultRig:
    """MakeHuman's 163-bone rig: bones parents first, with dense weights."""

    def __init__(self, source: Source) -> None:
        rig = source.rig("rig.default")
        self.bones: dict[str, Any] = rig.get("bones", rig)
        self.names = self._parents_first()
        self.index = {name: i for i, name in enumerate(self.names)}
        self.parents = np.array([self.index.get(self.bones[name]["parent"], -1) for name in self.names])
        self.weights = np.zeros((len(source.mesh.vertices), len(self.names)))  # [V, bones]
        for name, entries in source.rig("weights.default")["weights"].items():
            if name in self.index:
                for vertex, weight in entries:
                    self.weights[vertex, self.index[name]] += weight
        self.weights /= np.maximum(self.weights.sum(1, keepdims=True), 1e-9)

    def heads(self, vertices: np.ndarray, cubes: dict[str, np.ndarray]) -> np.ndarray:
        """[bones, 3] where the bones of a person start."""
        heads = []
        for name in self.names:
            head = self.bones[name]["head"]
            if head["strategy"] == "CUBE":
                heads.append(cubes[head["cube_name"].removeprefix("joint-")])
            elif head["strategy"] == "VERTEX":
                heads.append(vertices[head["vertex_index"]])
            else:
                heads.append(vertices[head["vertex_indices"]].mean(0))
        return np.array(heads)

    def owner(self, cube: str) -> str | None:
        """The first bone that starts at a joint cube."""
        for name, bone in self.bones.items():
            if bone["head"].get("cube_name") == f"joint-{cube}" and bone["head"]["strategy"] == "CUBE":
                return name
        return None

    def below(self, ancestor: str) -> np.ndarray:
        """[bones] True for a bone and all that hang on it."""
        inside = np.zeros(len(self.names), bool)
        for i, name in enumerate(self.names):
            inside[i] = name == ancestor or (self.parents[i] >= 0 and inside[self.parents[i]])
        return inside

    def _parents_first(self) -> list[str]:
        names: list[str] = []

        def visit(name: str) -> None:
            names.append(name)
            for child, bone in self.bones.items():
                if bone["parent"] == name:
                    visit(child)

        visit(next(name for name, bone in self.bones.items() if not bone["parent"]))
        return names


def game_weights(source: Source) -> np.ndarray:
    """[V, 55] from the game engine rig, which has one bone for each SMPL joint."""
    joint_of = dict(_GAME_TORSO)
    for side, s in _SIDES:
        joint_of.update({f"{bone}_{s}": f"{side}_{joint}" for bone, joint in _GAME_LIMBS.items()})
        joint_of.update({f"{f}_0{k}_{s}": f"{side}_{f}{k}" for f in _FINGERS for k in (1, 2, 3)})
    weights = np.zeros((len(source.mesh.vertices), len(SMPLX_JOINTS)))
    for bone, entries in source.rig("weights.game_engine")["weights"].items():
        joint = SMPLX_JOINTS.index(joint_of[bone])
        for vertex, weight in entries:
            weights[vertex, joint] += weight
    return weights


def default_weights(rig: DefaultRig) -> np.ndarray:
    """[V, 55] from the default rig: a bone without a joint of its own gives its weight to the next one
    above."""
    weights = np.zeros((len(rig.weights), len(SMPLX_JOINTS)))
    for i in range(len(rig.names)):
        bone, joint = i, _joint_of_default_bone(rig.names[i])
        while joint is None:
            bone = int(rig.parents[bone])
            joint = _joint_of_default_bone(rig.names[bone])
        weights[:, SMPLX_JOINTS.index(joint)] += rig.weights[:, i]
    return weights


def _joint_of_default_bone(name: str) -> str | None:
    stem, _, letter = name.partition(".")
    side = {"L": "left", "R": "right"}.get(letter, "")
    if stem.startswith("toe"):
        return f"{side}_foot"
    if stem.startswith("finger") and stem != "finger":
        finger = next(f for f, number in _FINGERS.items() if number == int(stem[6]))
        return f"{side}_{finger}{stem[8]}"
    if stem in _DEFAULT_LIMBS:
        return f"{side}_{_DEFAULT_LIMBS[stem]}"
    return _DEFAULT_TORSO.get(stem)
