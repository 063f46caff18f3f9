"""Every stage of NPVA gives what the original gave, on its weights and inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from avatar_core.cuda.point_mix import fourier
from avatar_core.methods.npva import compositing, losses, published_query, rays
from avatar_core.methods.npva.aggregation import Aggregator, view_octaves
from avatar_core.methods.npva.config import Config
from avatar_core.methods.npva.decoders import Decoders, Maps
from avatar_core.methods.npva.encoder import Encoder, Latent
from avatar_core.methods.npva.names import published
from avatar_core.methods.npva.renderer import Cloud, Samples
from avatar_core.methods.npva.surface import Points, points, position_map, triangles
from avatar_core.methods.npva.view import View

from . import npva_subject, weights
from .conftest import Reference

PUBLISHED = Config(published=True, opaque=True)
GRADIENT = 1e-3  # relative, of norms
ALIKE = 0.95  # of norms; where sums round as in the recording, all of them
TYPICAL = 2e-4  # their median; 1e-6 where sums round alike
KINKS = 1e-2  # most that other rounding changes a norm: hidden units on either side of zero have other derivatives
NOISE = 4321  # seed of an evaluation's; the recording holds no noise
SHORT = 1e-5  # by which the original's directions are shorter than one: 0.01 mm at a metre
NONE = 1e-7  # norm of gradients that are rounding alone: of biases before a normalisation


class Networks(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.encoder, self.decoders, self.aggregator = Encoder(config.published), Decoders(config), Aggregator(config)


def networks(salt: str, config: Config = PUBLISHED) -> Networks:
    made = Networks(config)
    values = {}
    for name, value in made.state_dict().items():
        network, theirs = published(name).split(".", 1)
        values[name] = torch.as_tensor(weights.npva(network, theirs, tuple(value.shape), salt))
    made.load_state_dict(values)
    return made


@pytest.fixture(scope="module")
def recorded(npva_reference: Reference) -> dict[str, Tensor]:
    values = npva_reference.values.items()
    return {name: torch.as_tensor(value) for name, value in values if value.dtype.kind in "fiub"}


@pytest.fixture
def model(npva_reference: Reference) -> Networks:
    return networks(npva_reference.salt)


def close(ours: Tensor, theirs: Tensor, relative: float) -> None:
    """Up to a share of the largest value."""
    assert ours.shape == theirs.shape
    assert float((ours - theirs).detach().abs().max()) <= relative * float(theirs.abs().max())


def strided(ours: Tensor, theirs: Tensor) -> Tensor:
    """Those texels of a map [1, C, S, S] that were recorded, [C, s, s]."""
    step = ours.shape[-1] // theirs.shape[-1]
    return ours[0, :, ::step, ::step]


def enlarged(values: Tensor, side: int) -> Tensor:
    """[C, s, s] as [C, side, side], every value many times."""
    times = side // values.shape[-1]
    return values.repeat_interleave(times, 1).repeat_interleave(times, 2)


def test_encoder(model: Networks, recorded: dict[str, Tensor]) -> None:
    """Recorded before the scaling of mean and logarithm."""
    texture = enlarged(recorded["u_tex64"].float(), npva_subject.TEXTURE)
    positions = enlarged(recorded["u_pos32"], npva_subject.SIDE)
    with torch.inference_mode():
        latent = model.encoder.eval()(texture[None], positions[None])
    close(latent.mean, 0.1 * recorded["enc_mean_eval"], 1e-4)
    close(latent.log_std, 0.01 * recorded["enc_logstd_eval"], 1e-4)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("prefix", ["dec", "d256"])
def test_decoders(npva_reference: Reference, recorded: dict[str, Tensor], prefix: str, mode: str) -> None:
    made = networks(npva_reference.salt, Config(fine=prefix == "dec"))
    with torch.inference_mode():
        maps: Maps = made.decoders.train(mode == "train")(recorded["u_z"])
    assert maps.displacements is not None
    decoded = maps.positions, maps.displacements, maps.features
    for ours, name in zip(decoded, ("pos", "disp", "feat"), strict=True):
        theirs = recorded[f"{prefix}_{name}_{mode}"]
        close(strided(ours, theirs), theirs, 1e-4)
    if prefix == "dec":
        sums = torch.stack([part.double().sum() for one in decoded for part in (one, one.abs())])
        close(sums, recorded[f"dec_sums_{mode}"], 1e-4)


def test_aggregator_and_marching(model: Networks, recorded: dict[str, Tensor]) -> None:
    names = ("emb", "xyz", "mask", "locw", "dirs", "out", "valid")
    features, places, present, samples, directions, out, valid = (recorded[f"agg_{name}"][0] for name in names)
    aggregator, to_world = model.aggregator, recorded["agg_R"]
    around = Points(places.reshape(-1, 3), features.reshape(-1, features.shape[-1]), places.new_zeros(0, 3))
    indices = torch.where(present, torch.arange(present.numel()).view(present.shape), -1).flatten(0, 1)
    with torch.inference_mode():
        encoded = aggregator.encode_published(
            samples.reshape(-1, 3), indices, around, (recorded["agg_cam"], to_world.T)
        )
        density = aggregator.densities(encoded).view(valid.shape)
        colour = aggregator.colours(encoded, directions.flatten(0, 1)).view(*valid.shape, 3)
    assert bool((present.any(-1) == valid).all())
    close(density[valid], out[..., 0][valid], 1e-5)
    close(colour[valid], out[..., 1:][valid], 1e-5)

    depth = (samples - recorded["agg_cam"]) @ to_world[:, 2]
    length = compositing.lengths(depth, valid)
    close(length[valid], recorded["march_dist"][0][valid], 1e-6)
    weight = compositing.weights(out[..., 0], length)
    torch.testing.assert_close(weight, recorded["march_w"][0], atol=1e-5, rtol=0)
    torch.testing.assert_close((weight[..., None] * out[..., 1:]).sum(1), recorded["march_rgb"][0], atol=1e-5, rtol=0)
    close((weight * depth.cummax(1).values).sum(1), recorded["march_depth"][0], 1e-6)


def test_encodings_samples_terms(recorded: dict[str, Tensor]) -> None:
    points3 = recorded["pe_in"]
    close(fourier(points3, recorded["pe_int"].shape[1] // 6), recorded["pe_int"], 1e-6)
    close(view_octaves(points3), recorded["pe_ori"][:, 3:], 1e-6)
    directions, (farthest, nearest) = recorded["smp_dirs"][0], recorded["smp_cen"][0].T
    distances = rays.segments(nearest, farthest, Config())
    theirs = recorded["smp_dcenter"][0]
    ours = recorded["agg_cam"] + distances[..., None] * directions[:, None]
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-3)
    assert losses.smoothness(recorded["gs_in"]).item() == pytest.approx(float(recorded["gs_out"][2]), rel=1e-5)


def test_topology(recorded: dict[str, Tensor]) -> None:
    faces = triangles(wrapped=True, capped=True)
    assert len(faces) == 130_814
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    _, shared = np.unique(edges, axis=0, return_counts=True)
    assert shared.max() == 2
    assert (shared == 1).sum() == 256  # the neck is open


class Step:
    """The recorded training step up to its picture, on our side."""

    def __init__(self, recorded: dict[str, Tensor]) -> None:
        self.recorded = recorded
        number = round(float(recorded["ld_camtf2w"][0]) / 1.5)
        self.frame = npva_subject.Frame(number)
        K = recorded["ld_intrinsic"]
        scale = float(K[1, 1]) / npva_subject.FOCAL
        self.width, self.height = (round(side * scale) for side in npva_subject.PHOTO)
        self.position = recorded["ld_campos"]
        rotation = recorded["ld_camrotc2w"].T.contiguous()
        self.view = View(K, rotation, -rotation @ self.position, self.height, self.width)
        towards = recorded["st_raypos"][:, 0] - self.position
        places = towards @ rotation.T @ K.T
        self.pixels = (places[:, :2] / places[:, 2:]).floor().long()
        if not np.allclose(self.look(recorded["ld_pixel_idx"])[0], recorded["ld_photo"], atol=1e-4):
            pytest.skip("the recording shows another subject")

    def look(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        size = self.width, self.height
        seen = self.frame.look(pixels.long().numpy(), size, self.position.double().numpy())
        return torch.as_tensor(seen[0]).float(), torch.as_tensor(seen[1]).float()

    def head_in_world(self, head: Points) -> Points:
        return placed(head, self.recorded["ld_camrotf2w"], self.recorded["ld_camtf2w"])


def placed(head: Points, rotation: Tensor, translation: Tensor) -> Points:
    """Summed in the order of the axes, as the original does."""
    parts = head.positions, head.vertices
    positions, vertices = ((part[:, None] * rotation.float()).sum(-1) + translation.float() for part in parts)
    return Points(positions, head.features, vertices)


def valued(ours: Tensor, theirs: Tensor) -> Tensor:
    """Their values, which differ by rounding, with our derivatives."""
    return ours + (theirs - ours).detach()


def mouth() -> Tensor:
    """About as large and where the released mask of the mouth is, which is not ours to give: [65536], 0 within."""
    row, column = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    inside = ((row - 156) / 12.8).abs() ** 2.2 + ((column - 128) / 20.6).abs() ** 2.2 < 1
    return (~inside).float().flatten()


def decoded(model: Networks, step: Step) -> tuple[Latent, Maps, Points]:
    """The step's head in its own frame, of the recorded latent to the bit, whose gradients reach the encoder."""
    recorded = step.recorded
    mean, deviation = npva_subject.mean_positions()
    normalised = torch.as_tensor((step.frame.positions - mean) / deviation).float()
    latent: Latent = model.encoder(torch.as_tensor(step.frame.texture).float()[None], normalised[None])
    close(latent.mean, recorded["st_mean"], 1e-4)
    close(latent.log_std, recorded["st_logstd"], 1e-4)
    noise = (recorded["st_z"] - latent.mean.detach()) / latent.log_std.detach().exp()
    maps: Maps = model.decoders(valued(latent.sample(noise), recorded["st_z"]))
    head = points(maps, *(torch.as_tensor(value).float() for value in (mean, deviation)))
    close(strided(position_map(head.vertices)[None], recorded["st_posMap"]), recorded["st_posMap"], 1e-6)
    assert maps.displacements is not None
    close(strided(maps.displacements, recorded["st_disp"]), recorded["st_disp"], 1e-5)
    return latent, maps, head


