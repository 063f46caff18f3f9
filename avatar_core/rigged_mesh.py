"""A person as an ordinary mesh with bones and shape keys, which any program that skins linearly can deform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RiggedMesh:
    """Metres, y up; all float32 but for `faces`. Deformed as

        v = sum_j weights_j A_j (vertices + shapedirs betas + relief),

    with A_j the transforms that take bones from the rest of this rig, which need not be the body's own, to the pose.

    vertices: [V, 3] at betas 0, as the rest of the rig has them. faces: [F, 3] int32. weights: [V, J], rows sum to 1.
    shapedirs: [V, 3, B]. joints: [J, 3] at rest. rest: [J, 3, 3] how far bones are turned at rest against the body's
    own rest pose. joint_shapedirs: [J, 3, B]. normals: [V, 3] unit, at rest; relief: [V, 3] displacements that give the
    mesh these normals. Both are empty where nothing finer than the mesh was learnt. colours: [V, 3] display sRGB in
    [0, 1], empty where none were learnt.
    """

    vertices: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    shapedirs: np.ndarray
    joints: np.ndarray
    rest: np.ndarray
    joint_shapedirs: np.ndarray
    normals: np.ndarray
    relief: np.ndarray
    colours: np.ndarray
