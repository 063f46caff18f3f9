"""NPVA behind its interface: a small head, without the recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from avatar_core.actor import Actor, describe
from avatar_core.body.stand_in import stand_in
from avatar_core.camera import Camera
from avatar_core.cli import main
from avatar_core.controls import Controls
from avatar_core.cuda.point_mix import point_mix
from avatar_core.errors import AvatarError
from avatar_core.methods.npva import Config, Model, checkpoint, losses, phases
from avatar_core.methods.npva.published_mix import published_mix
from avatar_core.methods.npva.published_query import SLOTS, VoxelRows, query
from avatar_core.methods.npva.renderer import Cloud, Samples
from avatar_core.methods.npva.space import placed_view
from avatar_core.methods.npva.surface import SIDE, triangles
from avatar_core.methods.npva.training import Lesson, learn
from avatar_core.methods.npva.vicinity import Vicinity

SMALL = Config(
    expressions=("jawOpen", "smile"), shape_keys={}, fine=False, features=4, width=16, encoder=True, opaque=True
)


def sphere() -> Tensor:
    """A position map [3, SIDE, SIDE], mm: 9 cm around the origin."""
    v, u = torch.meshgrid(torch.linspace(0.02, 3.12, SIDE), torch.linspace(-3.14159, 3.11705, SIDE), indexing="ij")
    return 90 * torch.stack([v.sin() * u.sin(), -v.cos(), -v.sin() * u.cos()])


def head(config: Config = SMALL) -> Model:
    torch.manual_seed(0)
    model = Model(config, stand_in("ball", -np.full(3, 0.09), np.full(3, 0.09), "none")).eval()
    model.set_positions(sphere(), 0.5)
    dense(model, 4.0)
    return model


def dense(model: Model, bias: float) -> None:
    """Sets what every sample's density starts from."""
    last = model.aggregator.density[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.constant_(last.bias, bias)


def camera(size: int = 48, distance: float = 1.0) -> Camera:
    return Camera.look_at(np.array([0, 0, distance]), np.zeros(3), 0.25, size, size)


def actor(model: Model) -> Actor:
    return Actor(model, model.body, describe("npva", model, model.body, {"name": "ball"}, "none"))


@pytest.fixture(scope="module")
def ball() -> Actor:
    return actor(head())


def still(jaw: float = 0.0, placed: np.ndarray | None = None) -> Controls:
    return Controls(expression=np.array([jaw, 0], np.float32), head=placed)


def test_a_frame_has_depth_normals_and_coverage(ball: Actor) -> None:
    frame = ball.render(still(), camera())
    middle = frame.depth[24, 24], frame.normal[24, 24], frame.mask[24, 24]
    assert middle[0] == pytest.approx(1 - 0.09, abs=0.006)
    assert middle[1] == pytest.approx((0, 0, 1), abs=0.3)
    assert middle[2] == pytest.approx(1, abs=1e-3)
    assert frame.mask[0, 0] == 0 and frame.depth[0, 0] > 1e9
    assert 0.3 < frame.mask.mean() < 0.5  # of a disc as wide as 0.72 of the picture


def test_light_passes_where_points_are_few() -> None:
    thin = head(replace(SMALL, opaque=False))
    dense(thin, -3.0)
    frame = actor(thin).render(still(), camera())
    assert 0.02 < frame.mask[24, 24] < 0.6
    assert frame.depth[24, 24] == pytest.approx(1 - 0.09, abs=0.01)
    assert (frame.rgba[24, 24, :3] <= frame.rgba[24, 24, 3] + 1e-6).all()


def test_the_head_is_placed_and_scaled(ball: Actor) -> None:
    placed = np.diag([2.0, 2, 2, 1])
    placed[:3, 3] = 0.5, 0, -1
    frame = ball.render(still(placed=placed), Camera.look_at(np.array([0.5, 0, 1]), placed[:3, 3], 0.25, 48, 48))
    assert frame.depth[24, 24] == pytest.approx(2 - 0.18, abs=0.012)
    assert frame.mask == pytest.approx(ball.render(still(), camera()).mask, abs=0.05)
    vertices, _ = ball.proxy_mesh(still(placed=placed))
    assert vertices.mean(0) == pytest.approx(placed[:3, 3], abs=0.02)


def test_expressions_move_points_and_are_clamped() -> None:
    model = head()
    latents = torch.randn(20, 4, 8, 8)
    coefficients = torch.rand(20, 2)
    latents += 3 * coefficients[:, :1, None, None]
    model.driver.fit(coefficients, latents)
    with torch.inference_mode():
        rest, jaw = (model.driver(torch.tensor([value, 0.5])) for value in (0.0, 1.0))
        assert float((jaw - rest).mean()) == pytest.approx(3, abs=0.5)
        most = model.driver(torch.tensor([float(coefficients[:, 0].max()), 0.5]))
        assert torch.equal(model.driver(torch.tensor([7.0, 0.5])), most)
    made = actor(model)
    assert np.abs(made.render(still(0.0), camera()).rgba - made.render(still(1.0), camera()).rgba).max() > 0.01


def test_a_tracked_mesh_drives() -> None:
    model = head(replace(SMALL, mesh=True))
    opened = torch.linspace(0, 4, 9)  # mm by which the lower half moves
    maps = sphere() + opened[:, None, None, None] * (torch.arange(SIDE) > 128)[:, None]
    latents = torch.randn(4, 8, 8) + opened[:, None, None, None] * torch.randn(4, 8, 8)
    model.fit_mesh(maps, latents)
    found = torch.cat([model.follow(one) for one in maps])
    assert float((found - latents).detach().abs().max()) < 0.1
    with pytest.raises(AvatarError, match="mesh: true"):
        head().follow(maps[0])


def test_networks_that_overflow_say_so() -> None:
    model = head()
    model.driver.bias.data.fill_(1e38)
    model.deviation.fill_(1e10)
    with pytest.raises(AvatarError, match="no numbers"):
        actor(model).render(still(), camera())


def test_a_file_gives_the_same_picture(ball: Actor, tmp_path: Path) -> None:
    ball.save(tmp_path / "ball.actor")
    loaded = Actor.load(tmp_path / "ball.actor")
    assert loaded.schema == ball.schema
    ours, theirs = (one.render(still(), camera()) for one in (ball, loaded))
    assert np.abs(ours.rgba - theirs.rgba).mean() < 2e-3  # large tensors have half precision


def test_all_samples_have_their_nearest_points() -> None:
    """Whatever the cells in between say; also beside an outlier as far away as it may be."""
    torch.manual_seed(1)
    points = torch.cat([torch.rand(3000, 3) * 60, torch.tensor([[1e7, -3e6, 2e5], [torch.nan, 0, 0]])])
    places = torch.rand(4000, 3) * 80 - 10
    near = (torch.cdist(places.double(), points[:-1].double()) <= 4).any(1)
    held = Vicinity(points, 4.0).holds(places)
    assert bool((held | ~near).all()) and not bool(held.all())


@pytest.mark.parametrize("opaque", [True, False])
def test_rays_that_end_early_look_the_same(opaque: bool) -> None:
    model = head(replace(SMALL, opaque=opaque))
    dense(model, -1.0 if opaque else -2.0)
    view, _ = placed_view(camera(), np.eye(4), torch.device("cpu"))
    with torch.no_grad():
        made = model.decode(torch.randn(1, 4, 8, 8))
        y, x = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
        pixels = torch.stack([x, y], -1).view(-1, 2)
        directions = view.directions(pixels + 0.5)
        surface = view.depth_map(made.vertices, model.faces())
        near, distances = view.distances(directions, surface, pixels, model.config)
        samples = Samples.along(view.origin, directions[near], distances, view.rotation)
        cloud = Cloud(made, model.aggregator, model.config)
        whole, waves, early = (cloud.render(samples, stop) for stop in (0.0, 1e-12, 0.01))
    with torch.enable_grad():
        learnt = cloud.render(samples)
    for name, limit in (("colour", 1e-3), ("coverage", 1e-5), ("depth", 0.1)):
        for other in (waves, learnt):
            assert float((getattr(other, name) - getattr(whole, name)).detach().abs().max()) < limit, name
    assert float((early.colour - whole.colour).abs().max()) < 0.02
    assert bool((early.hit == whole.hit).all())
    if opaque:
        assert float((early.coverage - whole.hit.float()).abs().max()) < 1e-5
    else:
        assert 0.2 < float(whole.coverage[whole.hit].mean()) < 0.999


def test_published_query_visits_shells() -> None:
    """Against the rule, written out for one sample after the other; an outlier costs nothing."""
    torch.manual_seed(2)
    points = torch.cat([torch.rand(2500, 3) * 12, torch.tensor([[4e5, 4e5, 4e5]])])
    places = torch.rand(40, 30, 3) * 14 - 1
    found = query(places, points, 8, 4.0)
    rows = VoxelRows(points)
    cells = rows._cells(points)
    _, voxel, held = cells.unique(dim=0, return_inverse=True, return_counts=True)
    assert int(held.max()) <= 25
    alive = voxel != voxel[0]
    for ray in range(len(places)):
        kept = []
        for sample in range(places.shape[1]):
            apart = (rows._cells(places[ray, sample][None]) - cells).abs().amax(1)
            if int(apart.min()) <= 3:
                kept.append((sample, apart))
        row = int(found.rays[:ray].sum())
        for slot, (sample, apart) in enumerate(kept[:SLOTS]):
            distance = (points - places[ray, sample]).norm(dim=1)
            wanted: set[int] = set()
            for shell in range(4):
                seen = (alive & (apart <= shell) & (distance <= 4)).nonzero()[:, 0]
                wanted = set(seen[distance[seen].argsort()][:8].tolist())
                if len(seen) >= 8:
                    break
            assert set(found.indices[row, slot].tolist()) - {-1} == wanted


def test_published_offsets_differ_by_rounding_alone() -> None:
    """In double precision values and gradients are those of our own offsets; in single precision they are not."""
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(3, 3)).Q.double()
    centre = -1000 * rotation[2]  # a metre off
    places, points, features = (10 * torch.randn(count, 3).double() for count in (40, 300, 300))
    indices = torch.randint(-1, 300, (40, 8))
    inputs = points.requires_grad_(), features.requires_grad_()
    ours = point_mix(places, indices, *inputs, rotation, (3, 5))
    theirs = published_mix(places, indices, *inputs, (centre, rotation), (3, 5))
    torch.testing.assert_close(theirs, ours, atol=1e-9, rtol=0)
    cotangent = torch.randn_like(ours)
    for mine, their in zip(*(torch.autograd.grad(made, inputs, cotangent) for made in (ours, theirs)), strict=True):
        torch.testing.assert_close(their, mine, atol=1e-9, rtol=1e-9)
    single = [tensor.detach().float() for tensor in (places, points, features, centre, rotation)]
    rounded = published_mix(single[0], indices, single[1], single[2], (single[3], single[4]), (3, 5))
    assert 1e-4 < float((rounded - ours).detach().abs().max()) < 1e-2


