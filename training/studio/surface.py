"""Quad surfaces with skinning weights, and what garments are made with: cutting, subdividing, smoothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from avatar_core.body.template import split_quads


@dataclass(frozen=True)
class Surface:
    """A quad mesh at rest, y up, metres."""

    vertices: np.ndarray  # [V, 3]
    quads: np.ndarray  # [Q, 4]
    weights: np.ndarray  # [V, J]
    corner_uv: np.ndarray  # [Q, 4, 2]

    def cut(self, keep: np.ndarray) -> Surface:
        """The part with the quads of the mask `keep` [Q]."""
        used, quads = np.unique(self.quads[keep], return_inverse=True)
        return Surface(self.vertices[used], quads.reshape(-1, 4), self.weights[used], self.corner_uv[keep])

    def centres(self) -> np.ndarray:
        """[Q, 3]"""
        return self.vertices[self.quads].mean(1)

    def normals(self) -> np.ndarray:
        """[V, 3] unit, area-weighted."""
        a, b, c, d = np.moveaxis(self.vertices[self.quads], 1, 0)
        normals = np.zeros_like(self.vertices)
        for corner in range(4):
            np.add.at(normals, self.quads[:, corner], np.cross(c - a, d - b))
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

    def offset(self, metres: np.ndarray | float) -> Surface:
        """Moved along the normals by `metres` [V]."""
        distance = np.broadcast_to(metres, len(self.vertices))
        return replace(self, vertices=self.vertices + self.normals() * distance[:, None])

    def smoothed(self, rounds: int, strength: float = 0.5) -> Surface:
        """Vertices drawn towards the mean of their neighbours."""
        ends = np.concatenate([self.quads[:, [k, (k + 1) % 4]] for k in range(4)])
        ends = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0)
        count = len(self.vertices)
        links = sparse.coo_matrix((np.ones(len(ends)), ends.T), (count, count)).tocsr()
        mean = sparse.diags(1 / np.maximum(links.sum(1).A1, 1)) @ links
        vertices = self.vertices
        for _ in range(rounds):
            vertices = (1 - strength) * vertices + strength * (mean @ vertices)
        return replace(self, vertices=vertices)

    def subdivided(self) -> Surface:
        """One round of Catmull-Clark; weights and texture coordinates are interpolated linearly."""
        quads, count = self.quads, len(self.vertices)
        sides = np.sort(np.stack([quads, np.roll(quads, -1, 1)], -1).reshape(-1, 2), 1)
        edges, side_edge = np.unique(sides, axis=0, return_inverse=True)
        side_edge = side_edge.reshape(-1, 4)  # [Q, 4]: edge from corner k to corner k + 1
        faces = count + len(edges) + np.arange(len(quads))
        refined = np.concatenate(
            [np.stack([quads[:, k], count + side_edge[:, k], faces, count + side_edge[:, k - 1]], 1) for k in range(4)]
        )
        uv, middle = self.corner_uv, self.corner_uv.mean(1)
        halfway = (uv + np.roll(uv, -1, 1)) / 2
        corner_uv = np.concatenate(
            [np.stack([uv[:, k], halfway[:, k], middle, halfway[:, k - 1]], 1) for k in range(4)]
        )
        weights = np.concatenate([self.weights, self.weights[edges].mean(1), self.weights[quads].mean(1)])
        return Surface(self._refined_points(edges, side_edge), refined, weights, corner_uv)

    def _refined_points(self, edges: np.ndarray, side_edge: np.ndarray) -> np.ndarray:
        """Catmull-Clark's points: vertices, then edges [E, 2], then faces; borders stay smooth curves."""
        points, quads, count = self.vertices, self.quads, len(self.vertices)
        face = points[quads].mean(1)
        middle = points[edges].mean(1)
        shares = np.bincount(side_edge.ravel(), minlength=len(edges))
        border = shares == 1
        of_faces = _gather(side_edge, np.repeat(face[:, None], 4, 1), len(edges))
        edge = np.where(border[:, None], middle, (2 * middle + of_faces) / 4)

        faces_around = np.maximum(np.bincount(quads.ravel(), minlength=count), 1)[:, None]
        edges_around = np.maximum(np.bincount(edges.ravel(), minlength=count), 1)[:, None]
        mean_face = _gather(quads, np.repeat(face[:, None], 4, 1), count) / faces_around
        mean_edge = _gather(edges, np.repeat(middle[:, None], 2, 1), count) / edges_around
        inner = (mean_face + 2 * mean_edge + (edges_around - 3) * points) / edges_around
        rim = edges[border]
        rim_edges = np.bincount(rim.ravel(), minlength=count)[:, None]
        along_rim = _gather(rim, np.repeat(middle[border][:, None], 2, 1), count) / np.maximum(rim_edges, 1)
        outer = (points + along_rim) / 2
        return np.concatenate([np.where(rim_edges > 0, outer, inner), edge, face])


def _gather(index: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Sums `values` [..., 3] into `count` rows by `index` [...]."""
    out = np.zeros((count, 3))
    np.add.at(out, index.ravel(), values.reshape(-1, 3))
    return out


def triangles(quads: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quads [Q, 4] and values at their corners [Q, 4, K] -> triangles [2Q, 3] and [2Q, 3, K]."""
    order = np.arange(len(quads) * 4).reshape(-1, 4)
    flat = corners.reshape(-1, corners.shape[2])
    return split_quads(quads), flat[split_quads(order)]
