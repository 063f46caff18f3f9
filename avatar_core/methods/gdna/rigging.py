"""A person as a rigged mesh: what is skinned are canonical vertices, so that the rig rests in the star pose.

Betas act through x = x' - displacement(x, betas), which is not quite linear. The shape keys are secants over two
standard deviations to either side, and the mesh is shifted so that it is exact at the betas that it was made for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import cg
from torch import Tensor

from ...rigged_mesh import RiggedMesh
from .body import BETAS, SmplBody
from .field import Person
from .posing import PersonMesh, fuse, vertex_normals

_SPAN = 2.0  # betas to either side of a secant
_ITERATIONS = 2  # of its ends; what they miss is far less than what bends between them
_FOLD = 0.03  # metres: what bends wider than this is left to the mesh
_DEEPEST = 0.02  # metres of relief


def rig(
    person: Person,
    mesh: PersonMesh,
    shaped: Tensor,
    normals: Tensor | None,
    colours: Tensor | None,
    body: SmplBody,
) -> RiggedMesh:
    """shaped: [V, 3] `mesh` with the person's betas. normals: [V, 3] learnt, canonical, not of unit length. colours:
    [V, 3] display sRGB."""
    directions, units = [], torch.eye(BETAS).to(shaped)
    for unit in _SPAN * units:
        ends = [mesh.shaped(replace(person, betas=betas), _ITERATIONS) for betas in (unit, -unit)]
        directions.append((ends[0] - ends[1]) / (2 * _SPAN))
    shapedirs = torch.stack(directions, 2)
    rest = body.canonical(torch.zeros_like(person.betas))
    moves = torch.stack([body.canonical(unit).joints - rest.joints for unit in units], 2)
    faces, learnt, lifted = _array(mesh.faces.int()), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
    if normals is not None:
        geometric = vertex_normals(shaped, mesh.faces)
        learnt = _array(fuse(torch.nn.functional.normalize(normals, dim=1), geometric))
        lifted = relief(_array(shaped), faces, _array(geometric), learnt)
    return RiggedMesh(
        vertices=_array(shaped - shapedirs @ person.betas),
        faces=faces,
        weights=_array(mesh.weights),
        shapedirs=_array(shapedirs),
        joints=_array(rest.joints),
        rest=_array(rest.bones[:, :3, :3]),
        joint_shapedirs=_array(moves),
        normals=learnt,
        relief=lifted,
        colours=np.zeros((0, 3), np.float32) if colours is None else _array(colours.clamp(0, 1)),
    )


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()


def relief(vertices: np.ndarray, faces: np.ndarray, along: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Displacements [V, 3] in the direction of `along` [V, 3] after which edges are perpendicular to `normals` [V, 3]:
    least squares over heights h, sum_edges ((v_i + h_i a_i - v_j - h_j a_j) . n_ij)^2 + weight sum_i h_i^2 (after
    Nehab et al. 2005), where the weight lets folds up to 3 cm through."""
    edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0)
    i, j = edges.T
    normal = normals[i] + normals[j]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    edge = vertices[i] - vertices[j]
    values = np.concatenate([(along[i] * normal).sum(1), -(along[j] * normal).sum(1)])
    rows = np.tile(np.arange(len(edges)), 2)
    matrix = csr_array((values.astype(np.float64), (rows, edges.T.ravel())), shape=(len(edges), len(vertices)))
    weight = float((edge**2).sum(1).mean()) / _FOLD**2
    system = matrix.T @ matrix + diags_array(np.full(len(vertices), weight))
    heights, _ = cg(system, -matrix.T @ (edge * normal).sum(1).astype(np.float64), rtol=1e-4, maxiter=500)
    return (np.clip(heights, -_DEEPEST, _DEEPEST)[:, None] * along).astype(np.float32)