def test_phases() -> None:
    rng = np.random.default_rng(0)
    grid = phases.grid_pixels(667, 1024, rng)
    assert len(grid) == pytest.approx(667 * 1024 / 6, rel=0.01) and len(np.unique(grid, axis=0)) == len(grid)
    assert len(phases.grid_pixels(40, 30, rng)) == 40 * 30  # a stride of less than a pixel
    errors = torch.zeros(phases.CELLS, phases.CELLS)
    assert len(phases.error_pixels(errors.numpy(), 80, 80, 100, rng)) == 80 * 80  # nothing known yet: a grid
    phases.record_errors(errors, torch.tensor([[75, 5], [75, 7], [5, 75]]), torch.tensor([1.0, 2.0, 0.5]), 80, 80)
    drawn = phases.error_pixels(errors.numpy(), 80, 80, 100, rng)
    assert len(drawn) == 100 and (drawn >= 0).all() and (drawn < 80).all()
    assert ((drawn >= (70, 0)) & (drawn < (80, 10))).all(1).sum() == 75
    mask = np.zeros((60, 90), bool)
    assert len(phases.patch_pixels(mask, 32, rng)) == 32 * 32  # an empty mask
    mask[0, 89] = True
    corner = phases.patch_pixels(mask, 32, rng)
    assert corner.min(0).tolist() == [58, 0] and corner.max(0).tolist() == [89, 31]
    assert len(phases.patch_pixels(mask, 340, rng)) == 60 * 60


