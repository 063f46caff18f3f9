"""Every stage of gDNA gives what the original gave, on its weights and inputs."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from avatar_core.body import load_body
from avatar_core.body.joints import SMPL_PARENTS
from avatar_core.cuda.skin import blend
from avatar_core.methods.gdna import losses
from avatar_core.methods.gdna.body import PosedBody, SmplBody, apply
from avatar_core.methods.gdna.extraction import Box, extract
from avatar_core.methods.gdna.field import Networks, Person, skin_normals
from avatar_core.methods.gdna.posing import bake, volume
from avatar_core.methods.gdna.query import at_roots, posed_normals
from avatar_core.methods.gdna.search import search, search_voxels, starts, with_gradients

from .conftest import Reference

EXACT: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}
ROOT = 1e-5  # metres
AGREE = 0.995  # share of roots
CHAMFER = 1e-4  # metres
GRADIENT = 1e-3  # relative


@dataclass(frozen=True, eq=False)
class Stage:
    """The recorded networks and people, in one precision."""

    values: Reference
    networks: Networks
    parts: set[str]
    smpl: SmplBody
    dtype: torch.dtype

    def need(self, *parts: str) -> None:
        """Skips where the recording was trimmed."""
        if not self.parts.issuperset(parts):
            pytest.skip(f"the recording has no weights of {', '.join(sorted(set(parts) - self.parts))}")

    def tensor(self, name: str) -> Tensor:
        return torch.as_tensor(self.values[name]).to(self.dtype)

    def close(self, ours: Tensor, name: str, subject: int | None = None) -> None:
        recorded = self.tensor(name) if subject is None else self.tensor(name)[subject]
        torch.testing.assert_close(ours.reshape(recorded.shape), recorded, **EXACT, msg=lambda text: f"{name}: {text}")

    @property
    def people(self) -> range:
        return range(len(self.values["in.smpl_params"]))

    def betas(self, subject: int) -> Tensor:
        return self.tensor("in.smpl_params")[subject, 76:]

    def detail(self, subject: int) -> Tensor:
        return self.tensor("in.z_detail")[subject]

    @functools.cache  # noqa: B019
    def posed(self, subject: int) -> PosedBody:
        return self.smpl.from_parameters(self.tensor("in.smpl_params")[subject])

    @functools.cache  # noqa: B019
    def person(self, subject: int) -> Person:
        return self.networks.person(self.tensor("in.z_shape")[subject], self.betas(subject))


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["double", "single"])
def stage(request: pytest.FixtureRequest, gdna_reference: Reference) -> Stage:
    with np.load(gdna_reference.folder / "gdna_reference_weights_core.npz", allow_pickle=False) as stored:
        state = {name: torch.as_tensor(stored[name]) for name in stored.files if not name.startswith("z_")}
    normals = state.get("norm_network.lin0.weight_v")
    networks = Networks(0 if normals is None else (normals.shape[1] - 296) // 6)
    networks.load_state_dict(state, strict=False)
    body = load_body(gdna_reference.folder / "smpl_synth.npz")
    networks.requires_grad_(False)
    parts = {name.split(".")[0] for name in state}
    return Stage(gdna_reference, networks.to(request.param), parts, SmplBody(body, request.param), request.param)


def test_body(stage: Stage) -> None:
    for subject in stage.people:
        posed, canonical = stage.posed(subject), stage.smpl.canonical(stage.betas(subject))
        for ours, name in (
            (posed.vertices, "verts"),
            (posed.joints, "jnts"),
            (posed.bones, "tfs"),
            (canonical.vertices, "verts_cano"),
            (canonical.joints, "jnts_cano"),
        ):
            recorded = stage.tensor(f"smpl.smpl_{name}")[subject]
            torch.testing.assert_close(ours, recorded, atol=2e-6, rtol=0)
    neutral = stage.smpl.canonical(torch.zeros(10, dtype=stage.dtype))
    stage.close(neutral.joints, "smpl.joints_c_deshaped", 0)


def test_deformer(stage: Stage) -> None:
    deformer, codes = stage.networks.deformer, stage.tensor("in.z_shape")
    for subject in stage.people:
        points = stage.tensor("in.pts_cano")[subject]
        neutral = deformer.neutral(points, stage.betas(subject))
        stage.close(neutral, "cano.pts_c", subject)
        stage.close(deformer.weights(neutral, codes[subject]), "cano.weights", subject)
        stage.close(deformer.weights(points, codes[subject]), "def.query_weights", subject)


def test_networks(stage: Stage) -> None:
    stage.need("generator", "network", "norm_network")
    for subject in stage.people:
        person, points = stage.person(subject), stage.tensor("in.pts_cano")[subject]
        recorded = stage.tensor("gen.volume_sub")[subject]
        z, y, x = ((side - 1) // (kept - 1) for side, kept in zip(person.volume.shape[1:], recorded.shape[1:]))
        stage.close(person.volume[:, ::z, ::y, ::x], "gen.volume_sub", subject)
        flat = person.volume.flatten(1)
        statistics = stage.tensor("gen.volume_mean_std")[:, subject]
        torch.testing.assert_close(torch.stack([flat.mean(1), flat.std(1)]), statistics, **EXACT)
        neutral = person.neutral(points)
        logits, features = person.occupancy(neutral)
        recorded = stage.tensor("net.feat")[subject]
        stage.close(logits, "cano.occ", subject)
        stage.close(features[:: len(features) // len(recorded)][: len(recorded)], "net.feat", subject)
        normals = person.normals(neutral, stage.detail(subject), features)
        stage.close(torch.nn.functional.normalize(normals, dim=1), "cano.norm", subject)
        logits, features = person.occupancy(points)
        stage.close(logits, "canoshape.occ", subject)
        normals = person.normals(points, stage.detail(subject), features)
        transforms = blend(person.weights(points), stage.posed(subject).bones)
        stage.close(skin_normals(normals, transforms), "canoshape.norm_posed", subject)


def test_search(stage: Stage) -> None:
    """Where the last step ends at the limit of convergence, rounding decides whether another one is taken."""
    every = stage.tensor("snarf.xc_init").view(len(stage.people), -1, 9, 3)
    for subject in stage.people:
        person, bones, points = stage.person(subject), stage.posed(subject).bones, stage.tensor("in.pts_posed")[subject]
        torch.testing.assert_close(starts(points, bones), every[subject], **EXACT)
        for steps in (10, 50):
            roots = search(points, person.weights, bones, steps)
            recorded = stage.tensor(f"snarf.valid_s{steps}")[subject].bool()
            assert float((roots.valid == recorded).double().mean()) >= AGREE
            both = roots.valid & recorded
            apart = person.neutral(roots.points[both]) - stage.tensor(f"snarf.xc_s{steps}")[subject][both]
            assert float((apart.norm(dim=1) <= ROOT).double().mean()) >= AGREE
            assert float(apart.norm(dim=1).quantile(0.5)) < ROOT / 10


def test_posed_queries(stage: Stage) -> None:
    stage.need("generator", "network", "norm_network")
    for subject in stage.people:
        person, bones, points = stage.person(subject), stage.posed(subject).bones, stage.tensor("in.pts_posed")[subject]
        roots = search(points, person.weights, bones)
        at = at_roots(person, roots.points[roots.valid], roots.valid)
        normals = posed_normals(person, at, stage.detail(subject), bones)
        for ours, name in ((at.logits, "occ"), (at.neutral, "pts_c"), (normals, "norm")):
            recorded = stage.tensor(f"posed.{name}")[subject]
            apart = (ours.reshape(recorded.shape) - recorded).abs().amax(1)
            assert float((apart < 1e-4).double().mean()) > AGREE, name
        sparse = at_roots(person, roots.points[roots.distinct], roots.distinct)
        torch.testing.assert_close(sparse.logits, at.logits, atol=0.02, rtol=0)


def test_voxels_find_the_same_surface(stage: Stage) -> None:
    stage.need("generator", "network")
    for subject in stage.people:
        person, bones, points = stage.person(subject), stage.posed(subject).bones, stage.tensor("in.pts_posed")[subject]
        vertices = stage.smpl.canonical(stage.betas(subject)).vertices
        grid = volume(bake(person, vertices), bones, vertices)
        roots = search_voxels(points, person.weights, bones, grid)
        places = roots.points[roots.distinct]
        posed = apply(blend(person.weights(places), bones), places)
        targets = points[roots.distinct.nonzero()[:, 0]]
        assert float((posed - targets).norm(dim=1).max()) < ROOT
        logits = at_roots(person, places, roots.distinct).logits
        recorded = stage.tensor("posed.occ")[subject][:, 0]
        assert float(((logits > 0) == (recorded > 0)).double().mean()) >= AGREE


def test_training_step(stage: Stage) -> None:
    """The loss of both people and its gradients, through the search."""
    stage.need("generator", "network")
    values, networks = stage.values, stage.networks
    codes = stage.tensor("in.z_shape").clone().requires_grad_()
    networks.requires_grad_(True)
    logits, kept = [], torch.zeros(())
    for subject in stage.people:
        person = networks.person(codes[subject], stage.betas(subject))
        bones, points = stage.posed(subject).bones, stage.tensor("in.train_pts")[subject]
        roots = search(points, person.weights, bones, 50, exact=True)
        at = at_roots(person, with_gradients(roots.points[roots.valid], person.weights, bones), roots.valid)
        logits.append(at.logits)
        kept = kept + losses.occupancy(at, stage.tensor("in.train_occ_gt")[subject, :, 0])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.cat(logits), stage.tensor("in.train_occ_gt").flatten()
    )
    everything = dict(networks.named_parameters())
    used = {name: value for name, value in everything.items() if f"train.gradnorm.{name}" in values.values}
    found = torch.autograd.grad(loss, [codes, *used.values()])
    networks.requires_grad_(False)
    assert loss.item() == pytest.approx(float(values["train.bce_all"]), rel=1e-4)
    assert kept.item() / len(stage.people) == pytest.approx(float(values["train.bce_valid"]), rel=1e-3)
    scale = float(stage.tensor("train.grad_z_shape").abs().max())
    torch.testing.assert_close(found[0] / scale, stage.tensor("train.grad_z_shape") / scale, atol=GRADIENT, rtol=0)
    for name, ours in zip(used, found[1:]):
        norm = float(values[f"train.gradnorm.{name}"])
        assert float(ours.norm()) == pytest.approx(norm, rel=GRADIENT, abs=1e-5), name


def test_terms(stage: Stage) -> None:
    values, deformer = stage.values, stage.networks.deformer
    zeros = torch.zeros(10, dtype=stage.dtype)
    rest = stage.smpl.canonical(zeros)
    points, targets = losses.joint_targets(rest.joints, SMPL_PARENTS)
    stage.close(points, "bone.joint_pts", 0)
    stage.close(targets, "bone.joint_w", 0)
    shaped = [stage.smpl.canonical(stage.betas(subject)).vertices for subject in stage.people]
    term = sum(losses.displacement(deformer, shaped[i], rest.vertices, stage.betas(i)) for i in stage.people)
    if "network" in stage.parts:  # a trimmed body has too few vertices
        assert float(term) / len(stage.people) == pytest.approx(float(values["train.loss_disp"]), rel=1e-3)
    codes = stage.tensor("in.z_shape")
    term = sum(losses.bone_weights(deformer, points, targets, codes[i]) for i in stage.people)
    assert float(term) / len(stage.people) == pytest.approx(float(values["train.loss_bone_w"]), rel=1e-4)
    inside = losses.bone_points(rest.joints, SMPL_PARENTS, torch.Generator().manual_seed(0))
    assert inside.shape == stage.tensor("bone.pts_seed11")[0].shape
    first, last = rest.joints[list(SMPL_PARENTS[1:])], rest.joints[1:]
    for cloud in (inside, stage.tensor("bone.pts_seed11")[0]):
        detour = (cloud.view(23, 5, 3) - first[:, None]).norm(dim=2) + (cloud.view(23, 5, 3) - last[:, None]).norm(
            dim=2
        )
        torch.testing.assert_close(detour, (last - first).norm(dim=1)[:, None].expand_as(detour), atol=1e-5, rtol=0)


def test_mesh(stage: Stage) -> None:
    """Recorded at 128 cells a side, canonical with the first person's betas, and posed. Ours is closed where it leaves
    the grid and follows thin parts, so that some vertices are others, and more."""
    if stage.dtype == torch.float64:
        pytest.skip("grids are float32")
    stage.need("generator", "network", "norm_network")
    person, bones = stage.person(0), stage.posed(0).bones
    box = Box.published(stage.smpl.canonical(stage.betas(0)).vertices.numpy(), 128)
    vertices, faces = extract(lambda points: person.occupancy(person.neutral(points))[0], box)
    recorded = stage.values["mesh.verts"]
    near, index = cKDTree(vertices).query(recorded)
    assert near.mean() < CHAMFER
    if len(recorded) > len(vertices) / 2:  # else every n-th vertex was kept
        added = cKDTree(recorded).query(vertices)[0] > CHAMFER
        assert added.mean() < 0.02
        assert len(faces) == pytest.approx(len(stage.values["mesh.faces"]), rel=0.02)
    same = torch.as_tensor(near < 1e-6)
    assert float(same.double().mean()) > 0.98
    x = torch.as_tensor(vertices)[torch.as_tensor(index)]
    neutral = person.neutral(x)
    weights = person.weights(neutral)
    transforms = blend(weights, bones)
    normals = person.normals(neutral, stage.detail(0), person.occupancy(neutral)[1])
    for ours, name, limit in (
        (weights, "weights", 1e-3),
        (torch.nn.functional.normalize(normals, dim=1), "norm", 1e-3),
        (apply(transforms, x), "verts_posed", 1e-4),
        (skin_normals(normals, transforms), "norm_posed", 1e-3),
    ):
        assert float((ours - stage.tensor(f"mesh.{name}"))[same].abs().max()) < limit, name
