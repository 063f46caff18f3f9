"""NPVA on a small capture of the studio's head before three cameras."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from avatar_core.actor import Actor
from avatar_core.cli import main
from avatar_core.data.multiface import Identity
from avatar_core.data.multiface_capture import MultifaceCapture
from training.evaluate import rendered_pair
from training.heads import student
from training.heads.trainer import HeadTrainer
from training.options import TrainOptions

SIZE, STEPS = 48, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    size = ("--views", "3", "--frames", "3", "--resolution", str(SIZE))
    assert main(["capture", "--head", *size, "--output", str(folder)]) == 0
    assert main(["prepare-head", str(folder)]) == 0
    return folder


def options(folder: Path, output: Path, **changes: object) -> TrainOptions:
    config = {"fine": False, "features": 4, "width": 16, "driver": 0}
    values = {"steps": STEPS, "pictures": 1, "pixels": 150, "evaluate_pictures": 1, "log_every": 1, **changes}
    return TrainOptions("head", str(folder), "npva", str(output), config, **values)  # type: ignore[arg-type]


def test_the_tracked_mesh_is_where_pictures_show_the_head(folder: Path) -> None:
    identity = Identity.open(folder)
    for moment in identity.moments:
        for camera in identity.cameras:
            shown = identity.image(moment, camera).max(-1) > 10
            mask = identity.mask(moment, camera)
            assert (shown & mask).sum() / (shown | mask).sum() > 0.9


def test_what_is_held_out(folder: Path) -> None:
    capture = MultifaceCapture.open(folder)
    assert [frame.split for frame in capture.frames] == ["train", "train", "test"]
    assert [camera.split for camera in capture.cameras] == ["train", "test", "train"]
    listed = folder / "other.txt"
    listed.write_text("E001 000000\n")
    assert [f.split for f in MultifaceCapture.open(folder, listed).frames] == ["test", "train", "train"]


def test_the_capture_shows_the_surface_where_the_model_draws_it(folder: Path, tmp_path: Path) -> None:
    """A head that is its mean surface covers the mask of the tracked mesh, from every camera."""
    trainer = HeadTrainer(options(folder, tmp_path / "run"))
    model = trainer.model.model
    torch.nn.init.constant_(model.aggregator.density[-1].bias, 4.0)
    model.deviation.zero_()
    capture = trainer.capture
    for camera in range(2):
        truth, rendered = rendered_pair(trainer.actor({}), capture, camera, 0, "preview")
        mask, drawn = truth.alpha > 0.5, rendered.alpha > 0.5
        assert (mask & drawn).sum() / (mask | drawn).sum() > 0.85


def test_training_resumes_and_is_measured(folder: Path, tmp_path: Path) -> None:
    whole = HeadTrainer(options(folder, tmp_path / "whole"))
    assert whole.run().exists()
    half = HeadTrainer(options(folder, tmp_path / "half"))
    half.train_step()
    half._save()
    again = HeadTrainer(options(folder, tmp_path / "half"))
    assert again.step == 1 and (again.model.errors.numpy() == again.model.maps.values).all()
    assert again.model.errors.any()
    again.train_step()
    for name, value in again.model.state_dict().items():
        torch.testing.assert_close(value, whole.model.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)
    actor = Actor.load(tmp_path / "whole" / "head.actor")
    assert {"novel_view", "novel_pose"} <= set(actor.metadata["provenance"]["metrics"])
    assert "jawOpen" in actor.schema.expressions


def test_two_processes_learn_alike(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "two.yaml"
    config.write_text(yaml.safe_dump(vars(options(folder, tmp_path / "run", steps=1, minutes=1e9))))
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "0",
        "--standalone",
    ]
    result = subprocess.run(
        [*launch, "-m", "avatar_core.cli", "train", str(config)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.count("wrote ") == 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1] and np.isfinite(lines[0]["rgb"])


def test_without_coefficients_frames_are_expressions(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("expressions.txt"))
    assert MultifaceCapture.open(bare).names[1] == "E001/000003"
    plain = options(bare, tmp_path / "run", minutes=1e9)
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(vars(plain)))
    assert main(["train", str(config)]) == 2  # an encoder is needed
    latents = {f"{3 * k:06d}": torch.randn(1, 4, 8, 8) for k in range(3)}
    monkeypatch.setattr(student, "frame_latent", lambda model, data, sequence, frame: latents[frame])
    trainer = HeadTrainer(replace(plain, config={**plain.config, "encoder": True}))
    model, _ = trainer.model.finished(trainer.capture)
    for frame, latent in zip(trainer.capture.frames, latents.values(), strict=True):
        found = model.driver(torch.as_tensor(frame.controls.expression))
        torch.testing.assert_close(found, latent, rtol=1e-3, atol=1e-3)


def test_replay(folder: Path, tmp_path: Path) -> None:
    trainer = HeadTrainer(options(folder, tmp_path / "run"))
    trainer.actor({}).save(tmp_path / "head.actor")
    output = tmp_path / "frames"
    assert main(["replay-head", str(tmp_path / "head.actor"), str(folder), "--output", str(output)]) == 0
    (path,) = output.iterdir()
    captured, drawn, overlaid = np.split(np.asarray(Image.open(path)).astype(int), 3, 1)
    identity = Identity.open(folder)
    mask = identity.mask(identity.moments[2], identity.cameras[0])
    shown = identity.image(identity.moments[2], identity.cameras[0])
    assert (captured[mask] == shown[mask]).all() and (captured[~mask] == 255).all()
    changed = (drawn != overlaid).any(-1)
    assert changed[mask].mean() > 0.95 and not changed[~mask].any()
    wrong = ["--camera", "nobody"]
    assert main(["replay-head", str(tmp_path / "head.actor"), str(folder), "--output", str(output), *wrong]) == 2
