"""Every stage of gDNA gives what was recorded, on its weights and inputs.

A recording has the original's numbers where it stores the weights, and those of record_gdna.py where they follow the
rule."""

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
from avatar_core.methods.gdna.posing import bake, bounds, volume
from avatar_core.methods.gdna.query import at_roots, posed_normals
from avatar_core.methods.gdna.search import _jacobian, search, search_voxels, starts, with_gradients

from .conftest import Reference
from .weights import gdna

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-4}
ROOT = 1e-5  # metres
AGREE = 0.995  # share of roots
CHAMFER = 1e-4  # metres
GRADIENT = 1e-3  # relative


@dataclass(frozen=True, eq=False)
class Stage:
    """The recorded networks and people, in one precision."""

    values: Reference
    networks: Networks
    smpl: SmplBody
    dtype: torch.dtype

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


in_both = pytest.mark.parametrize("stage", [torch.float32, torch.float64], indirect=True, scope="module", ids=str)
in_single = pytest.mark.parametrize("stage", [torch.float32], indirect=True, scope="module", ids=str)  # as it is used


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, gdna_reference: Reference) -> Stage:
    path = gdna_reference.folder / "gdna_reference_weights_core.npz"
    stored: dict[str, np.ndarray] = {}
    if path.exists():
        with np.load(path, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files if not name.startswith("z_")}
    first = stored.get("norm_network.lin0.weight_v")
    networks = Networks(int(gdna_reference["frequencies"]) if first is None else (first.shape[1] - 296) // 6)
    state = {
        name: torch.as_tensor(stored[name] if name in stored else gdna(name, tuple(value.shape), gdna_reference.salt))
        for name, value in networks.state_dict().items()
    }
    networks.load_state_dict(state)
    networks.requires_grad_(False)
    body = load_body(gdna_reference.folder / "smpl_synth.npz")
    return Stage(gdna_reference, networks.to(request.param), SmplBody(body, request.param), request.param)


@in_both
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


@in_both
def test_deformer(stage: Stage) -> None:
    deformer, codes = stage.networks.deformer, stage.tensor("in.z_shape")
    for subject in stage.people:
        points = stage.tensor("in.pts_cano")[subject]
        neutral = deformer.neutral(points, stage.betas(subject))
        stage.close(neutral, "cano.pts_c", subject)
        stage.close(deformer.weights(neutral, codes[subject]), "cano.weights", subject)
        stage.close(deformer.weights(points, codes[subject]), "def.query_weights", subject)


@in_single
def test_networks(stage: Stage) -> None:
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


@in_both
def test_search(stage: Stage) -> None:
    """What is within 1e-5 m of its target counts as root. Where one search just meets that, rounding lets the other go
    one step further; taken to the end by Newton's method, both are at the same place."""
    every = stage.tensor("snarf.xc_init").view(len(stage.people), -1, 9, 3)
    for subject in stage.people:
        person, bones, points = stage.person(subject), stage.posed(subject).bones, stage.tensor("in.pts_posed")[subject]
        torch.testing.assert_close(starts(points, bones), every[subject], **EXACT)
        for steps in (10, 50):
            roots = search(points, person.weights, bones, steps)
            recorded = stage.tensor(f"snarf.valid_s{steps}")[subject].bool()
            assert float((roots.valid == recorded).double().mean()) >= AGREE
            both = roots.valid & recorded
            ours, theirs = roots.points[both], stage.tensor(f"snarf.xc_s{steps}")[subject][both]
            apart = (person.neutral(ours) - theirs).norm(dim=1)
            assert float((apart <= ROOT).double().mean()) >= AGREE
            assert float(apart.quantile(0.5)) < ROOT / 10
            targets = points[both.nonzero()[:, 0]]
            assert float((posed_at(person, bones, ours) - targets).norm(dim=1).max()) < ROOT
            far = apart > ROOT / 2
            x = theirs[far]
            for _ in range(12):  # x of x'
                x = theirs[far] - (person.neutral(x) - x)
            ends = [newton(person, bones, place, targets[far]) for place in (ours[far], x)]
            assert far.sum() == 0 or float((ends[0] - ends[1]).norm(dim=1).max()) < ROOT


def posed_at(person: Person, bones: Tensor, x: Tensor) -> Tensor:
    return apply(blend(person.weights(x), bones), x)


def newton(person: Person, bones: Tensor, x: Tensor, targets: Tensor) -> Tensor:
    for _ in range(4):
        inverse = torch.linalg.inv(_jacobian(x, person.weights, bones))
        x = x - (inverse @ (posed_at(person, bones, x) - targets)[..., None])[..., 0]
    return x


@in_single
def test_posed_queries(stage: Stage) -> None:
    for subject in stage.people:
        person, bones, points = stage.person(subject), stage.posed(subject).bones, stage.tensor("in.pts_posed")[subject]
        roots = search(points, person.weights, bones)
        at = at_roots(person, roots.points[roots.valid], roots.valid)
        normals = posed_normals(person, at, stage.detail(subject), bones)
        for ours, name in ((at.logits, "occ"), (at.neutral, "pts_c"), (normals, "norm")):
            recorded = stage.tensor(f"posed.{name}")[subject].view(len(points), -1)
            apart = (ours.reshape(recorded.shape) - recorded).abs().amax(1)
            assert float((apart < 1e-4).double().mean()) > AGREE, name
        there, features = person.occupancy(stage.tensor("posed.pts_c")[subject])
        found = stage.tensor("snarf.valid_s10")[subject].bool().any(1)
        stage.close(torch.where(found, there, -1000.0), "posed.occ", subject)
        normals = person.normals(stage.tensor("posed.pts_c")[subject], stage.detail(subject), features)
        transforms = blend(person.weights(stage.tensor("posed.pts_c")[subject]), bones)
        apart = (skin_normals(normals, transforms) - stage.tensor("posed.norm")[subject])[found]
        assert float(apart.abs().max()) < 1e-4
        sparse = at_roots(person, roots.points[roots.distinct], roots.distinct)  # of roots up to 1e-4 m apart
        x = at.neutral.clone().requires_grad_()
        steep = torch.autograd.grad(person.occupancy(x)[0].sum(), x)[0].norm(dim=1)
        assert bool(((sparse.logits - at.logits).abs() < 1e-4 * steep.clamp(min=1) + 1e-4).all())


@in_single
def test_voxels_find_the_same_surface(stage: Stage) -> None:
    agree = []
    for subject in stage.people:
        person, bones, points = stage.person(subject), stage.posed(subject).bones, stage.tensor("in.pts_posed")[subject]
        vertices = stage.smpl.canonical(stage.betas(subject)).vertices
        grid = volume(bake(person, vertices, shape=(24, 96, 96)), bones, vertices)
        roots = search_voxels(points, person.weights, bones, grid)
        places = roots.points[roots.distinct]
        posed = apply(blend(person.weights(places), bones), places)
        targets = points[roots.distinct.nonzero()[:, 0]]
        assert float((posed - targets).norm(dim=1).max()) < ROOT
        logits = at_roots(person, places, roots.distinct).logits
        recorded = stage.tensor("posed.occ")[subject].flatten()
        (low, high), at = bounds(vertices, 0.15), stage.tensor("posed.pts_c")[subject]
        held = ((at > at.new_tensor(low)) & (at < at.new_tensor(high))).all(1) | (recorded < 0)  # by the grid
        agree.append(((logits > 0) == (recorded > 0))[held])
    assert float(torch.cat(agree).double().mean()) >= AGREE


@in_single
def test_training_step(stage: Stage) -> None:
    """The loss of both people and its gradients, through the search, and a volume that is made at some points alone."""
    values, networks = stage.values, stage.networks
    codes = stage.tensor("in.z_shape").clone().requires_grad_()
    networks.requires_grad_(True)
    logits, kept = [], torch.zeros(())
    for subject in stage.people:
        person = networks.sparse_person(codes[subject], stage.betas(subject))
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
    assert kept.item() / len(stage.people) == pytest.approx(float(values["train.bce_valid"]), rel=1e-4)
    scale = float(stage.tensor("train.grad_z_shape").abs().max())
    torch.testing.assert_close(found[0] / scale, stage.tensor("train.grad_z_shape") / scale, atol=GRADIENT, rtol=0)
    for name, ours in zip(used, found[1:]):
        norm = float(values[f"train.gradnorm.{name}"])
        assert float(ours.norm()) == pytest.approx(norm, rel=GRADIENT, abs=1e-5), name


@in_both
def test_terms(stage: Stage) -> None:
    values, deformer = stage.values, stage.networks.deformer
    zeros = torch.zeros(10, dtype=stage.dtype)
    rest = stage.smpl.canonical(zeros)
    points, targets = losses.joint_targets(rest.joints, SMPL_PARENTS)
    stage.close(points, "bone.joint_pts", 0)
    stage.close(targets, "bone.joint_w", 0)
    shaped = [stage.smpl.canonical(stage.betas(subject)).vertices for subject in stage.people]
    term = sum(losses.displacement(deformer, shaped[i], rest.vertices, stage.betas(i)) for i in stage.people)
    assert float(term) / len(stage.people) == pytest.approx(float(values["train.loss_disp"]), rel=1e-4)
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


@in_single
def test_mesh(stage: Stage) -> None:
    """Canonical with the first person's betas, and posed. Recorded meshes are open where they leave the grid; ours has
    a flat piece there, and is the same elsewhere."""
    person, bones, recorded = stage.person(0), stage.posed(0).bones, stage.values["mesh.verts"]
    box = Box.published(
        stage.smpl.canonical(stage.betas(0)).vertices.numpy(), int(stage.values.values.get("resolution", 128))
    )
    vertices, faces = extract(lambda points: person.occupancy(person.neutral(points))[0], box)
    near = cKDTree(vertices).query(recorded)[0]
    assert near.mean() < CHAMFER / 10 and near.max() < CHAMFER
    if "mesh.faces" in stage.values.values:  # else some vertices were kept
        inside = ((vertices > box.low + 1e-6) & (vertices < box.low + box.cell * np.array(box.cells) - 1e-6)).all(1)
        added = cKDTree(recorded).query(vertices[inside])[0]
        assert added.mean() < CHAMFER / 10 and added.max() < CHAMFER
        assert inside[faces].any(1).sum() <= len(stage.values["mesh.faces"])
    edges, sides = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0, return_counts=True)
    assert (sides == 2).all(), edges[sides != 2]
    x = torch.as_tensor(recorded)
    neutral = person.neutral(x)
    weights = person.weights(neutral)
    transforms = blend(weights, bones)
    normals = person.normals(neutral, stage.detail(0), person.occupancy(neutral)[1])
    rounding = float(np.finfo(stage.values["mesh.weights"].dtype).eps) / 4  # of recorded numbers below 1
    for ours, name, limit in (
        (weights, "weights", 1e-4 + rounding),
        (torch.nn.functional.normalize(normals, dim=1), "norm", 1e-4),
        (apply(transforms, x), "verts_posed", 1e-5),
        (skin_normals(normals, transforms), "norm_posed", 1e-4),
    ):
        assert float((ours - stage.tensor(f"mesh.{name}")).abs().max()) < limit, name
