"""What is rendered: recorded motions, camera paths, circles and body shapes from the command line."""

from __future__ import annotations

import json
import pickle
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from avatar_core.actor import Actor
from avatar_core.commands.render import add_shot_arguments, read_shot_arguments
from avatar_core.data.neural_actor import NeuralActorFolder
from avatar_core.errors import AvatarError
from avatar_core.shots import Shot

PUBLISHED = Path(__file__).parents[1] / "data" / "reference" / "na_fixture"


@pytest.fixture(scope="module")
def actor(tiny_actor: Path) -> Actor:
    return Actor.load(tiny_actor)


def shot(actor: Actor, *words: str) -> Shot:
    parser = ArgumentParser()
    add_shot_arguments(parser)
    return read_shot_arguments(parser.parse_args(words), actor)


@pytest.fixture(scope="module")
def motions(actor: Actor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One motion of three frames as each system stores it."""
    folder = tmp_path_factory.mktemp("motions")
    random = np.random.default_rng(2)
    poses = 0.3 * random.standard_normal((3, 24, 3))
    poses[:, 22:] = 0
    places = random.standard_normal((3, 3))
    z_up = Rotation.from_euler("x", 90, degrees=True)  # y-up to z-up
    pelvis = actor.body.joints()[0]
    turn = Rotation.from_rotvec(poses[:, 0])
    amass = np.concatenate([poses[:, :22], np.zeros((3, 30, 3))], 1)
    amass[:, 0] = (z_up * turn).as_rotvec()
    np.savez(folder / "amass.npz", poses=amass.reshape(3, -1), trans=z_up.apply(places + pelvis) - pelvis)
    aist = {"smpl_poses": poses.reshape(3, 72), "smpl_trans": 93.0 * places, "smpl_scaling": np.array([93.0])}
    (folder / "aist.pkl").write_bytes(pickle.dumps(aist))
    (folder / "easymocap").mkdir()
    for number in range(3):
        person = {
            "id": 3,
            "Rh": [(z_up * turn)[number].as_rotvec().tolist()],
            "Th": [z_up.apply(places[number] + pelvis - turn[number].apply(pelvis)).tolist()],
            "poses": [[0.0] * 3 + poses[number, 1:].ravel().tolist()],
            "shapes": [[2.0] + [0.0] * 9],
        }
        (folder / "easymocap" / f"{number:06d}.json").write_text(json.dumps([person]))
    return {name: folder / name for name in ("amass.npz", "aist.pkl", "easymocap")}


def test_recorded_motions_move_the_actor_alike(actor: Actor, motions: dict[str, Path]) -> None:
    made = {name: shot(actor, "--motion", str(path), "--resolution", "60x80") for name, path in motions.items()}
    wanted = [actor.proxy_mesh(frame)[0] for frame in made["aist.pkl"].frames]
    for name, one in made.items():
        assert len(one) == 3
        for frame, vertices in zip(one.frames, wanted):
            found = actor.proxy_mesh(frame)[0]
            np.testing.assert_allclose(found, vertices, atol=1e-4, err_msg=name)
            pixels, depth = one.cameras[0].project(found)
            assert (depth > 0).all() and (pixels >= 0).all() and (pixels <= (60, 80)).all()
    turned = shot(actor, "--motion", str(motions["aist.pkl"]), "--up", "z")
    assert np.ptp(actor.proxy_mesh(turned.frames[0])[0], axis=0).argmax() != np.ptp(wanted[0], axis=0).argmax()


@pytest.mark.parametrize(
    "name, words",
    [("walk.bvh", "is no motion: give"), ("bad.npz", "poses"), ("evil.pkl", "evil.pkl"), ("empty", "has no frame")],
)
def test_what_is_no_motion_is_named(actor: Actor, tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    elif name == "bad.npz":
        np.savez(path, trans=np.zeros((3, 3)))
    elif name == "evil.pkl":
        path.write_bytes(pickle.dumps({"smpl_poses": Path("/")}))
    else:
        path.write_text("HIERARCHY")
    with pytest.raises(AvatarError, match=words):
        shot(actor, "--motion", str(path))


def test_a_folder_of_poses_as_in_gdnas_demo(actor: Actor, tmp_path: Path) -> None:
    poses = np.random.default_rng(0).normal(0, 0.3, (3, 72))
    for number, pose in enumerate(poses):
        np.savez(tmp_path / f"{number:05d}.npz", pose=pose)
    frames = shot(actor, "--motion", str(tmp_path)).frames
    np.testing.assert_allclose([frame.pose.ravel()[:66] for frame in frames], poses[:, :66], atol=1e-5)
    np.savez(tmp_path / "00003.npz", pose=poses[0, :60])
    with pytest.raises(AvatarError, match="60, 72 numbers"):
        shot(actor, "--motion", str(tmp_path))
    np.savez(tmp_path / "00003.npz", betas=poses[0])
    with pytest.raises(AvatarError, match=r"00003\.npz.*'pose'"):
        shot(actor, "--motion", str(tmp_path))


def test_a_camera_path_from_a_folder_or_a_file(actor: Actor, tmp_path: Path) -> None:
    wanted = NeuralActorFolder.open(PUBLISHED).cameras
    table = tmp_path / "path.txt"
    files = sorted((PUBLISHED / "pose").iterdir())
    table.write_text("\n".join(" ".join(path.read_text().split()) for path in files))
    for source in (PUBLISHED / "pose", table):
        found = shot(actor, "--capture", str(PUBLISHED), "--cameras", str(source))
        assert len(found) == len(wanted)
        for camera, other in zip(found.cameras, wanted):
            np.testing.assert_allclose(camera.world_to_camera, other.world_to_camera, atol=1e-6)
            np.testing.assert_array_equal(camera.K, wanted[0].K)
    table.write_text(table.read_text().replace(" ", " x ", 1))
    with pytest.raises(AvatarError, match=r"path.txt, line 1: a camera's pose is a rigid 4x4 matrix"):
        shot(actor, "--cameras", str(table))


def test_a_circle_by_radius_and_height(actor: Actor) -> None:
    circle = shot(actor, "--orbit", "90", "--radius", "2.5", "--height", "1.5", "--resolution", "40x40")
    middle = actor.proxy_mesh(actor.schema.neutral())[0].mean(0)
    away = np.stack([camera.position for camera in circle.cameras]) - middle
    np.testing.assert_allclose(np.linalg.norm(away[:, [0, 2]], axis=1), 2.5, atol=1e-6)
    np.testing.assert_allclose(away[:, 1], 1.5, atol=1e-6)
    for camera in circle.cameras:
        np.testing.assert_allclose(camera.project(middle[None])[0][0], (20, 20), atol=1e-6)


def test_betas_of_the_command_line(actor: Actor) -> None:
    heavy = shot(actor, "--motion", "walk", "--betas", "1.5,-2")
    assert all(frame.betas[:2].tolist() == [1.5, -2] and not frame.betas[2:].any() for frame in heavy.frames)
    with pytest.raises(AvatarError, match="--betas gives 200"):
        shot(actor, "--betas", ",".join(["0"] * 200))
