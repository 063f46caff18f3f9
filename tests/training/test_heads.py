"""A tracked head becomes an actor, in both configurations; on an analytic head that is 64 pixels wide."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avatar_core.actor import Actor
from avatar_core.body.expressions import EXPRESSIONS
from avatar_core.cuda.composite import accumulate, sample_weights
from avatar_core.data.boxes import SIDE, Box, in_box, square_in
from avatar_core.data.capture import CaptureError
from avatar_core.data.head_capture import HeadCapture, open_capture
from avatar_core.errors import AvatarError
from avatar_core.methods.nerf_blendshape.fast.model import STEP
from avatar_core.methods.nerf_blendshape.head import PlacedHead
from avatar_core.quality import QUALITIES
from avatar_core.shots import capture_shot, rest_shot
from training.evaluate import evaluate, rendered_pair
from training.options import TrainOptions
from training.sampling import RaySampler
from training.trainer import Trainer

FIXTURE = Path(__file__).parents[1] / "data" / "reference" / "nbs_fixture"
SMALL = {"levels": 6, "features": 2, "log2_size": 10, "finest": 96, "width": 32}
FAST = SMALL | {"width": 64, "voxels": 32, "step": 0.004}
PAPER = SMALL | {"density_layers": 2, "geometry": 15, "resolution": 33}


def options(folder: Path, method: str, config: dict[str, float], steps: int) -> TrainOptions:
    return TrainOptions(
        *("head", str(FIXTURE), method, str(folder), config, steps),
        **{"pictures": 2, "pixels": 192, "subpixels": 1, "checkpoint_every": 100, "evaluate_pictures": 2},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Actor:
    folder = tmp_path_factory.mktemp("fast")
    return Actor.load(Trainer(options(folder, "nerf_blendshape", FAST, 200)).run())


def test_camera_stands_still_and_the_head_moves() -> None:
    capture = open_capture(FIXTURE)
    assert isinstance(capture, HeadCapture)
    camera, source = capture.cameras[0].camera, capture.source
    for frame in (0, 4):
        head = capture.frames[frame].controls.head
        assert head is not None
        points = np.array([[0, 0, 0.1], [0.05, 0.05, 0], [-0.08, 0, 0]])
        moved = points @ head[:3, :3].T + head[:3, 3]
        wanted, depth = source.frames[frame].camera.project(points)
        np.testing.assert_allclose(camera.project(moved)[0], wanted, atol=1e-3)
        np.testing.assert_allclose(camera.project(moved)[1], depth, atol=1e-6)
    assert [frame.split for frame in capture.frames].count("test") == 1
    shot = capture_shot(FIXTURE, None)
    assert len(shot) == len(capture.frames)


def test_fast_configuration_learns_expressions(trained: Actor) -> None:
    capture = HeadCapture.open(FIXTURE)
    figures = evaluate(trained, capture, 2, "preview").sets
    assert list(figures) == ["novel_pose"] and figures["novel_pose"]["psnr"] > 17
    assert figures["novel_pose"]["mask_iou"] > 0.75
    opened = int(np.argmax([frame.controls.expression[EXPRESSIONS.index("jawOpen")] for frame in capture.frames]))
    _, rendered = rendered_pair(trained, capture, 0, opened, "preview")
    shut = replace(capture.frames[opened].controls, expression=np.zeros(len(EXPRESSIONS), np.float32))
    still = trained.render(shut, capture.cameras[0].camera, "preview")
    assert np.abs(still.mask - rendered.alpha).max() > 0.1


def test_a_picture_is_what_all_samples_add_up_to(trained: Actor) -> None:
    """Though opaque rays leave, and samples of little weight are not asked for their colour."""
    capture, model = HeadCapture.open(FIXTURE), trained._model
    controls, quality = capture.frames[3].controls, QUALITIES["preview"]
    assert controls.head is not None
    with torch.no_grad():
        table = model.mixed(controls.expression)
        origins, directions, _ = model.field_rays(PlacedHead(controls.head), capture.cameras[0].camera)
        found = model.shade(origins, directions, table, quality, lambda: None)
        samples = model.grid().sample(origins, directions, quality.step * STEP * model.config.scale)
        ray = samples.ray
        points = origins[ray] + samples.distance[:, None] * directions[ray]
        density, colour = model.field(points, directions[ray], table)
        weight = sample_weights(density * samples.step, ray)
        coverage = accumulate(weight, None, ray, len(origins))
    assert coverage.max() > 0.95
    torch.testing.assert_close(found.coverage, coverage, atol=0.02, rtol=0)
    wanted = accumulate(weight, colour, ray, len(origins))
    torch.testing.assert_close(found.colour, wanted, atol=0.06, rtol=0)
    assert (found.colour - wanted).abs().mean() < 2e-3


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    for method, config in (("nerf_blendshape", FAST), ("nerf_blendshape_paper", PAPER)):
        whole, half = (options(tmp_path / f"{method}{i}", method, config, 12) for i in range(2))
        one, two = Trainer(whole), Trainer(half)
        for _ in range(12):
            last = one.train_step()
        for _ in range(10):
            two.train_step()
        two._save()
        two = Trainer(half)
        assert two.step == 10
        for _ in range(2):
            again = two.train_step()
        assert again == pytest.approx(last, rel=1e-3)


def test_published_configuration_learns(tmp_path: Path) -> None:
    trainer = Trainer(options(tmp_path, "nerf_blendshape_paper", PAPER, 60))
    for group in (group for optimizer in trainer.optimizers for group in optimizer.param_groups):
        group["lr"] *= 5
    first = trainer.train_step()
    for _ in range(40):
        last = trainer.train_step()
    assert set(last) == {"absolute", "mask", "colour"} and last["mask"] < first["mask"]
    trainer.model.update_grid()
    before = trainer.model.occupied().sum()
    trainer.model.after_step(20001, 30000)
    assert "face" in trainer.train_step() and before > 0


def test_long_films_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture, wanted = HeadCapture.open(FIXTURE), options(tmp_path, "nerf_blendshape", FAST, 5)
    roomy = RaySampler(capture, wanted)
    monkeypatch.setattr("training.sampling.ROOM", 70_000)
    tight = RaySampler(capture, wanted)
    for step in range(8):
        for one, two in zip(roomy.draw(step), tight.draw(step), strict=True):
            np.testing.assert_array_equal(one.rgba, two.rgba)
            np.testing.assert_array_equal(one.pixels, two.pixels)
    assert len(tight._cache) <= 3 < len(roomy._cache)


def test_patches_lie_in_their_box() -> None:
    rng = np.random.default_rng(0)
    for box in (Box(40, 30, 120, 90), Box(5, 5, 20, 12), Box(100, 100, 127, 127)):
        for _ in range(20):
            x, y = square_in(box, (128, 128), rng).T
            assert len(x) == SIDE**2 and x.min() >= 0 and y.min() >= 0 and max(x.max(), y.max()) < 128
            if box.right - box.left >= SIDE and box.bottom - box.top >= SIDE:
                assert x.min() >= box.left and x.max() < box.right and y.min() >= box.top and y.max() < box.bottom
        x, y = in_box(box, (128, 128), 1000, rng).T
        inside = (x >= box.left) & (x < box.right) & (y >= box.top) & (y < box.bottom)
        assert 890 < inside.sum() < 990


def test_another_number_of_coefficients(tmp_path: Path) -> None:
    """Those of another tracker train under the names that the config gives them; without names it is said."""
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "head"))
    path = folder / "transforms.json"
    data = json.loads(path.read_text())
    for entry in data["frames"]:
        entry["exp_ori"] = entry["exp_ori"][:9]
    path.write_text(json.dumps(data))
    wanted = replace(options(tmp_path / "run", "nerf_blendshape", FAST, 5), capture=str(folder))
    with pytest.raises(AvatarError, match=r"9 coefficients a frame, and the method's config names 46: name yours"):
        Trainer(wanted)
    trainer = Trainer(replace(wanted, config=FAST | {"expressions": [f"mine_{k}" for k in range(9)]}))
    trainer.train_step()
    assert trainer.model.schema.expressions[8] == "mine_8" and len(trainer.model.field.tables) == 10
    frames = HeadCapture.open(folder)
    lowest = np.min([frames.frames[f].controls.expression for f in trainer.sampler.frames], 0)
    np.testing.assert_allclose(trainer.model.lowest[1:], lowest, atol=1e-3)


def test_late_squares_of_face_and_mouth_are_compared_by_features(tmp_path: Path) -> None:
    trainer = Trainer(replace(options(tmp_path, "nerf_blendshape", FAST, 5), pixels=256))

    def distance(rendered: torch.Tensor, captured: torch.Tensor) -> torch.Tensor:
        return (rendered - captured).square().mean()

    batches = [batch for step in range(12) for batch in trainer.sampler.draw(step, distance)]
    squares = [batch for batch in batches if batch.perceptual is not None]
    assert 4 < len(squares) < 20
    for batch in squares:
        across = batch.pixels[:, 0].reshape(16, 16, 2)
        np.testing.assert_array_equal(across[3, 5] - across[0, 0], [5, 3])
        face, _ = trainer.capture.boxes(batch.frame)
        assert face.left <= across[8, 8, 0] <= face.right and face.top <= across[8, 8, 1] <= face.bottom
    assert "perceptual" not in trainer.model.losses(squares[:1], 0.1)
    late = trainer.model.losses(squares[:1], 0.9)
    torch.testing.assert_close(late["perceptual"] * 3, late["colour"] * 3)


def test_what_no_head_can_be_learnt_from(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "head"))
    for path in (folder / "parsing").iterdir():
        shutil.copyfile(FIXTURE / "bc.jpg", path)  # labels without a head
    with pytest.raises(CaptureError, match="leave nothing where they meet"):
        Trainer(replace(options(tmp_path / "run", "nerf_blendshape", FAST, 5), capture=str(folder)))
    with pytest.raises(AvatarError, match="'principal' is of imported actors"):
        Trainer(options(tmp_path / "run", "nerf_blendshape", FAST | {"principal": 20}, 5))
    with pytest.raises(AvatarError, match="none is left before frame -99"):
        Trainer(replace(options(tmp_path / "run", "nerf_blendshape", FAST, 5), test_start=-99))


def test_rest_pose_fills_the_picture(trained: Actor) -> None:
    shot = rest_shot(trained, (24, 24))
    frame = trained.render(shot.frames[0], shot.cameras[0], "draft")
    assert 0.05 < frame.mask.mean() < 0.8


def test_values_far_away_do_no_harm(trained: Actor) -> None:
    rest = trained.schema.neutral()
    camera = HeadCapture.open(FIXTURE).cameras[0].camera.scaled(0.2)
    for scale in (1e-3, 1.0, 1e3):
        head = np.diag([scale, scale, scale, 1]).astype(np.float32)
        head[2, 3] = -0.3
        frame = trained.render(replace(rest, head=head), camera, "draft")
        assert np.isfinite(frame.rgba).all() and torch.isfinite(torch.as_tensor(frame.normal)).all()