def sampled(step: Step, world: Points) -> tuple[Tensor, Samples]:
    """Depth of the surface [R] at the step's pixels, and the recorded samples of their rays, which lie where ours do,
    up to jitter."""
    view, recorded = step.view, step.recorded
    depth = view.depth_map(world.vertices, torch.as_tensor(triangles(True, True)), flat=True)
    surface_depth = depth[step.pixels[:, 1], step.pixels[:, 0]]
    assert float((surface_depth - recorded["st_rast_depth"]).detach().abs().max()) < 1e-3
    directions = view.directions(step.pixels + 0.5) / (1 + SHORT)
    places = recorded["st_raypos"]
    taken = (places - step.position).norm(dim=-1)
    near, distances = view.distances(directions, depth, step.pixels, PUBLISHED)
    assert bool((near == (taken[:, 0] < 1e6)).all())
    apart = (taken[near] - distances).detach()
    length = 2 * PUBLISHED.reach / PUBLISHED.samples
    jitter = 0.15 * 2 * length * (PUBLISHED.samples / 2 + 1)  # of all segments before, where both surfaces are sampled
    assert float(apart.abs().max()) < jitter and float(apart.mean().abs()) < 0.1 * length
    return surface_depth, Samples(step.position, directions, places, view.rotation)


def check_losses(terms: dict[str, Tensor], reference: Reference) -> Tensor:
    """The weighted sum."""
    theirs = dict(zip(reference["st_loss_names"].tolist(), reference["st_losses"].tolist(), strict=True))
    names = ("pho/rgb", "geo/depth", "geo/rast_depth", "geo/mesh", "geo/posmap_grad", "reg/kl_loss", "reg/disp")
    for (name, ours), recorded_name in zip(terms.items(), names, strict=True):
        loose = name == "mesh"  # for the mask
        assert ours.item() == pytest.approx(theirs[f"loss_{recorded_name}"], rel=1e-2 if loose else 1e-4), name
    total = torch.stack([losses.WEIGHTS[name] * term for name, term in terms.items()]).sum()
    masked = losses.WEIGHTS["mesh"] * (terms["mesh"].item() - theirs["loss_geo/mesh"])
    assert total.item() - masked == pytest.approx(theirs["loss"], rel=1e-4)
    return total


