"""Training learns, survives a kill -9, and says what is wrong. The subject is the shipped actor, filmed by itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from avatar_core.actor import Actor
from avatar_core.camera import Camera
from avatar_core.config import ConfigError
from avatar_core.cuda.raster import homogeneous_pixels, interpolate, rasterise
from avatar_core.data.capture import Capture, CaptureCamera, CaptureFrame
from avatar_core.errors import AvatarError
from avatar_core.frame import to_png8
from tests.command import avatar
from training.evaluate import Picture, _measure, evaluate, texture_set
from training.metrics import mask_box, psnr, ssim
from training.options import read_train_options
from training.textures import posed_surface
from training.trainer import Trainer

SIDE = 48


@pytest.fixture(scope="module")
def capture(tiny_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Capture:
    """Six cameras, three poses, 48 pixels."""
    actor = Actor.load(tiny_actor)
    cameras = [
        CaptureCamera(
            f"camera_{i}",
            Camera.look_at(np.array([2.8 * np.sin(a), 0.2, 2.8 * np.cos(a)]), np.array([0, -0.2, 0]), 0.72, SIDE, SIDE),
            "test" if i == 2 else "train",
        )
        for i, a in enumerate(np.linspace(0, 2 * np.pi, 6, endpoint=False))
    ]
    frames = []
    for i, bend in enumerate((0.0, 0.5, 1.0)):
        pose = np.zeros((24, 3), np.float32)
        pose[16, 2], pose[17, 2], pose[4, 0] = -bend, bend, bend
        frames.append(CaptureFrame(i, replace(actor.schema.neutral(), pose=pose), "test" if i == 1 else "train"))
    folder = tmp_path_factory.mktemp("capture")
    made = Capture.create(folder, "mirror", "CC0-1.0", 30.0, cameras, frames, actor.body)
    for c, f in made.missing():
        made.image_path(c, f).parent.mkdir(parents=True, exist_ok=True)
        frame = actor.render(made.frames[f].controls, made.cameras[c].camera, "draft")
        Image.fromarray(to_png8(frame), "RGBA").save(made.image_path(c, f))
    return Capture.open(folder)


def config(capture: Capture, tmp_path: Path, /, **changes: object) -> Path:
    options = {
        "name": "mirror",
        "capture": str(capture.folder),
        "method": "neural_actor",
        "output": str(tmp_path / "run"),
        "steps": 120,
        "pictures": 2,
        "pixels": 120,
        "checkpoint_every": 10,
        "log_every": 5,
        "picture_every": 100,
        "evaluate_pictures": 2,
        "config": {"levels": 8, "log2_table": 12, "finest_resolution": 256, "hidden": 32},
    }
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(options | changes))
    return path


def test_it_learns_logs_and_leaves_a_measured_actor(capture: Capture, tmp_path: Path) -> None:
    path = Trainer(read_train_options(config(capture, tmp_path))).run()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["psnr"] > lines[0]["psnr"] + 3
    assert (tmp_path / "run" / "pictures" / "0000100.png").exists()
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    actor = Actor.load(path)
    metrics = actor.metadata["provenance"]["metrics"]
    assert {"novel_view", "novel_pose"} == set(metrics)
    assert metrics["novel_view"]["mask_iou"] > 0.3
    assert actor.preview is not None and actor.preview[..., 3].max() > 200


def test_a_killed_run_goes_on_to_the_same_result(capture: Capture, tmp_path: Path) -> None:
    straight = Trainer(read_train_options(config(capture, _made(tmp_path, "a"), steps=30)))
    while straight.step < 30:
        straight.train_step()
    path = config(capture, _made(tmp_path, "b"), steps=30)
    process = subprocess.Popen([sys.executable, "-m", "avatar_core.cli", "train", str(path)], stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "b" / "run" / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    again = Trainer(read_train_options(path))
    assert 10 <= again.step <= 30
    while again.step < 30:
        again.train_step()
    for name, value in straight.model.state_dict().items():
        assert np.allclose(value.numpy(), again.model.state_dict()[name].numpy(), atol=1e-3), name


def test_a_run_by_the_clock_ends_with_a_low_learning_rate(capture: Capture, tmp_path: Path) -> None:
    trainer = Trainer(read_train_options(config(capture, tmp_path, steps=100_000, minutes=0.05)))
    while trainer.progress < 1:
        trainer.train_step()
    assert trainer.step < 1000
    assert trainer.optimizers[0].param_groups[0]["lr"] < trainer.model.parameter_groups()[0]["lr"] / 5


def test_a_run_goes_on_longer_and_not_with_other_options(capture: Capture, tmp_path: Path) -> None:
    trainer = Trainer(read_train_options(config(capture, tmp_path)))
    trainer.train_step()
    trainer._save()
    with pytest.raises(ConfigError, match="other options"):
        Trainer(read_train_options(config(capture, tmp_path, pixels=60)))
    longer = Trainer(read_train_options(config(capture, tmp_path, steps=90, minutes=5)))
    assert longer.step == trainer.step > 0
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(AvatarError, match="damaged"):
        Trainer(read_train_options(config(capture, tmp_path)))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"stepz": 5}, "unknown option 'stepz'; did you mean 'steps'"),
        ({"steps": "many"}, "'steps' must be a int"),
        ({"steps": 0}, "at least 1"),
        ({"config": {"hiden": 3}}, "did you mean 'hidden'"),
        ({"capture": "/nowhere"}, "/nowhere"),
        ({"method": "telepathy"}, "unknown method"),
        ({"device": "gpu9"}, "the device 'gpu9' cannot be used"),
        ({"method": "neural_actor_paper", "config": {}}, "make it with: avatar textures"),
    ],
)
def test_wrong_options_are_named(capture: Capture, tmp_path: Path, changes: dict, words: str) -> None:
    path = config(capture, tmp_path, **changes)
    done = avatar("train", str(path))
    assert done.returncode == 2, done.stderr
    assert words in done.stderr and done.stderr.startswith("error: ")


def test_a_run_that_measures_nothing_leaves_its_actor(capture: Capture, tmp_path: Path) -> None:
    path = Trainer(read_train_options(config(capture, tmp_path, steps=1, evaluate_pictures=0))).run()
    actor = Actor.load(path)
    assert actor.metadata["provenance"]["metrics"] == {} and actor.preview is not None


def test_squares_are_compared_by_features(capture: Capture, tmp_path: Path) -> None:
    """Half of the pictures of a step are squares, and the loss reaches the field; a file that is not there is named."""
    sizes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
    torch.manual_seed(0)
    state = {f"features.{n}.weight": 0.3 * torch.randn(*s, 3, 3) / s[1] ** 0.5 for n, s in sizes.items()}
    torch.save(state | {f"features.{n}.bias": torch.zeros(s[0]) for n, s in sizes.items()}, tmp_path / "vgg16.pth")
    changes = {"perceptual": str(tmp_path / "vgg16.pth"), "perceptual_weight": 1.0, "pixels": 256, "subpixels": 1}
    trainer = Trainer(read_train_options(config(capture, tmp_path, **changes)))
    batches = [batch for step in range(24) for batch in trainer.sampler.draw(step, trainer.perceptual)]
    squares = [batch for batch in batches if batch.perceptual is not None]
    assert 10 < len(squares) < 38
    for batch in squares:
        corner, across = batch.pixels[0, 0], batch.pixels[:, 0].reshape(16, 16, 2)
        np.testing.assert_array_equal(across[3, 5] - corner, [5, 3])
    trainer.model.losses(squares[:1], 0.0)["perceptual"].backward()
    assert float(trainer.model.field.fine.table.grad.abs().max()) > 0
    with pytest.raises(AvatarError, match=r"none.pth cannot be read"):
        Trainer(read_train_options(config(capture, tmp_path, **changes | {"perceptual": "none.pth", "output": "x"})))


def test_an_actor_is_as_good_as_itself(capture: Capture, tiny_actor: Path) -> None:
    """The pictures come from this very actor: only quality and 8 bits are between them."""
    sets = evaluate(Actor.load(tiny_actor), capture, 2, "draft").sets
    assert sets["novel_view"]["box_psnr"] > 40 and sets["novel_pose"]["box_ssim"] > 0.98


def test_metrics_by_hand() -> None:
    white = np.ones((16, 16, 3))
    assert psnr(white, white * 0.9) == pytest.approx(20)
    assert psnr(white, white) == 100 and ssim(white, white) == pytest.approx(1)
    noise = np.random.default_rng(0).random((16, 16, 3))
    assert ssim(white, noise) < 0.3
    mask = np.zeros((9, 9))
    mask[2:5, 3:8] = 1
    assert mask_box(mask) == (slice(2, 5), slice(3, 8)) and mask_box(mask * 0) is None


def test_people_narrower_than_the_window_are_measured() -> None:
    alpha = np.zeros((32, 32), np.float32)
    alpha[4:30, 12:16] = 1
    picture = Picture(np.ones((32, 32, 3), np.float32), alpha)
    (row,) = _measure(picture, picture, None)
    assert row["box_ssim"] == pytest.approx(1)


def _made(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


@pytest.fixture(scope="module")
def textured(capture: Capture) -> Capture:
    """The capture, with its texture maps."""
    done = avatar("textures", str(capture.folder), "--size", "128")
    assert done.returncode == 0, done.stderr
    return capture


def test_textures_look_right_from_a_camera_that_did_not_make_them(textured: Capture) -> None:
    """The body with its map, seen by the held-out camera, is the picture that this camera took."""
    camera = next(i for i, view in enumerate(textured.cameras) if view.split == "test")
    body, view = textured.body, textured.cameras[camera].camera
    vertices, _ = posed_surface(body, textured.frames[0].controls)
    raster = rasterise(homogeneous_pixels(vertices, view), torch.as_tensor(body.faces).long(), SIDE, SIDE)
    uv = interpolate(torch.as_tensor(body.uv), torch.as_tensor(body.face_uv).long(), raster.face, raster.bary).numpy()
    texture = np.asarray(Image.open(textured.map_path("textures", 0))).astype(float) / 255
    size = len(texture)
    columns, rows = (uv[..., 0] * size).astype(int), ((1 - uv[..., 1]) * size).astype(int)
    shown = texture[rows.clip(0, size - 1), columns.clip(0, size - 1)]
    picture = textured.image(camera, 0).astype(float) / 255
    inside = (raster.face.numpy() >= 0) & (picture[..., 3] > 0.98)
    assert inside.sum() > 100
    assert psnr(shown[inside], picture[inside][:, :3]) > 16
    assert psnr(shown[inside][::-1], picture[inside][:, :3]) < 12  # another place of the map does not do


def test_only_training_frames_have_textures_and_all_have_normals(textured: Capture) -> None:
    for frame, moment in enumerate(textured.frames):
        for name in ("textures", "confidence"):
            assert textured.map_path(name, frame).exists() == (moment.split == "train")
        normals = np.asarray(Image.open(textured.map_path("normals", frame))).astype(float) / 127.5 - 1
        length = np.linalg.norm(normals, axis=2)
        assert (np.abs(length[length > 0.5] - 1) < 0.03).mean() > 0.99 and (length > 0.5).mean() > 0.3


def test_published_configuration_trains_on_texture_maps(textured: Capture, tmp_path: Path) -> None:
    changes = {
        "method": "neural_actor_paper",
        "config": {"texture_size": 64, "textures": 2},
        "steps": 40,
        "pictures": 1,
        "pixels": 32,
        "subpixels": 1,
        "refine_poses": True,
    }
    trainer = Trainer(read_train_options(config(textured, tmp_path, **changes)))
    steps = [trainer.train_step() for _ in range(30)]
    assert set(steps[0]) == {"colour", "mask", "alpha", "deformation", "refinement"}
    first, last = (np.mean([losses["colour"] for losses in part]) for part in (steps[:5], steps[-5:]))
    assert last < 0.7 * first
    path = tmp_path / "paper.actor"
    trainer.actor({}).save(path)
    actor = Actor.load(path)
    assert actor.metadata["config"]["textures"] == 2 and actor._model.textures.maps.float().std() > 10


def test_maps_of_held_out_frames_are_compared(textured: Capture, tmp_path: Path) -> None:
    """A painter that has not learnt yet is as good as the mean; other methods have no maps."""
    folder = shutil.copytree(textured.folder, tmp_path / "copy")
    kept = textured.map_path("textures", 0).read_bytes()
    assert avatar("textures", str(folder), "--size", "64", "--held-out").returncode == 0
    capture = Capture.open(folder)
    assert capture.map_path("textures", 0).read_bytes() == kept and capture.map_path("confidence", 1).exists()
    changes = {"method": "neural_actor_paper", "config": {"texture_size": 64, "encoder": "compact"}}
    actor = Trainer(read_train_options(config(capture, tmp_path, **changes))).actor({})
    row = texture_set(actor, capture)["novel_pose_texture"]
    assert row["pictures"] == 1 and row["psnr"] > 10 and abs(row["psnr"] - row["mean_psnr"]) < 0.01
    assert texture_set(actor, textured) == {}  # no maps of held-out frames
