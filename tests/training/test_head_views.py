"""NPVA on a small capture of the studio's head before three cameras."""

from __future__ import annotations

import json
import os
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
from avatar_core.methods.npva import Model, encoder
from avatar_core.methods.npva.importer import frame_latent
from training.evaluate import rendered_pair
from training.heads import student
from training.heads.replay import DRIVERS
from training.heads.trainer import HeadTrainer
from training.options import TrainOptions

SIZE, STEPS = 48, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return head_views(tmp_path_factory.mktemp("views"))


def head_views(folder: Path) -> Path:
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
            mask, mesh = identity.mask(moment, camera), identity.depth(moment, camera) > 0
            assert (shown & mesh).sum() / (shown | mesh).sum() > 0.9
            assert (shown[mask]).all() and (shown & mask).sum() / shown.sum() > 0.9  # its border is half covered


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
    assert again.step == 1 and again.model.errors.any()
    again.train_step()
    for name, value in again.model.state_dict().items():
        torch.testing.assert_close(value, whole.model.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)
    actor = Actor.load(tmp_path / "whole" / "head.actor")
    assert {"novel_view", "novel_pose"} <= set(actor.metadata["provenance"]["metrics"])
    assert "jawOpen" in actor.schema.expressions


def test_two_processes_learn_alike(folder: Path, tmp_path: Path) -> None:
    """As the documentation has it; one of them writes."""
    config = tmp_path / "two.yaml"
    config.write_text(
        yaml.safe_dump(vars(options(folder, tmp_path / "run", steps=1, minutes=1e9, evaluate_pictures=0)))
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
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
    bare.mkdir()
    for part in folder.iterdir():
        if part.name != "expressions.txt":
            (bare / part.name).symlink_to(part)
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
    ((path, panels),) = replayed(tmp_path / "head.actor", folder, tmp_path / "frames").items()
    captured, drawn, overlaid = panels
    identity = Identity.open(folder)
    moment, camera = identity.moments[2], identity.cameras[0]
    mask, shown, mesh = (
        identity.mask(moment, camera),
        identity.image(moment, camera),
        identity.depth(moment, camera) > 0,
    )
    assert path == "E001_000006.png"
    assert (captured[mask] == shown[mask]).all() and (captured[~mask] == 255).all()
    changed = (drawn != overlaid).any(-1)
    assert changed[mesh].mean() > 0.95 and not changed[~mesh].any()


def test_what_cannot_be_replayed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = HeadTrainer(options(folder, tmp_path / "run"))
    trainer.actor({}).save(tmp_path / "head.actor")
    listed = tmp_path / "list.txt"
    listed.write_text("E001 000099\n")
    for wrong, words in (
        (("--camera", "nobody"), "there is no 'nobody'"),
        (("--frames", str(listed)), "list.txt, frame 1"),
        (("--by", "mesh"), "'mesh: true'"),
        (("--by", "encoder"), "without an encoder"),
    ):
        command = ["replay-head", str(tmp_path / "head.actor"), str(folder), "--output", str(tmp_path / "frames")]
        assert main([*command, *wrong]) == 2
        assert words in capsys.readouterr().err


def test_textures_and_meshes_drive(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the encoder in training, a frame that it knows is the same by texture and mesh, by the mesh alone, and by
    coefficients. As published, but for its first layer, which is narrow here."""
    monkeypatch.setattr(encoder, "_WIDTH", 8)
    plain = options(folder, tmp_path / "run", steps=1)
    trainer = HeadTrainer(replace(plain, config={**plain.config, "encoder": True, "mesh": True}))
    assert "kl" in trainer.train_step()
    trainer.actor({}).save(tmp_path / "head.actor")
    listed = tmp_path / "list.txt"
    listed.write_text("E001 000003\n")  # no list of what is held out: training saw it
    ways = {}
    for by in DRIVERS:
        shown = replayed(tmp_path / "head.actor", folder, tmp_path / by, "--frames", str(listed), "--by", by)
        ways[by] = shown["E001_000003.png"][1]
    for by in DRIVERS[1:]:
        assert np.abs(ways[by] - ways["encoder"]).mean() < 1, by
    model = Actor.load(tmp_path / "head.actor").model
    assert isinstance(model, Model)
    one, other = (frame_latent(model, folder, "E001", frame) for frame in ("000000", "000003"))
    assert float((one - other).detach().abs().max()) > 1e-3


def replayed(actor: Path, folder: Path, output: Path, *choices: str) -> dict[str, list[np.ndarray]]:
    """By name: captured, rendered, and below the mesh."""
    assert main(["replay-head", str(actor), str(folder), "--output", str(output), *choices]) == 0
    return {path.name: np.split(np.asarray(Image.open(path)).astype(int), 3, 1) for path in output.iterdir()}
