"""The tree of triangles: made, moved, asked for closest points and by rays. The mesh is the free body; points lie in a
shell of 5 cm around it, in random order and sorted into cells of 2 cm; rays are those of a picture of 512 x 512.

All keep their trees and get their arguments in the layout that they want; answers are new each time.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from avatar_core.body import load_body
from avatar_core.camera import Camera
from avatar_core.cuda.closest_point import TriangleBVH
from avatar_core.cuda.ray_cast import cast_rays
from benchmarks.timing import Case

POINTS = 200_000
SHELL = 0.05  # metres, one standard deviation
CELL = 0.02  # metres

Peers = dict[str, Callable[[], object]]


def cases() -> Iterator[Case]:
    body = load_body()
    vertices, faces = torch.tensor(body.vertices), torch.tensor(body.faces)
    mesh = TriangleBVH(vertices, faces)
    size = f"{len(faces)} triangles"
    makers = tree_peers(body.vertices, body.faces)
    yield Case("tree, made", size, lambda: TriangleBVH(vertices, faces), makers, fixed=8)
    yield Case("tree, moved", size, lambda: mesh.refit(vertices), fixed=1)
    generator = torch.Generator().manual_seed(0)
    points = vertices[torch.randint(0, len(vertices), (POINTS,), generator=generator)]
    points = points + SHELL * torch.randn(POINTS, 3, generator=generator)
    bars = {"fcpw": 1.5, "open3d": 1.8}
    for name, queries, fixed in (("random", points, 210), ("sorted", in_cells(points), 150)):
        peers = closest_peers(body.vertices, body.faces, queries.numpy())
        known = {peer: bar for peer, bar in bars.items() if peer in peers and name == "sorted"}
        ours = lambda queries=queries: mesh.closest(queries)  # type: ignore[misc] # noqa: E731
        yield Case(f"closest point, {name}", f"{POINTS} points", ours, peers, known, fixed)
    camera = Camera.look_at(np.array([0, 0, 3.2]), np.zeros(3), 0.7, 512, 512)
    origins, directions = camera.rays()
    rays = torch.as_tensor(origins), torch.as_tensor(directions)
    others = ray_peers(body.vertices, body.faces, origins, directions)
    known = {name: 1.3 for name in others if name == "open3d"}
    yield Case("ray casting", "512 x 512 rays", lambda: cast_rays(mesh, *rays), others, known, 5)


def in_cells(points: torch.Tensor) -> torch.Tensor:
    """The points [N, 3], cell after cell, rows of cells in turn."""
    x, y, z = ((points - points.amin(0)) / CELL).long().unbind(1)
    return points[((y * 1000 + x) * 1000 + z).argsort()].contiguous()


def tree_peers(vertices: np.ndarray, faces: np.ndarray) -> Peers:
    peers: Peers = {}
    if importlib.util.find_spec("fcpw"):
        peers["fcpw"] = lambda: fcpw_scene(vertices, faces)
    if importlib.util.find_spec("open3d"):
        # its tree is made by the first query
        peers["open3d"] = lambda: open3d_scene(vertices, faces).compute_closest_points(vertices[:1])
    return peers


def closest_peers(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> Peers:
    peers: Peers = {}
    if importlib.util.find_spec("fcpw"):
        import fcpw

        bodies, columns = fcpw_scene(vertices, faces), np.asfortranarray(points)
        far = np.full(len(points), 1e30, dtype=np.float32)
        peers["fcpw"] = lambda: bodies.find_closest_points(columns, far, fcpw.interaction_3D_list())
    if importlib.util.find_spec("igl"):
        import igl

        tree = igl.AABB()
        exact = vertices.astype(np.float64), faces.astype(np.int64)
        tree.init(*exact)
        queries = points.astype(np.float64)
        peers["libigl"] = lambda: tree.squared_distance(*exact, queries)
    if importlib.util.find_spec("open3d"):
        scene = open3d_scene(vertices, faces)
        peers["open3d"] = lambda: scene.compute_closest_points(points)
    return peers


def ray_peers(vertices: np.ndarray, faces: np.ndarray, origins: np.ndarray, directions: np.ndarray) -> Peers:
    peers: Peers = {}
    if importlib.util.find_spec("fcpw"):
        import fcpw

        bodies = fcpw_scene(vertices, faces)
        columns = np.asfortranarray(origins), np.asfortranarray(directions)
        far = np.full(len(origins), 1e30, dtype=np.float32)
        peers["fcpw"] = lambda: bodies.intersect(*columns, far, fcpw.interaction_3D_list())
    if importlib.util.find_spec("open3d"):
        scene = open3d_scene(vertices, faces)
        rays = np.concatenate([origins, directions], 1)
        peers["open3d"] = lambda: scene.cast_rays(rays)
    return peers


def fcpw_scene(vertices: np.ndarray, faces: np.ndarray) -> Any:
    import fcpw

    scene = fcpw.scene_3D()
    scene.set_object_count(1)
    scene.set_object_vertices(vertices, 0)
    scene.set_object_triangles(faces.astype(np.int32), 0)
    scene.build(fcpw.aggregate_type.bvh_surface_area, True)
    return scene


def open3d_scene(vertices: np.ndarray, faces: np.ndarray) -> Any:
    import open3d

    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(vertices, faces.astype(np.uint32))
    return scene
