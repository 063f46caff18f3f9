"""Records what gDNA's networks, search, loss and mesh give, where a recording of the original has no weights.

    python -m tests.conformance.record_gdna FOLDER OUTPUT_FOLDER --salt SALT
    python -m tests.conformance.record_gdna FOLDER

An oracle of its own, in float64: plain functions of a dictionary of tensors, written from the paper and the published
layer sizes; nothing of avatar_core's method is used. Weights that FOLDER does not store are made by rule, and what it
records already is kept. The largest difference between the oracle and what was recorded is printed, name by name: with
the whole recording of the original this shows what the oracle is worth.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes
from torch import Tensor
from torch.nn import functional

from .weights import gdna

State = dict[str, Tensor]
STARTS = [0, 1, 2, 4, 5, 16, 17, 18, 19]
RESOLUTION, OCTAVES, KEPT = 64, 4, 8  # of what is recorded; of the mesh every KEPT-th vertex


def shapes(octaves: int) -> list[tuple[str, tuple[int, ...]]]:
    """Published names and shapes."""
    encoded = 3 + 6 * octaves
    networks = {
        "network": [(256, 91), (256, 256), (256, 256), (229, 256), (1, 256)],
        "deformer.lbs_network": [(128, 67), (128, 128), (128, 128), (128, 128), (24, 128)],
        "deformer.disp_network": [(128, 13), (128, 128), (128, 128), (128, 128), (3, 128)],
        "norm_network": [
            *((256, encoded + 293), (256, 256), (256, 256), (256 - encoded, 256)),
            *((256, 256), (256, 256), (256, 256), (256, 256), (3, 256)),
        ],
    }
    named: list[tuple[str, tuple[int, ...]]] = [("generator.shape_code", (1, 256, 2, 8, 8))]
    for name, width in (("lin_code", 512), ("lin0", 256), ("lin1", 128), ("lin2", 128)):
        named += [(f"generator.{name}.weight", (width, 64)), (f"generator.{name}.bias", (width,))]
    for number, (inputs, outputs) in enumerate(((256, 128), (128, 64), (64, 64))):
        named.append((f"generator.enc{number}.weight", (outputs, inputs, 3, 3, 3)))
        named.append((f"generator.enc{number}.bias", (outputs,)))
    for network, layers in networks.items():
        for number, (outputs, inputs) in enumerate(layers):
            parts = (("bias", (outputs,)), ("weight_g", (outputs, 1)), ("weight_v", (outputs, inputs)))
            named += [(f"{network}.lin{number}.{part}", shape) for part, shape in parts]
    return named


def layer(state: State, name: str, x: Tensor) -> Tensor:
    v = state[f"{name}.weight_v"]
    return x @ (state[f"{name}.weight_g"] * v / v.norm(dim=1, keepdim=True)).T + state[f"{name}.bias"]


def mlp(state: State, name: str, octaves: int, points: Tensor, *beside: Tensor) -> tuple[Tensor, Tensor]:
    parts = [points]
    for octave in range(octaves):
        parts += [torch.sin(points * 2**octave), torch.cos(points * 2**octave)]
    encoded = torch.cat(parts, 1)
    x = torch.cat([encoded, *(one.expand(len(points), one.shape[-1]) for one in beside)], 1)
    depth = max(int(key.split(".lin")[1].split(".")[0]) for key in state if key.startswith(f"{name}.lin"))
    last = x
    for number in range(depth):
        if number == 4:
            x = torch.cat([x, encoded], 1) / 2**0.5
        x = last = functional.softplus(layer(state, f"{name}.lin{number}", x), beta=100)
    if depth == 4 and octaves:
        x = torch.cat([x, encoded], 1) / 2**0.5
    return layer(state, f"{name}.lin{depth}", x), last


def generate(state: State, code: Tensor) -> Tensor:
    def style(h: Tensor, name: str) -> Tensor:
        shift, scale = (state[f"generator.{name}.weight"] @ code + state[f"generator.{name}.bias"]).chunk(2)
        mean = h.mean((2, 3, 4), keepdim=True)
        variance = h.var((2, 3, 4), keepdim=True, unbiased=True)
        return (h - mean) / torch.sqrt(variance + 1e-5) * scale.view(1, -1, 1, 1, 1) + shift.view(1, -1, 1, 1, 1)

    h = functional.leaky_relu(style(state["generator.shape_code"], "lin_code"), 0.01)
    for number in range(3):
        h = functional.interpolate(h, scale_factor=2, mode="trilinear", align_corners=True)
        h = functional.conv3d(
            h, state[f"generator.enc{number}.weight"], state[f"generator.enc{number}.bias"], padding=1
        )
        h = functional.leaky_relu(style(h, f"lin{number}") if number < 2 else h, 0.01)
    return h[0]


class Subject:
    """One person's functions of points."""

    def __init__(self, state: State, octaves: int, code: Tensor, detail: Tensor, betas: Tensor, bones: Tensor) -> None:
        self.state, self.octaves, self.code, self.detail = state, octaves, code, detail
        self.betas, self.bones, self.volume = betas, bones, generate(state, code)

    def weights(self, x: Tensor) -> Tensor:
        return torch.softmax(20 * mlp(self.state, "deformer.lbs_network", 0, x, self.code)[0], 1)

    def neutral(self, x: Tensor) -> Tensor:
        return x + mlp(self.state, "deformer.disp_network", 0, x, self.betas / 10)[0]

    def occupancy(self, neutral: Tensor) -> tuple[Tensor, Tensor]:
        scaled = (neutral + neutral.new_tensor([0, 0.28, 0])) * neutral.new_tensor([1, 1, 4])
        found = functional.grid_sample(self.volume[None], scaled.view(1, 1, 1, -1, 3), align_corners=True)
        return mlp(self.state, "network", 4, scaled, found.view(64, -1).T)

    def normals(self, neutral: Tensor, features: Tensor) -> Tensor:
        return mlp(self.state, "norm_network", self.octaves, neutral, self.detail, features)[0]

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with(self.weights(x), x)

    def forward_with(self, weights: Tensor, x: Tensor) -> Tensor:
        blended = torch.einsum("nj,jrc->nrc", weights, self.bones)
        return torch.einsum("nrc,nc->nr", blended[:, :3, :3], x) + blended[:, :3, 3]

    def skinned(self, neutral: Tensor, normals: Tensor) -> Tensor:
        blended = torch.einsum("nj,jrc->nrc", self.weights(neutral), self.bones)[:, :3, :3]
        return functional.normalize(torch.linalg.solve(blended.mT, normals[..., None])[..., 0], dim=1)

    def jacobian(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            posed = self.forward(x)
            return torch.stack([torch.autograd.grad(posed[:, i].sum(), x, retain_graph=True)[0] for i in range(3)], 1)

    @torch.no_grad()
    def search(self, points: Tensor, steps: int, exact: bool) -> tuple[Tensor, Tensor]:
        """All iterates in one batch, as published: [N, 9, 3] places and whether they converged [N, 9]."""
        first = torch.linalg.inv(self.bones[STARTS])
        x = (torch.einsum("irc,nc->nir", first[:, :3, :3], points) + first[:, :3, 3]).reshape(-1, 3)
        target = points.repeat_interleave(9, 0)
        start = self.jacobian(x) if exact else torch.einsum("nj,jrc->nrc", self.weights(x), self.bones)[:, :3, :3]
        inverse = torch.linalg.inv(start)
        g = self.forward(x) - target
        best = g.norm(dim=1)
        active = torch.ones(len(x), dtype=torch.bool)
        for _ in range(steps):
            i = active.nonzero()[:, 0]
            if not len(i):
                break
            dx = -(inverse[i] @ g[i, :, None])[..., 0]
            x[i] += dx
            after = self.forward(x[i]) - target[i]
            dg, g[i] = after - g[i], after
            best[i] = torch.minimum(best[i], after.norm(dim=1))
            active[i] = (best[i] > 1e-5) & (after.norm(dim=1) < 1)
            left = (dx[:, None] @ inverse[i])[:, 0]
            below = (left * dg).sum(1)
            below = below + torch.where(below >= 0, 1e-6, -1e-6)
            inverse[i] += ((dx - (inverse[i] @ dg[..., None])[..., 0]) / below[:, None])[..., None] * left[:, None]
        return x.view(-1, 9, 3), (best < 1e-5).view(-1, 9)

    def posed(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [N], x' [N, 3] and features of each point's most occupied root."""
        neutral = self.neutral(x.reshape(-1, 3))
        logits, features = self.occupancy(neutral)
        best, choice = torch.where(valid, logits.view(valid.shape), logits.new_tensor(-1000.0)).max(1)
        row = torch.arange(len(valid)) * 9 + choice
        return best, neutral[row], features[row]


def record(state: State, octaves: int, given: dict[str, Tensor], resolution: int) -> dict[str, Tensor]:
    """given: a recording's inputs and bodies."""
    people = range(len(given["in.z_shape"]))

    def subject(number: int, codes: Tensor) -> Subject:
        betas, bones = given["in.smpl_params"][number, 76:], given["smpl.smpl_tfs"][number]
        return Subject(state, octaves, codes[number], given["in.z_detail"][number], betas, bones)

    done = train(state, given, subject)
    out: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for number in people:
            found = forward(subject(number, given["in.z_shape"]), given, number)
            for name, value in found.items():
                out.setdefault(name, []).append(value)
        done |= {name: torch.stack(values) for name, values in out.items()}
        done["gen.volume_mean_std"] = done["gen.volume_mean_std"].transpose(0, 1)
        apart = [
            subject(number, given["in.z_shape"]).neutral(given["smpl.smpl_verts_cano"][number])
            - given["smpl.verts_c_deshaped"][0]
            for number in people
        ]
        done["train.loss_disp"] = torch.stack(apart).square().mean()
        joints, wanted = given["bone.joint_pts"], given["bone.joint_w"]
        pulled = [subject(i, given["in.z_shape"]).weights(joints[i]) - wanted[i] for i in people]
        done["train.loss_bone_w"] = torch.stack(pulled).square().mean()
        return done | mesh(subject(0, given["in.z_shape"]), given["smpl.smpl_verts_cano"][0], resolution)


def train(state: State, given: dict[str, Tensor], subject: Callable[[int, Tensor], Subject]) -> dict[str, Tensor]:
    """Cross-entropy of the occupancy and its gradients."""
    used = {name: value for name, value in state.items() if not name.startswith(("norm", "generator.lin2"))}
    for value in used.values():
        value.requires_grad_(True)
    codes, inside = given["in.z_shape"].clone().requires_grad_(), given["in.train_occ_gt"][..., 0]
    logits, kept = [], []
    for number in range(len(codes)):
        one = subject(number, codes)
        x, valid = one.search(given["in.train_pts"][number], 50, True)
        flat, rows = x.view(-1, 3), valid.flatten().nonzero()[:, 0]
        inverse, posed = torch.linalg.inv(one.jacobian(flat[rows])), one.forward(flat[rows])
        implicit = flat[rows] - (inverse @ (posed - posed.detach())[..., None])[..., 0]
        logits.append(one.posed(flat.index_put((rows,), implicit).view_as(x), valid)[0])
        has = valid.any(1)
        kept.append(functional.binary_cross_entropy_with_logits(logits[-1][has], inside[number][has]).detach())
    loss = functional.binary_cross_entropy_with_logits(torch.stack(logits), inside)
    gradients = torch.autograd.grad(loss, [codes, *used.values()])
    for value in used.values():
        value.requires_grad_(False)
    done = {f"train.gradnorm.{name}": value.norm() for name, value in zip(used, gradients[1:])}
    terms = {"train.bce_all": loss.detach(), "train.bce_valid": torch.stack(kept).mean()}
    return done | terms | {"train.grad_z_shape": gradients[0]}


def forward(one: Subject, given: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    points = given["in.pts_cano"][number]
    neutral, flat = one.neutral(points), one.volume.flatten(1)
    (logits, features), (bare, below) = one.occupancy(neutral), one.occupancy(points)
    done = {
        "gen.volume_sub": one.volume[:, ::5, ::9, ::9],
        "gen.volume_mean_std": torch.stack([flat.mean(1), flat.std(1)]),
        "def.query_weights": one.weights(points),
        "cano.pts_c": neutral,
        "cano.weights": one.weights(neutral),
        "cano.occ": logits,
        "net.feat": features[:: max(1, len(points) // 128)][:128],
        "cano.norm": functional.normalize(one.normals(neutral, features), dim=1),
        "canoshape.occ": bare,
        "canoshape.norm_posed": one.skinned(points, one.normals(points, below)),
    }
    for steps in (50, 10):
        x, valid = one.search(given["in.pts_posed"][number], steps, False)
        done |= {f"snarf.xc_s{steps}": one.neutral(x.view(-1, 3)).view_as(x), f"snarf.valid_s{steps}": valid}
    logits, neutral, features = one.posed(x, valid)
    normals = one.skinned(neutral, one.normals(neutral, features))
    return done | {"posed.occ": logits, "posed.pts_c": neutral, "posed.norm": normals}


def mesh(one: Subject, body: Tensor, resolution: int) -> dict[str, Tensor]:
    """The largest piece on a whole grid. body: canonical vertices [V, 3]."""
    low, high = body.amin(0), body.amax(0)
    side = 1.1 * (high - low).amax()
    axis = (torch.arange(resolution + 1) / resolution - 0.5) * side
    middle = (low + high) / 2
    grid = torch.stack(torch.meshgrid(*(axis + c for c in middle), indexing="ij"), -1).view(-1, 3)
    values = torch.cat([one.occupancy(one.neutral(part))[0] for part in grid.split(1 << 13)])
    values = values.view([resolution + 1] * 3).float().numpy()
    places, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="ascent")
    links = np.concatenate([faces[:, :2], faces[:, 1:]])
    piece = connected_components(coo_array((np.ones(len(links)), links.T), [len(places)] * 2), directed=False)[1]
    a, b, c = places[faces].transpose(1, 0, 2)
    areas = np.bincount(piece[faces[:, 0]], np.linalg.norm(np.cross(b - a, c - a), axis=1))
    places = places[piece == areas.argmax()]
    x = (torch.as_tensor(places).double() / resolution - 0.5) * side + middle
    neutral = one.neutral(x)
    normals = one.normals(neutral, one.occupancy(neutral)[1])
    return {
        "mesh.verts": x,
        "mesh.weights": one.weights(neutral),
        "mesh.norm": functional.normalize(normals, dim=1),
        "mesh.verts_posed": one.forward_with(one.weights(neutral), x),
        "mesh.norm_posed": one.skinned(neutral, normals),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path, nargs="?")
    parser.add_argument("--salt", default="")
    arguments = parser.parse_args()
    with np.load(arguments.folder / "gdna_reference.npz") as stored:
        recorded = dict(stored)
    stored_weights: dict[str, np.ndarray] = {}
    if (arguments.folder / "gdna_reference_weights_core.npz").exists():
        with np.load(arguments.folder / "gdna_reference_weights_core.npz") as stored:
            stored_weights = {name: stored[name] for name in stored.files if not name.startswith("z_")}
    first = stored_weights.get("norm_network.lin0.weight_v")
    octaves = OCTAVES if first is None else (first.shape[1] - 296) // 6
    made = {name: gdna(name, shape, arguments.salt) for name, shape in shapes(octaves) if name not in stored_weights}
    state = {name: torch.as_tensor(value).double() for name, value in (made | stored_weights).items()}
    given = {name: torch.as_tensor(value).double() for name, value in recorded.items() if value.dtype.kind in "fib"}
    found = {name: value.numpy() for name, value in record(state, octaves, given, RESOLUTION if made else 128).items()}
    for name in sorted(set(found) & set(recorded)):
        if found[name].size == recorded[name].size:
            apart = np.abs(found[name].reshape(recorded[name].shape).astype(float) - recorded[name].astype(float))
            print(
                f"{name}: median {np.median(apart):.1e}, 99.5 % {np.quantile(apart, 0.995):.1e}, most {apart.max():.1e}"
            )
    if arguments.output is None:
        return
    found = {name: value[::KEPT] if name.startswith("mesh.") else value for name, value in found.items()}
    found = {name: value.astype(np.float32) if value.dtype == float else value for name, value in found.items()}
    about = {"salt": np.array(arguments.salt), "frequencies": np.array(octaves), "resolution": np.array(RESOLUTION)}
    recorded = {name: value for name, value in recorded.items() if name != "train.loss_disp"}  # of a whole body
    values = found | recorded if "deformer.lbs_network.lin0.bias" in stored_weights else recorded | found
    arguments.output.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(arguments.output / "gdna_reference.npz", **(values | about))


if __name__ == "__main__":
    main()