def test_far_depths_and_the_mouth_are_left_out() -> None:
    found, measured = torch.tensor([1000.0, 1004.0, 900.0]), torch.tensor([1001.0, 1000.0, 1000.0])
    assert losses.depth(found, measured).item() == pytest.approx(5 / 3)
    vertices = torch.tensor([[0.0, 0, 0], [3, 4, 0]])
    assert losses.mesh(vertices, torch.zeros(2, 3), torch.tensor([1.0, 0])).item() == 0


def test_open_surfaces_have_borders() -> None:
    assert len(triangles(wrapped=False, capped=False)) == 2 * (SIDE - 1) ** 2
    assert len(triangles(wrapped=True, capped=False)) == 2 * (SIDE - 1) * SIDE


def test_a_head_is_learnt() -> None:
    """A ball with a coloured grid, opaque and with coverage: what is rendered comes near to it."""
    torch.manual_seed(0)
    config = replace(SMALL, opaque=False, encoder=False)
    model = Model(config, head().body).train()
    model.set_positions(sphere(), 0.5)
    view, _ = placed_view(camera(96), np.eye(4), torch.device("cpu"))
    depth = view.depth_map(position_rows(), model.faces())
    mask = (depth > 0).float()
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    photo = mask[..., None] * torch.stack([(x / 9).sin() / 2 + 0.5, y / 96, torch.full_like(x, 0.3)], -1)
    lesson = Lesson(view, photo, sphere(), torch.zeros(2), depth=depth, mask=mask)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    pixels = torch.stack([x, y], -1).long().view(-1, 2)
    errors = []
    for _ in range(25):
        outcome = learn(model, lesson, pixels[torch.randint(len(pixels), (500,))])
        optimizer.zero_grad()
        torch.stack(list(outcome.terms.values())).sum().backward()
        optimizer.step()
        errors.append(float(outcome.errors.mean()))
    assert set(outcome.terms) == {"mesh", "smoothness", "rgb", "depth", "surface_depth", "mask", "displacement"}
    assert np.mean(errors[-5:]) < 0.6 * np.mean(errors[:3])
    driven = [name for name, value in model.named_parameters() if value.grad is None]
    assert driven == []


