"""Every stage of Neural Actor's published renderer gives what the original gave, on equal weights and inputs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from avatar_core.cuda.closest_point import TriangleBVH
from avatar_core.data.neural_actor import NeuralActorFolder
from avatar_core.methods.neural_actor.paper import checkpoint
from avatar_core.methods.neural_actor.paper.geometry import PosedMesh, SurfacePoints, to_frame, to_world
from avatar_core.methods.neural_actor.paper.rays import near_far, sample
from avatar_core.methods.neural_actor.paper.renderer import Renderer
from avatar_core.methods.neural_actor.paper.texture import sample_map

from .conftest import Reference
from .weights import neural_actor

EXACT = {"rtol": 1e-5, "atol": 1e-5}
SINGLE = {"rtol": 1e-3, "atol": 1e-3}


@dataclass(frozen=True)
class Stage:
    """The published renderer on the recorded frame (an index of data.frames), in one precision."""

    dtype: torch.dtype
    values: Reference
    data: NeuralActorFolder
    frame: int
    renderer: Renderer
    mesh: PosedMesh
    rotation: Tensor
    translation: Tensor

    @property
    def tolerance(self) -> dict[str, float]:
        return EXACT if self.dtype == torch.float64 else SINGLE

    def recorded(self, name: str) -> Tensor:
        prefix = "f64_" if self.dtype == torch.float64 else "f32_"
        return torch.as_tensor(self.values[prefix + name])

    def tensor(self, name: str) -> Tensor:
        return torch.as_tensor(self.values[name]).to(self.dtype)

    @property
    def clear(self) -> Tensor:
        """Points that do not lie on a tie between two faces."""
        return ~torch.as_tensor(self.values["tie_mask"])


@pytest.fixture(scope="module")
def published(neural_actor_reference: Reference) -> dict[str, Tensor]:
    """The state dict of a released file, float64."""
    shapes = json.loads((neural_actor_reference.folder / "na_state_dict.json").read_text())
    data = NeuralActorFolder.open(neural_actor_reference.folder / "na_fixture")
    body = {
        "encoder.vertices": data.mesh.vertices,
        "encoder.faces": data.mesh.faces,
        "encoder.face_uv": data.mesh.face_uv,
        "encoder.weights": data.mesh.weights,
    }
    state = {}
    for name, (shape, *_) in shapes.items():
        if name in body:
            state[name] = torch.as_tensor(body[name])
            assert list(state[name].shape) == shape
        elif name.endswith(".emb") or name == "field.bg_color.bg_color":
            state[name] = torch.zeros(shape)
        else:
            value = neural_actor(name, tuple(shape), neural_actor_reference.salt)
            single = value.dtype == np.float64  # the originals hold float32
            state[name] = torch.as_tensor(value.astype(np.float32).astype(np.float64) if single else value)
    return state


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["double", "single"])
def stage(
    request: pytest.FixtureRequest, neural_actor_reference: Reference, published: dict[str, Tensor]
) -> Iterator[Stage]:
    dtype = request.param
    data = NeuralActorFolder.open(neural_actor_reference.folder / "na_fixture")
    index = int(neural_actor_reference["loader_id"].item())
    frame = data.frames[index]
    renderer = Renderer()
    renderer.load_state_dict(checkpoint.rename(published, neural_actor_reference.folder))
    mesh = PosedMesh.pose(
        torch.as_tensor(data.mesh.vertices).to(dtype),
        torch.as_tensor(data.mesh.faces),
        torch.as_tensor(data.mesh.face_uv).to(dtype),
        torch.as_tensor(data.mesh.weights).to(dtype),
        torch.as_tensor(frame.transforms).to(dtype),
        torch.as_tensor(data.rest).to(dtype) if data.rest is not None else None,
    )
    turn = (torch.as_tensor(array).to(dtype) for array in (frame.rotation, frame.translation))
    with torch.inference_mode():
        yield Stage(dtype, neural_actor_reference, data, index, renderer.eval().to(dtype), mesh, *turn)


@pytest.fixture(scope="module")
def located(stage: Stage) -> SurfacePoints:
    points = to_frame(stage.tensor("points_world"), stage.rotation, stage.translation)
    return stage.mesh.locate(points, published=True)


@pytest.fixture(scope="module")
def texture(stage: Stage) -> Tensor:
    """[512, H/2, W/2]"""
    image = torch.as_tensor(stage.data.texture(stage.frame)).to(stage.dtype)
    return stage.renderer.encoder(image.permute(2, 0, 1)[None])


def test_folder_is_read_as_the_original_reads_it(neural_actor_reference: Reference) -> None:
    values = neural_actor_reference
    data = NeuralActorFolder.open(values.folder / "na_fixture")
    index, view = int(values["loader_id"].item()), int(values["loader_view"].item())
    frame, camera = data.frames[index], data.cameras[view]
    np.testing.assert_array_equal(frame.rotation, values["loader_rotation"][0])
    np.testing.assert_array_equal(frame.translation, values["loader_translation"].ravel())
    np.testing.assert_array_equal(frame.joints, values["loader_joints"][0])
    np.testing.assert_array_equal(np.moveaxis(frame.transforms, 0, 2), values["loader_joints_RT"][0])
    np.testing.assert_allclose(frame.pose.ravel(), values["loader_pose"].ravel(), atol=1e-6)
    theirs = values["loader_tex"][0]
    ours = data.texture(index)
    every = _stride(len(ours), len(theirs))
    np.testing.assert_allclose(ours[::every, ::every], theirs, atol=1e-6)
    ours, theirs = camera.K.copy(), values["loader_intrinsics"].reshape(4, 4)[:3, :3]
    ours[:2, 2] -= 0.5  # their pixel centres lie at whole numbers
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    x, y = values["loader_uv"].reshape(2, -1).astype(int)
    pixel = y * camera.width + x
    origins, directions = camera.rays()
    np.testing.assert_allclose(origins[0], values["render_ray_start"].ravel(), atol=1e-6)
    np.testing.assert_allclose(directions[pixel], values["render_ray_dir"].reshape(-1, 3), atol=1e-6)
    picture = data.picture(index, view)
    colours = picture.reshape(-1, 4)[pixel]
    np.testing.assert_allclose(colours[:, :3] / 127.5 - 1, values["loader_colors"][0, 0], atol=1e-6)
    np.testing.assert_allclose(colours[:, 3] / 255, values["loader_alpha"].ravel())


def test_points_and_surface(stage: Stage, located: SurfacePoints) -> None:
    points = to_frame(stage.tensor("points_world"), stage.rotation, stage.translation)
    torch.testing.assert_close(points, stage.recorded("points_normalized"), **EXACT)
    torch.testing.assert_close(
        to_world(points, stage.rotation, stage.translation), stage.tensor("points_world"), **EXACT
    )
    torch.testing.assert_close(stage.mesh.vertices, stage.recorded("posed_vertices"), **EXACT)
    torch.testing.assert_close(located.distance2, stage.recorded("closest_d2"), **stage.tolerance)
    torch.testing.assert_close(located.closest, stage.recorded("closest_point"), **stage.tolerance)
    clear = stage.clear
    assert bool((located.face == stage.recorded("closest_face"))[clear].all())
    torch.testing.assert_close(located.weights[clear], stage.recorded("skin_weights")[clear], **stage.tolerance)
    torch.testing.assert_close(located.local[clear], stage.recorded("local_coord_uvh")[clear], **stage.tolerance)


def test_texture_features(stage: Stage, located: SurfacePoints, texture: Tensor) -> None:
    recorded = stage.recorded("texture_map_slice")
    every = [_stride(side, kept) for side, kept in zip(texture.shape, recorded.shape)]
    scale = float(recorded.abs().max())
    torch.testing.assert_close(texture[:: every[0], :: every[1], :: every[2]] / scale, recorded / scale, **EXACT)
    clear, features = stage.clear, stage.recorded("texture_feat")
    scale = float(features.abs().max())
    sampled = sample_map(texture, located.uv)
    torch.testing.assert_close(sampled[clear] / scale, features[clear] / scale, **stage.tolerance)


def test_field(stage: Stage, located: SurfacePoints, texture: Tensor) -> None:
    field, clear = stage.renderer.field, stage.clear
    terms = field.terms(sample_map(field.fold(texture), located.uv))
    code = field.code(located.local)
    offset = field.offset(code, terms)
    features = field.features(located.canonical + offset)
    density, colour, _ = stage.renderer.shade(located, field.fold(texture), stage.tensor("view_dirs"))
    found = {
        "attnout": code,
        "deform": offset,
        "canonical_pos": located.canonical + offset,
        "feat": features,
        "sigma": density,
        "rgb": colour,
    }
    for name, value in found.items():
        recorded = stage.recorded(name)
        scale = max(float(recorded.abs().max()), 1.0)  # relative to the largest value of the stage
        difference = float((value - recorded)[clear].abs().max()) / scale
        limit = 3e-5 if stage.dtype == torch.float64 else 1e-3
        assert difference < limit, f"{name}: {difference}"


def test_rays_and_samples(stage: Stage) -> None:
    _, _, hit, near, far = _rays(stage)
    recorded = torch.as_tensor(stage.values["hits"])
    assert bool((hit == recorded).all())
    for ours, name in ((near, "near"), (far, "far")):
        torch.testing.assert_close(ours[hit], stage.tensor(name)[hit], atol=1e-3, rtol=0)
    distance, step = sample(stage.tensor("near")[hit], stage.tensor("far")[hit])
    torch.testing.assert_close(distance, stage.tensor("sample_depth"), atol=1e-5, rtol=0)
    torch.testing.assert_close(step, stage.tensor("sample_dist"), atol=1e-5, rtol=0)


def test_rendered_pixels(stage: Stage, texture: Tensor) -> None:
    """In single precision every ray, in double every seventh; but for those that see a point with two UV places, where
    rounding decides which face is the closest: they change with the order of the faces."""
    origins, directions, hit, near, far = _rays(stage)
    seen = torch.nonzero(hit).squeeze(1)[:: 1 if stage.dtype == torch.float32 else 7]
    rays = to_frame(origins[seen], stage.rotation, stage.translation), directions[seen] @ stage.rotation.T
    folded = stage.renderer.field.fold(texture)
    mesh = stage.mesh
    turned = replace(mesh, faces=mesh.faces.flip(0), face_uv=mesh.face_uv.flip(0))
    turned = replace(turned, bvh=TriangleBVH(mesh.vertices.float(), turned.faces))
    pixels, others = (
        stage.renderer.render(body, folded, rays, directions[seen], (near[seen], far[seen]))[0]
        for body in (mesh, turned)
    )
    clear = (pixels.colour - others.colour).abs().amax(1) < 1e-3
    assert clear.double().mean() > 0.5
    for name, ours in (("colors", pixels.colour), ("missed", pixels.missed), ("depths", pixels.distance)):
        recorded = torch.as_tensor(stage.values[f"render_{name}"]).reshape(len(hit), -1)[seen]
        difference = (ours.reshape(len(seen), -1) - recorded)[clear].abs()
        assert float(difference.mean()) < 3e-3, name
        assert float((difference < 0.03).double().mean()) > 0.99, name


def test_released_file_round_trips(
    neural_actor_reference: Reference, published: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A file in fairseq's layout is imported, and writes back every tensor that the renderer uses, bit for bit."""
    path = tmp_path_factory.mktemp("released") / "nerf.pt"
    model = {name: value.float() if value.is_floating_point() else value for name, value in published.items()}
    options = argparse.Namespace(arch="joint_nerf_coarse", min_dis_eps=0.06, mesh="/nowhere/canonical.obj")
    torch.save({"args": options, "model": model, "optimizer_history": [], "extra_state": {}}, path)
    found = checkpoint.read(path)
    assert found.options["min_dis_eps"] == 0.06
    renderer = Renderer()
    renderer.load_state_dict(found.state)
    np.testing.assert_array_equal(found.mesh.vertices, model["encoder.vertices"].numpy())
    for name, value in checkpoint.publish(renderer.state_dict()).items():
        torch.testing.assert_close(value, model[name], rtol=0, atol=0)


def _stride(side: int, kept: int) -> int:
    """Recordings keep every 2^k-th value: the first stride that leaves as many as were kept."""
    return next(stride for stride in (1 << k for k in range(side.bit_length() + 1)) if -(-side // stride) == kept)


def _rays(stage: Stage) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    directions = stage.tensor("render_ray_dir").reshape(-1, 3)
    origins = stage.tensor("render_ray_start").reshape(1, 3).expand_as(directions)
    vertices = to_world(stage.mesh.vertices, stage.rotation, stage.translation)
    joints = torch.as_tensor(stage.data.frames[stage.frame].joints).to(stage.dtype)
    return origins, directions, *near_far(origins, directions, vertices, joints)
