"""The tree of triangles: made, moved, asked for closest points and by rays. The mesh is the free body; points lie in a
shell of 5 cm around it, in random order and sorted by height; rays are those of a picture of 512 x 512 pixels."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import torch

from avatar_core.body import load_body
from avatar_core.camera import Camera
from avatar_core.cuda.closest_point import TriangleBVH
from avatar_core.cuda.ray_cast import cast_rays
from benchmarks.timing import Case

POINTS = 200_000
SHELL = 0.05  # metres, one standard deviation


def cases() -> Iterator[Case]:
    body = load_body()
    vertices, faces = torch.tensor(body.vertices), torch.tensor(body.faces)
    mesh = TriangleBVH(vertices, faces)
    generator = torch.Generator().manual_seed(0)
    points = vertices[torch.randint(0, len(vertices), (POINTS,), generator=generator)]
    points = points + SHELL * torch.randn(POINTS, 3, generator=generator)
    in_order = points[points[:, 1].argsort()]
    size = f"{len(faces)} triangles"
    yield Case("tree, made", size, lambda: TriangleBVH(vertices, faces), fixed=8)
    yield Case("tree, moved", size, lambda: mesh.refit(vertices), fixed=1)
    peers = closest_peers(body.vertices, body.faces, points.numpy())
    bars = {"fcpw": 1.5, "open3d": 1.8}
    yield Case("closest point", f"{POINTS} points", lambda: mesh.closest(points), peers, fixed=210)
    peers = closest_peers(body.vertices, body.faces, in_order.numpy())
    known = {name: bar for name, bar in bars.items() if name in peers}
    yield Case("closest point, sorted", f"{POINTS} points", lambda: mesh.closest(in_order), peers, known, 150)
    camera = Camera.look_at(np.array([0, 0, 3.2]), np.zeros(3), 0.7, 512, 512)
    origins, directions = camera.rays()
    rays = torch.as_tensor(origins), torch.as_tensor(directions)
    others = ray_peers(body.vertices, body.faces, origins, directions)
    known = {name: 1.3 for name in others if name == "open3d"}
    yield Case("ray casting", "512 x 512 rays", lambda: cast_rays(mesh, *rays), others, known, 5)


def closest_peers(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> dict[str, Callable[[], object]]:
    """Each with its tree ready, where it lets one keep it."""
    peers: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("igl"):
        import igl

        tree = igl.AABB()
        exact = vertices.astype(np.float64), faces.astype(np.int64)
        tree.init(*exact)
        queries = points.astype(np.float64)
        peers["libigl"] = lambda: tree.squared_distance(*exact, queries)
    if importlib.util.find_spec("open3d"):
        import open3d

        scene = open3d.t.geometry.RaycastingScene()
        scene.add_triangles(vertices, faces.astype(np.uint32))
        peers["open3d"] = lambda: scene.compute_closest_points(points)
    return peers


def ray_peers(
    vertices: np.ndarray, faces: np.ndarray, origins: np.ndarray, directions: np.ndarray
) -> dict[str, Callable[[], object]]:
    peers: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("open3d"):
        import open3d

        scene = open3d.t.geometry.RaycastingScene()
        scene.add_triangles(vertices, faces.astype(np.uint32))
        rays = np.concatenate([origins, directions], 1)
        peers["open3d"] = lambda: scene.cast_rays(rays)
    return peers