def position_rows() -> Tensor:
    return sphere().flatten(1).T.contiguous()


class Identity:
    """A released checkpoint and the folder of its identity, as small as they may be."""

    def __init__(self, root: Path) -> None:
        from PIL import Image

        model = head()
        self.model, self.checkpoint, self.data = model, root / "checkpoint_latest.pth", root / "m--0--GHS"
        parts = ("encoder", "decoders", "aggregator")
        state = {name: value for name, value in model.state_dict().items() if name.split(".")[0] in parts}
        file = {"epoch": 2, "global_step": 7, "lossmap": np.zeros((1, 8, 8), np.float32), **checkpoint.publish(state)}
        torch.save(file, self.checkpoint)
        stored = sphere().flip(1).transpose(1, 2).numpy()  # indexed by u, then v
        gen, frames = self.data / "gendir", ("000102", "000105")
        textures = self.data / "unwrapped_uv_1024" / "SEN_a" / "average"
        for folder in (gen / "posMap" / "SEN_a", textures):
            folder.mkdir(parents=True)
        np.save(gen / "posMean.npy", stored.astype(np.float64))
        (gen / "posVar.txt").write_text("0.25\n")
        for number, frame in enumerate(frames):
            np.save(gen / "posMap" / "SEN_a" / f"{frame}.npy", stored.transpose(1, 2, 0) + number)
            Image.fromarray(np.full((1024, 1024, 3), 90 * number, np.uint8)).save(textures / f"{frame}.png")
        self.list = root / "frames.txt"
        self.list.write_text("".join(f"SEN_a {frame}\n" for frame in frames))

    def run(self, output: Path) -> int:
        options = ["--data", str(self.data), "--frames", str(self.list), "--output", str(output)]
        return main(["import", "npva", str(self.checkpoint), *options])


def test_import_of_a_released_checkpoint(tmp_path: Path) -> None:
    identity = Identity(tmp_path)
    assert identity.run(tmp_path / "id.actor") == 0
    made = Actor.load(tmp_path / "id.actor")
    assert made.schema.expressions == ("SEN_a/000105",)
    assert made.metadata["provenance"]["steps"] == 7
    found = checkpoint.read(identity.checkpoint)
    for name, value in found.state.items():
        assert torch.equal(value, identity.model.state_dict()[name]) or name.endswith("num_batches_tracked"), name
    assert made.render(Controls(expression=np.ones(1, np.float32)), camera(24)).mask.max() == pytest.approx(1, abs=1e-3)


def test_what_cannot_be_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    identity = Identity(tmp_path)

    def refused(*words: str) -> None:
        assert identity.run(tmp_path / "id.actor") == 2
        told = capsys.readouterr().err
        assert all(word in told for word in words), told

    identity.list.write_text("SEN_a 000999\n")
    refused("000999")
    identity.list.write_text("../../etc passwd\n")
    refused("frames.txt", "SEQUENCE FRAME")
    mean = identity.data / "gendir" / "posMean.npy"
    np.save(mean, np.zeros((3, 64, 64)))
    refused("posMean.npy", "(3, 256, 256)")
    mean.unlink()
    refused("posMean.npy", "identity's folder")
    torch.save({"encoder": {}, "decoder": {}, "aggregator": {}}, identity.checkpoint)
    refused("checkpoint_latest.pth", "NPVA")
