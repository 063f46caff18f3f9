"""Samples of T-posed people, and the shape space that explains them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatar_core.body.joints import SMPLX_JOINTS

from .parts import HELPERS, PARTS
from .phenotype import Phenotypes, Traits, random_traits
from .skeleton import DefaultRig, joint_cubes
from .source import Source
from .unpose import unpose

_PELVIS = np.array([0, -0.235, 0.02])  # metres: where every pelvis is put
_OWNERS = {
    "left_foot": "foot.L",
    "right_foot": "foot.R",
    "pelvis": "root",
}  # cubes that start no bone of theirs
BETAS = 10
TRAIT_NAMES = ("gender", "age", "muscle", "weight", "height", "proportions", "cup", "firm")


@dataclass(frozen=True)
class People:
    """S people; row 0 is the average of all traits and takes no part in the statistics."""

    traits: list[Traits]
    body: np.ndarray  # [S, V, 3] float32, metres, T-pose
    helpers: np.ndarray  # [S, H, 3] float32
    joints: np.ndarray  # [S, 55, 3]


@dataclass(frozen=True)
class ShapeSpace:
    """Principal directions of unit variance: person = template + betas . shapedirs."""

    template: np.ndarray  # [V, 3] float32
    shapedirs: np.ndarray  # [B, V, 3] float32
    helper_template: np.ndarray  # [H, 3]
    helper_shapedirs: np.ndarray  # [B, H, 3]
    named: np.ndarray  # [11, B]: from traits (centred), two races (centred) and 1 to betas


def sample_people(source: Source, rig: DefaultRig, count: int = 400, seed: int = 7) -> People:
    """People of random traits, all unposed with their own joints."""
    rng = np.random.default_rng(seed)
    traits = [Traits(), *(random_traits(rng) for _ in range(count))]
    phenotypes, mesh = Phenotypes(source), source.mesh
    cube_vertices = {n.removeprefix("joint-"): mesh.group(n) for n in mesh.quads if n.startswith("joint-")}
    body, helpers = (np.concatenate([mesh.group(name) for name in names]) for names in (PARTS, HELPERS))
    weights = np.concatenate([rig.weights[body], rig.weights[helpers], _joint_weights(rig)])
    bodies, hulls, joints = [], [], []
    for person in traits:
        vertices = phenotypes.vertices(person)
        cubes = {name: vertices[index].mean(0) for name, index in cube_vertices.items()}
        centres = np.array([cubes[joint_cubes()[joint]] for joint in SMPLX_JOINTS])
        points = np.concatenate([vertices[body], vertices[helpers], centres])
        posed = unpose(rig, rig.heads(vertices, cubes), cubes, points, weights)
        posed -= posed[-len(SMPLX_JOINTS)] - _PELVIS
        bodies.append(posed[: len(body)].astype(np.float32))
        hulls.append(posed[len(body) : -len(SMPLX_JOINTS)].astype(np.float32))
        joints.append(posed[-len(SMPLX_JOINTS) :])
    return People(traits, np.stack(bodies), np.stack(hulls), np.stack(joints))


def shape_space(people: People) -> ShapeSpace:
    """Principal components, signed so that more is taller."""
    flat = people.body[1:].reshape(len(people.body) - 1, -1)
    mean = flat.mean(0)
    left, scale, right = np.linalg.svd(flat - mean, full_matrices=False)
    freedom = np.sqrt(len(flat) - 1)
    template = mean.reshape(-1, 3)
    directions = (right[:BETAS] * (scale[:BETAS] / freedom)[:, None]).reshape(BETAS, -1, 3)
    betas = left[:, :BETAS] * freedom  # [S - 1, B]
    top, bottom = template[:, 1].argmax(), template[:, 1].argmin()
    sign = np.where(directions[:, top, 1] < directions[:, bottom, 1], -1, 1).astype(np.float32)
    directions, betas = directions * sign[:, None, None], betas * sign
    hulls = people.helpers[1:]
    hull = hulls.mean(0)
    hull_directions = np.einsum("sk,svc->kvc", betas, hulls - hull) / (len(hulls) - 1)
    rows = [
        [getattr(t, name) - 0.5 for name in TRAIT_NAMES] + [r - 1 / 3 for r in t.race[:2]] + [1]
        for t in people.traits[1:]
    ]
    named = np.linalg.lstsq(np.array(rows), betas, rcond=None)[0]
    return ShapeSpace(template, directions, hull, hull_directions, named)


def _joint_weights(rig: DefaultRig) -> np.ndarray:
    """[55, bones]: each joint centre moves with the bone that starts there."""
    cubes = joint_cubes()
    weights = np.zeros((len(SMPLX_JOINTS), len(rig.names)))
    for i, joint in enumerate(SMPLX_JOINTS):
        bone = _OWNERS.get(joint) or rig.owner(cubes[joint])
        assert bone is not None, joint
        weights[i, rig.index[bone]] = 1
    return weights