def check_norms(model: Networks, reference: Reference) -> None:
    """Of gradients."""
    norms = dict(zip(reference["st_grad_names"].tolist(), reference["st_grad_norms"].tolist(), strict=True))
    apart: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        ours, theirs = float(parameter.grad.norm()), norms[published(name).replace(".", "/", 1)]
        apart[name] = abs(ours - theirs) / theirs if theirs > NONE else max(ours - NONE, 0) / NONE
    shares = np.array(list(apart.values()))
    assert shares.max() <= KINKS, f"{list(apart)[shares.argmax()]} is off by {shares.max():.1e}"
    assert (shares <= GRADIENT).mean() >= ALIKE
    assert np.median(shares) <= TYPICAL


def test_training_step(
    model: Networks, recorded: dict[str, Tensor], npva_reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the recorded sets of neighbours, which are constants of a step, and some of which rounding changes.

    An offset's last octave counts sixteenfold, so a unit in the last place of a latent or a place moves hidden units
    over zero, and norms by up to a hundredth. What enters is therefore the recorded latent itself, and an error of
    depth that was zero in the recording has no derivative here either.
    """
    step = Step(recorded)
    used = torch.where(recorded["st_loc"].any(-1), 0, -1)
    sets = published_query.Found(recorded["st_ray_mask"], recorded["st_pidx"].long(), recorded["st_loc"], used)
    monkeypatch.setattr(published_query, "query", lambda *_: sets)
    latent, maps, head = decoded(model.train(), step)
    world = step.head_in_world(head)
    surface_depth, samples = sampled(step, world)
    pixels = Cloud(world, model.aggregator, PUBLISHED).render(samples)
    close(pixels.colour, recorded["st_rgb"][0], 5e-5)
    close(pixels.depth, recorded["st_depth"][0], 1e-6)
    assert bool((pixels.hit == recorded["st_valid"]).all())

    colour, measured = step.look(step.pixels)
    tracked = torch.as_tensor(step.frame.positions).float().flatten(1).T
    assert maps.displacements is not None
    terms = {
        "rgb": losses.colour(pixels.colour, colour),
        "depth": losses.depth(pixels.depth, measured),
        "surface_depth": losses.depth(valued(surface_depth, recorded["st_rast_depth"]), measured),
        "mesh": losses.mesh(head.vertices, tracked, mouth()),
        "smoothness": losses.smoothness(position_map(head.vertices)),
        "kl": losses.divergence(latent),
        "displacement": losses.displacement(maps.displacements),
    }
    check_losses(terms, npva_reference).backward()
    check_norms(model, npva_reference)


def test_whole_image(npva_reference: Reference, recorded: dict[str, Tensor]) -> None:
    """Of an evaluation of the first held-out frame: means and variances of the networks' values are recorded, its
    latent's noise is not. Every fourth pixel that sees the surface; none else is rendered."""
    step, frame = Step(recorded), npva_subject.Frame(npva_subject.FRAMES // 2)
    made = networks(npva_reference.salt)
    theirs = {name: "evbn/" + published(name).replace(".", "/", 1) for name, _ in made.named_buffers()}
    made.load_state_dict({name: recorded[key] for name, key in theirs.items() if key in recorded}, strict=False)
    mean, deviation = (torch.as_tensor(value).float() for value in npva_subject.mean_positions())
    height, width = recorded["ev_valid"].shape
    K = step.view.K * torch.tensor([[width / step.width], [height / step.height], [1]])
    view = View(K, step.view.rotation, step.view.translation, height, width)
    texture, positions = (torch.as_tensor(part).float()[None] for part in (frame.texture, frame.positions))
    with torch.inference_mode():
        latent = made.eval().encoder(texture, (positions - mean) / deviation)
        close(latent.mean, recorded["ev_mean"], 1e-4)
        noise = torch.randn(latent.mean.shape, generator=torch.Generator().manual_seed(NOISE))
        maps = made.decoders(latent.sample(noise))
        head = placed(points(maps, mean, deviation), *map(torch.as_tensor, frame.pose))
        depth = view.depth_map(head.vertices, torch.as_tensor(triangles(True, True)), flat=True)
        if not torch.equal(depth > 0, recorded["ev_valid"]):
            pytest.skip("the recording was made with other noise")
        y, x = (depth > 0).nonzero()[::4].T
        pixels = torch.stack([x, y], 1)
        directions = view.directions(pixels + 0.5) / (1 + SHORT)
        _, distances = view.distances(directions, depth, pixels, PUBLISHED)
        samples = Samples.along(view.origin, directions, distances, view.rotation)
        found = Cloud(head, made.aggregator, PUBLISHED).render(samples)
    error = found.colour - recorded["ev_rgb"][y, x].float()
    apart = (found.depth - recorded["ev_depth"][y, x]).abs()
    assert float(-10 * error.square().mean().log10()) > 45
    assert float(apart.quantile(0.99)) < 1e-2
    assert float((found.hit == (recorded["ev_rgb"][y, x] > 0).any(1)).double().mean()) > 0.999


def test_query(recorded: dict[str, Tensor], model: Networks) -> None:
    """Identical sets of neighbours."""
    step = Step(recorded)
    mean, deviation = (torch.as_tensor(value).float() for value in npva_subject.mean_positions())
    with torch.inference_mode():
        head = step.head_in_world(points(model.decoders.train()(recorded["st_z"]), mean, deviation))
        rows = published_query.VoxelRows(head.positions)
        close(rows.low, recorded["st_ranges"][:3], 1e-6)
        assert rows.sides.tolist() == recorded["st_vdim"].tolist()
        count = recorded["st_pidx"].shape[-1]
        found = published_query.query(recorded["st_raypos"], head.positions, count, PUBLISHED.radius)
    assert bool((found.rays == recorded["st_ray_mask"]).all())
    torch.testing.assert_close(found.places, recorded["st_loc"], atol=0, rtol=0)
    ours, theirs = (indices.sort(-1).values for indices in (found.indices, recorded["st_pidx"].long()))
    assert float((ours == theirs).all(-1).double().mean()) >= 0.999  # a point may lie on a voxel's border
