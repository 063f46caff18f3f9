"""Every stage of NeRFBlendShape gives what the original gives, on equal weights and inputs."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch import Tensor

from avatar_core.cuda.hashgrid import hash_grid, hash_grid_reference
from avatar_core.data.nerf_blendshape import HeadFolder, read_range
from avatar_core.methods.nerf_blendshape.field import Field, clamped
from avatar_core.methods.nerf_blendshape.paper import checkpoint, occupancy
from avatar_core.methods.nerf_blendshape.paper.compositing import training_pixels
from avatar_core.methods.nerf_blendshape.paper.config import Config
from avatar_core.methods.nerf_blendshape.paper.march import interval, march
from avatar_core.methods.nerf_blendshape.paper.renderer import Pixels, render
from avatar_core.methods.nerf_blendshape.paper.training import sparsity, terms
from avatar_core.methods.nerf_blendshape.space import field_pose, to_field
from avatar_core.nn.encoding import spherical_harmonics
from avatar_core.nn.pcg import pcg32_uniform
from avatar_core.nn.tcnn import initial, padded

from .conftest import Reference
from .nerf_blendshape_recording import Recording, pixel_rays, published, recorded_config
from .weights import nerf_blendshape_density, nerf_blendshape_table

DOUBLE = {"rtol": 1e-10, "atol": 1e-10}
SINGLE = {"rtol": 1e-5, "atol": 1e-5}
HALF = {"rtol": 2e-3, "atol": 2e-3}
GRADIENT = 1e-4  # of the largest entry: the recording rounds points to single precision, which moves cells by a bit


@pytest.fixture(scope="module")
def tiny(nerf_blendshape_reference: Reference) -> Recording:
    return Recording(nerf_blendshape_reference, "tiny")


@pytest.fixture(scope="module")
def full(nerf_blendshape_reference: Reference) -> Recording:
    return Recording(nerf_blendshape_reference, "full")


@pytest.fixture(scope="module")
def config(tiny: Recording) -> Config:
    return recorded_config(tiny)


@pytest.fixture(params=[torch.float64, torch.float32], ids=["double", "single"])
def field(request: pytest.FixtureRequest, tiny: Recording, config: Config) -> Field:
    made = Field(config)
    state, _ = checkpoint.rename(published(tiny, config.resolution), config, tiny.values.folder)
    made.load_state_dict(state)
    return made.to(request.param)


def kind(field: Field) -> torch.dtype:
    return field.tables.dtype


def exact(field: Field) -> dict[str, float]:
    return DOUBLE if kind(field) == torch.float64 else SINGLE


def tables(field: Field, tiny: Recording) -> list[Tensor]:
    return [field.mix(weights.to(kind(field))) for weights in tiny["exp_clamped"]]


def near(found: Tensor, wanted: Tensor, share: float) -> None:
    """Equal to `share` of the largest wanted value."""
    scale = float(wanted.abs().max())
    assert scale > 0 and float((found.double() - wanted).abs().max()) < share * scale


def test_levels(tiny: Recording, full: Recording, config: Config) -> None:
    for recording, configuration in ((tiny, config), (full, Config())):
        with torch.device("meta"):
            spec = Field(configuration).spec
        np.testing.assert_array_equal(np.float32(spec.scales), recording.array("scale"))
        np.testing.assert_array_equal([*spec.offsets, spec.parameters], recording.array("offsets"))
        np.testing.assert_array_equal([spec.dense(i) for i in range(spec.levels)], recording.array("dense"))
        np.testing.assert_array_equal(np.array(spec.resolutions) - 1, recording.array("res"))


def test_expression_mixes_the_tables(field: Field, tiny: Recording) -> None:
    ranges = tiny["lo"], tiny["hi"]
    assert bool((clamped(tiny["exp"], *ranges) == tiny["exp_clamped"]).all())
    for found, wanted in zip(tables(field, tiny), tiny["blended"], strict=True):
        torch.testing.assert_close(found.double(), wanted, **exact(field))


def test_encoding(field: Field, tiny: Recording) -> None:
    frame, x = tiny["frame"], tiny["x"].to(kind(field))
    inside = ((x >= 0) & (x <= 1)).all(1)
    found = torch.stack([hash_grid(x, table, field.spec) for table in tables(field, tiny)])
    encoded = found[frame, torch.arange(len(x))] * inside[:, None]
    wanted = tiny["enc_pos64" if kind(field) == torch.float64 else "enc"]
    torch.testing.assert_close(encoded.double(), wanted, **exact(field))
    if kind(field) == torch.float32:  # without fused multiplication, all digits
        found = torch.stack([hash_grid_reference(x, table, field.spec) for table in tables(field, tiny)])
        torch.testing.assert_close(
            (found[frame, torch.arange(len(x))] * inside[:, None]).double(), wanted, atol=1e-6, rtol=0
        )
    outside = field.encode((2 * x - 1) * field.bound, tables(field, tiny)[0])[~inside]
    assert len(outside) and not bool(outside.any())


def test_encoding_in_half_precision(tiny: Recording, config: Config) -> None:
    spec = Field(config).spec
    x, frame = tiny["x16"].float(), tiny["frame"]
    inside = ((x >= 0) & (x <= 1)).all(1)
    found = torch.stack([hash_grid(x, table, spec) for table in tiny["blended16"]])[frame, torch.arange(len(x))]
    torch.testing.assert_close(found * inside[:, None], tiny["enc16"].float(), **HALF)


def test_gradients_of_the_encoding(field: Field, tiny: Recording) -> None:
    """Of the tables, and of points that do not lie on the border of a cell."""
    frame, x = tiny["frame"], tiny["x"].to(kind(field))
    x = x.clone().requires_grad_()
    inside = ((x >= 0) & (x <= 1)).all(1).detach()
    mixed = [table.detach().requires_grad_() for table in tables(field, tiny)]
    found = torch.stack([hash_grid(x, table, field.spec) for table in mixed])[frame, torch.arange(len(x))]
    (found * inside[:, None] * tiny["cot"].to(kind(field))).sum().backward()
    grads = torch.stack([table.grad for table in mixed if table.grad is not None]).double()
    near(grads, tiny["grad_table"], 1e-5)
    near(torch.einsum("bk,bec->kec", tiny["exp_clamped"].double(), grads), tiny["grad_bases"], 1e-5)
    place = tiny["x"].double()[:, None] * tiny["scale"].double()[:, None] + 0.5
    clear = ((place - place.round()).abs() > 1e-4).all(2).all(1) & inside
    wanted = torch.einsum("nfd,nf->nd", tiny["enc_dx"], tiny["cot"])
    assert x.grad is not None and clear.double().mean() > 0.5
    near(x.grad[clear], wanted[clear], 1e-4)


def test_directions(tiny: Recording) -> None:
    torch.testing.assert_close(spherical_harmonics(tiny["dirs"]), tiny["sh"], **DOUBLE)
    torch.testing.assert_close(spherical_harmonics(tiny["dirs"].float()).double(), tiny["sh"], **SINGLE)


def test_networks(field: Field, tiny: Recording) -> None:
    raw = field.density_net(tiny["enc"].to(kind(field)))
    limit = exact(field) if kind(field) == torch.float64 else {"rtol": 1e-5, "atol": 1e-4}
    torch.testing.assert_close(raw.double(), tiny["sigma_net_out"], **limit)
    colour = field.colour(tiny["sigma_net_out"][:, 1:].to(kind(field)), tiny["dirs"].to(kind(field)))
    torch.testing.assert_close(colour.double(), tiny["rgb"], **exact(field))
    torch.testing.assert_close(torch.nn.functional.softplus(raw[:, 0]).double(), tiny["sigma"], **limit)


def test_initial_networks(full: Recording) -> None:
    with torch.device("meta"):
        shapes = Field(Config())
    made = {"sigma": shapes.density_net.shapes, "color": shapes.colour_net.shapes}
    for name, net in made.items():
        values = initial(net).numpy()
        head, tail = full.array(f"init_{name}_head"), full.array(f"init_{name}_tail")
        np.testing.assert_array_equal(values[: len(head)], head)
        np.testing.assert_array_equal(values[-len(tail) :], tail)
        assert hashlib.sha256(values.tobytes()).digest() == full.array(f"init_{name}_sha256").tobytes()


def test_poses_and_rays(tiny: Recording) -> None:
    each = len(tiny["rays_o"]) // len(tiny["pose"])
    for number, (pose, wanted) in enumerate(zip(tiny.array("pose"), tiny.array("field_pose"), strict=True)):
        np.testing.assert_allclose(field_pose(pose, Config().scale), wanted, atol=1e-12)
        origins, directions = pixel_rays(wanted, tiny.array("intr"))
        part = slice(number * each, (number + 1) * each)
        torch.testing.assert_close(tiny["rays_o"][part], origins[:each], atol=1e-6, rtol=0)
        apart = (tiny["rays_d"][part, None] - directions).abs().amax(2).amin(1)
        assert float(apart.max()) < 1e-6


def test_marching_is_exact(tiny: Recording, config: Config) -> None:
    origins, directions = tiny["rays_o"], tiny["rays_d"]
    full_vertices = tiny["occ"] > float(tiny["thresh"])
    noise = torch.as_tensor(pcg32_uniform(np.arange(len(origins)), 2048))
    for name, training, jitter in (("march", True, None), ("march_jit", True, noise), ("march_infer", False, None)):
        interval_ = interval(origins, directions, config.bound, training)
        steps = march(origins, directions, *interval_, full_vertices, config.bound, noise=jitter)
        assert torch.bincount(steps.ray, minlength=len(origins)).tolist() == tiny.array(f"{name}_count").tolist()
        np.testing.assert_array_equal(steps.point.numpy(), tiny.array(f"{name}_xyz"))
        np.testing.assert_array_equal(steps.length.numpy(), tiny.array(f"{name}_dt"))
        if not training:
            np.testing.assert_array_equal(interval_[0].numpy(), tiny.array("march_infer_near"))
            np.testing.assert_array_equal(interval_[1].numpy(), tiny.array("march_infer_far"))
            gone = torch.zeros(len(origins)).index_add(0, steps.ray, tiny["march_infer_treal"])
            ended = interval_[0].scatter(0, steps.ray, steps.end)
            hit = gone > 0
            torch.testing.assert_close(ended[hit], (interval_[0] + gone)[hit], atol=1e-6, rtol=0)


def test_marching_in_parts_is_marching_at_once(tiny: Recording, config: Config) -> None:
    origins, directions, occupied = tiny["rays_o"], tiny["rays_d"], tiny["occ"] > float(tiny["thresh"])
    start, far = interval(origins, directions, config.bound, False)
    parts = []
    while True:
        steps = march(origins, directions, start, far, occupied, config.bound, 3)
        if not len(steps.ray):
            break
        parts.append(steps)
        start = steps.distance
    ray, point = torch.cat([one.ray for one in parts]), torch.cat([one.point for one in parts])
    np.testing.assert_array_equal(point[torch.argsort(ray, stable=True)].numpy(), tiny.array("march_infer_xyz"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
def test_compositing_and_its_gradients(tiny: Recording, dtype: torch.dtype) -> None:
    density, colour = (tiny[name].to(dtype).requires_grad_() for name in ("train_sigma", "train_rgb"))
    count = tiny["march_jit_count"]
    ray = torch.repeat_interleave(torch.arange(len(count)), count)
    length, background = tiny["march_jit_dt"].to(dtype), tiny["bg"].to(dtype)
    picture, coverage = training_pixels(density, colour, length, ray, background)
    limit = DOUBLE if dtype == torch.float64 else SINGLE
    torch.testing.assert_close(picture.double(), tiny["train_img"], **limit)
    torch.testing.assert_close(coverage.double(), tiny["train_A"], **limit)
    ((picture * tiny["grad_img"].to(dtype)).sum() + (coverage * tiny["grad_A"].to(dtype)).sum()).backward()
    assert density.grad is not None and colour.grad is not None
    near(density.grad, tiny["grad_sigma"], 1e-10 if dtype == torch.float64 else 1e-4)
    near(colour.grad, tiny["grad_rgb"], 1e-10 if dtype == torch.float64 else 1e-4)


def test_density_grid(field: Field, tiny: Recording, config: Config) -> None:
    """Two updates, with recorded noise and its opposite."""
    weights = clamped(occupancy.probes(config.tables, tiny["hi"]), tiny["lo"], tiny["hi"]).to(kind(field))
    grid = torch.full((config.resolution,) * 3, occupancy.START, dtype=kind(field))
    for number, sign in enumerate((1, -1)):
        noise = sign * tiny["jitter"].to(kind(field))
        with torch.no_grad():

            def query(expression: int, noise: Tensor = noise) -> Tensor:
                points = occupancy.vertices(config.resolution, config.bound, noise[expression])
                return field.density(points, field.mix(weights[expression]))[0]

            grid = occupancy.update(grid, config.tables, query)
        near(grid, tiny[f"grid{number + 1}"], 1e-4)
        assert float(grid.mean()) == pytest.approx(float(tiny["grid_means"][number]), rel=1e-4)


def test_training_step(field: Field, tiny: Recording, config: Config) -> None:
    """Loss and gradients of everything that is learnt, through all stages; recorded without rays that stop."""
    frame, dtype = tiny["train_frame"], kind(field)
    count = tiny["march_jit_count"]
    ray = torch.repeat_interleave(torch.arange(len(count)), count)
    points, directions = tiny["march_jit_xyz"].to(dtype), tiny["rays_d"].to(dtype)[ray]
    density, colour = torch.zeros(len(ray), dtype=dtype), torch.zeros(len(ray), 3, dtype=dtype)
    for number, table in enumerate(tables(field, tiny)):
        chosen = torch.nonzero(frame == number).squeeze(1)
        one, two = field(points[chosen], directions[chosen], table)
        density, colour = density.index_put((chosen,), one), colour.index_put((chosen,), two)
    near(density.detach(), tiny["train_sigma"], GRADIENT)
    near(colour.detach(), tiny["train_rgb"], GRADIENT)
    background, target, mask = (tiny[name].to(dtype) for name in ("bg", "gt", "mask"))
    picture, coverage = training_pixels(density, colour, tiny["march_jit_dt"].to(dtype), ray, background, 0.0)
    loss = torch.stack([*terms(picture, coverage, target, mask).values(), sparsity(field.tables)]).sum()
    assert float(loss.detach()) == pytest.approx(float(tiny["loss"]), rel=1e-5)
    loss.backward()
    assert field.tables.grad is not None
    share = GRADIENT if dtype == torch.float64 else 5 * GRADIENT
    near(field.tables.grad[0], tiny["loss_grad_mean"], share)
    near(field.tables.grad[1:], tiny["loss_grad_bases"], share)
    for net, name in ((field.density_net, "pS"), (field.colour_net, "pC")):
        assert net.params.grad is not None
        near(net.params.grad, tiny[f"loss_grad_{name}"], share)


def test_rendered_picture(field: Field, tiny: Recording, config: Config) -> None:
    with torch.no_grad():
        origins, directions = pixel_rays(tiny.array("field_pose")[0], tiny.array("intr"))
        pixels = render(field, tables(field, tiny)[0], tiny["occ"] > float(tiny["thresh"]), origins, directions)
    check_picture(pixels, tiny, 1e-4)


def test_released_configuration(full: Recording) -> None:
    """All 47 tables: mixture, features, density, colour, and a picture."""
    field = Field(Config())
    assert len(full["exp_clamped"]) == 1 and len(field.tables) == full["exp"].shape[1]
    with torch.no_grad():
        for number, table in enumerate(field.tables):
            table.copy_(torch.as_tensor(nerf_blendshape_table(number, *table.shape)))
        output = field.density_net.matrices()[-1]
        output[0] = torch.as_tensor(nerf_blendshape_density(output.numpy()))
        weights = clamped(full["exp"], full["lo"], full["hi"])
        assert bool((weights == full["exp_clamped"]).all())
        table = field.mix(weights[0])
        first = full["blended_first"]
        torch.testing.assert_close(table[: len(first)].double(), first.double(), atol=1e-6, rtol=0)
        torch.testing.assert_close(table.double().sum(0), full["blended_sum"], atol=1e-3, rtol=0)
        encoded = hash_grid_reference(full["x"], table, field.spec)
        torch.testing.assert_close(encoded.double(), full["enc"].double(), atol=1e-6, rtol=0)
        encoded = hash_grid(full["x"], table, field.spec)
        torch.testing.assert_close(encoded.double(), full["enc"].double(), atol=1e-4, rtol=0)
        half = hash_grid(full["x16"].float(), table.half(), field.spec)
        torch.testing.assert_close(half, full["enc16"].float(), **HALF)
        raw = field.density_net(full["enc"].float())
        near(raw[:, 0], full["sigma_raw"].double(), 1e-5)
        torch.testing.assert_close(raw[:, 1:].double(), full["geo"].double(), **SINGLE)
        directions = full["dirs"].float()
        density, colour = field((2 * full["x"] - 1) * field.bound, directions, table)
        near(density, full["sigma"].double(), 2e-3)
        torch.testing.assert_close(colour.double(), full["rgb"].double(), **SINGLE)
        np.testing.assert_allclose(field_pose(full.array("pose"), Config().scale), full.array("field_pose"), atol=1e-6)
        axis = torch.linspace(-1, 1, Config().resolution, dtype=torch.float64)
        squares = torch.cartesian_prod(axis, axis, axis).square().sum(1).view((Config().resolution,) * 3)
        occupied = squares < float(full["occ_radius"]) ** 2
        pose = field_pose(full.array("pose"), Config().scale)
        pixels = render(field, table, occupied, *pixel_rays(pose, full.array("intr")))
    check_picture(pixels, full, 1e-3)


def test_files_are_read_and_written_bit_for_bit(tiny: Recording, config: Config) -> None:
    state = published(tiny, config.resolution)
    field, grid = checkpoint.rename(state, config, tiny.values.folder)
    for name, value in checkpoint.publish(field, grid).items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)
    assert field["density_net.params"].numel() % padded(1) == 0


def test_folder(nerf_blendshape_reference: Reference) -> None:
    folder = HeadFolder.open(nerf_blendshape_reference.folder / "nbs_fixture")
    assert [frame.number for frame in folder.frames] == sorted(frame.number for frame in folder.frames)
    for frame in folder.frames[:3]:
        ours = frame.camera
        origins, directions = ours.rays(np.array([[0.5, 0.5], [ours.width - 0.5, 0.5]]))
        pose = np.linalg.inv(ours.world_to_camera) @ np.diag([1, -1, -1, 1])  # OpenGL's axes
        k = ours.K
        intrinsics = np.array([k[0, 0], k[1, 1], k[0, 2] - 0.5, k[1, 2] - 0.5, ours.width, ours.height])
        theirs = pixel_rays(field_pose(pose, Config().scale), intrinsics)
        torch.testing.assert_close(to_field(torch.as_tensor(directions)), theirs[1][[0, ours.width - 1]], **SINGLE)
        torch.testing.assert_close(to_field(torch.as_tensor(origins), Config().scale), theirs[0][:2], **SINGLE)
    low, high = folder.ranges(-1)
    for found, name in ((low, "min_46.txt"), (high, "max_46.txt")):
        stored = np.loadtxt(folder.folder / name).astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(found, stored)
        np.testing.assert_array_equal(read_range(folder.folder / name), stored)


def check_picture(pixels: Pixels, recording: Recording, limit: float) -> None:
    """Over white; at most a thousandth of the pixels may end a sample sooner or later."""
    picture = pixels.colour + (1 - pixels.coverage)[:, None]
    depth = (pixels.distance - pixels.near) / (pixels.far - pixels.near)
    found = torch.cat([picture, pixels.coverage[:, None], depth[:, None]], 1)
    wanted = torch.cat(
        [recording[f"render_{name}"].reshape(len(found), -1) for name in ("rgb", "A", "depth")], 1
    ).double()
    seen = wanted[:, 3] > 0
    assert bool(seen.any()) and not bool(found[~seen, 3].any())
    difference = (found - wanted)[seen].abs().amax(1)
    assert float((difference > limit).double().mean()) < 1e-3, float(difference.max())
