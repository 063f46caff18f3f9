"""The extension in real Blenders: what an artist, and a farm, get.

Run in the bpy module of this Python and in every executable that BLENDER names. The pictures are compared
with avatar_core called directly, with the controls and cameras that the worker was asked for.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import windows
from blenders import EXTENSION, Studio
from inside.values import SIZE, SLIDES, STEPS, TURNS

from avatar_core.actor import Actor
from avatar_core.camera import Camera
from avatar_core.controls import Controls
from avatar_core.frame import Frame

STEP = 1 / 255  # of a picture's colours
FAR = 1e10  # metres: nothing is there
BORDERS = ((0.3, 0.2, 0.7, 0.9), (1 / 3, 1 / 7, 0.777, 0.999))  # left, bottom, right, top
PERCENTS = (100, 50)


@pytest.fixture(scope="session")
def shots(studio: Studio) -> Studio:
    """The .blend files, and the pictures of those that need no process of their own."""
    built: dict[str, dict[str, object]] = {
        "shot": {"motion_blur": True},
        "not_set_up": {"set_up": False},
        "two_layers": {"layers": 2, "frames": 1, "render": True},
        "one_layer": {"frames": 1, "render": True},
    }
    for percent in PERCENTS:
        options = {"frames": 1, "bare": True, "percent": percent, "quality": "preview", "render": True}
        built[f"whole_{percent}"] = options
        for number, border in enumerate(BORDERS):
            built[f"crop_{percent}_{number}"] = {**options, "border": border, "crop": True}
            built[f"place_{percent}_{number}"] = {**options, "border": border, "crop": False}
    studio.build(built)
    return studio


@pytest.fixture(scope="session")
def shot(shots: Studio) -> Path:
    return shots.folder / "shot.blend"


@pytest.fixture(scope="session")
def animation(studio: Studio, shot: Path) -> tuple[list[np.ndarray], list[dict]]:
    """`-b -a` of the shot: the pictures, and what the worker was asked for."""
    worker, log = studio.logged_worker("animation")
    done = studio.animate(shot, "animation_", worker)
    assert done.returncode == 0, done.stdout + done.stderr
    return [picture(studio, "animation_", frame) for frame in (1, 2, 3)], requests(log)


@pytest.fixture(scope="session")
def actor(studio: Studio) -> Actor:
    return Actor.load(studio.actor)


def test_pose_of_every_frame_is_the_evaluated_one(animation: tuple[list[np.ndarray], list[dict]], actor: Actor) -> None:
    """Keys, a constraint, an animated parent and a shape key; motion blur makes no frame twice."""
    _, asked = animation
    assert len(asked) == 3
    joints = actor.schema.joints
    left, right = joints.index("left_shoulder"), joints.index("right_shoulder")
    for frame, request in zip((1, 2, 3), asked):
        pose = np.array(request["controls"]["pose"])
        np.testing.assert_allclose(pose[left], [0, 0, TURNS[frame]], atol=1e-5)
        np.testing.assert_allclose(pose[right], [0, 0, TURNS[frame]], atol=1e-5)
        rest = [i for i in range(len(joints)) if i not in (left, right)]
        assert np.abs(pose[rest]).max() < 1e-5
        np.testing.assert_allclose(request["controls"]["transl"], [STEPS[frame], 0, 0], atol=1e-5)
        if actor.schema.betas:
            assert request["controls"]["betas"][0] == pytest.approx(frame - 1)


def test_ctrl_f12_renders_the_same(
    studio: Studio, windowed: None, shot: Path, animation: tuple[list[np.ndarray], list[dict]]
) -> None:
    """In Blender's own window, by the key: the frames of `-b -a`."""
    with windows.window(studio, "animation_window", str(shot), str(studio.folder / "window_")) as window:
        window.wait_for("ready")
        window.press("ctrl+F12")
        assert window.wait_for("rendered") == "completed"
    for frame, expected in enumerate(animation[0], 1):
        np.testing.assert_allclose(picture(studio, "window_", frame), expected, atol=1e-6)


def test_camera_follows_the_markers(animation: tuple[list[np.ndarray], list[dict]]) -> None:
    _, asked = animation
    places = [Camera.from_dict(request["camera"]).position for request in asked]
    np.testing.assert_allclose(places[0], [0, 0, 4], atol=1e-5)
    np.testing.assert_allclose(places[1], [0, 0, 4], atol=1e-5)
    np.testing.assert_allclose(places[2], [0.5 + SLIDES[3], 0.3, 4], atol=1e-5)


def test_picture_is_the_set_and_the_actor_by_depth(
    studio: Studio, shot: Path, animation: tuple[list[np.ndarray], list[dict]], actor: Actor
) -> None:
    """Every pixel of every frame, the soft edges included."""
    pictures, asked = animation
    done = studio.script("render", "set", str(shot), str(studio.folder / "set_"))
    assert done.returncode == 0, done.stdout + done.stderr
    for frame, (shown, request) in enumerate(zip(pictures, asked), 1):
        plates = channels(studio.folder / f"set_{frame:04d}.exr")
        plate, depth = pixels(plates, "ViewLayer.Combined"), plates["ViewLayer.Depth.Z"]
        person = direct(actor, request)
        before = person.depth < depth
        over = person.rgba + (1 - person.rgba[..., 3:]) * plate
        behind = plate + (1 - plate[..., 3:]) * person.rgba
        np.testing.assert_allclose(shown, np.where(before[..., None], over, behind), atol=STEP)
        covered = person.rgba[..., 3] > 0.5
        assert (before & covered).sum() > 50 and (~before & covered).sum() > 5  # seen, and hidden by the cube


@pytest.mark.slow
def test_picture_with_eevee(studio: Studio, actor: Actor) -> None:
    """EEVEE before 5.0 writes clip_end where it sees nothing, and smooths its edges its own way."""
    if studio.blender.module:
        pytest.skip("EEVEE needs a graphics driver, without which the module bpy ends the process")
    studio.build({"eevee": {"engine": "EEVEE", "frames": 1}})
    blend, output = studio.folder / "eevee.blend", studio.folder / "eevee_set_"
    worker, log = studio.logged_worker("eevee")
    done = studio.animate(blend, "eevee_", worker)
    assert done.returncode == 0, done.stdout + done.stderr
    done = studio.script("render", "set", str(blend), str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    plates, person = channels(studio.folder / "eevee_set_0001.exr"), direct(actor, requests(log)[0])
    plate, before = pixels(plates, "ViewLayer.Combined"), person.depth < plates["ViewLayer.Depth.Z"]
    over = person.rgba + (1 - person.rgba[..., 3:]) * plate
    expected = np.where(before[..., None], over, plate + (1 - plate[..., 3:]) * person.rgba)
    shown = picture(studio, "eevee_", 1)
    assert (np.abs(shown - expected).max(-1) < 2 * STEP).mean() > 0.99
    assert (before & (person.rgba[..., 3] > 0.5)).sum() > 50


def test_passes_are_what_avatar_core_renders(studio: Studio, shot: Path, actor: Actor) -> None:
    """Bit for bit, in each of two view layers."""
    worker, log = studio.logged_worker("passes")
    two, output = studio.folder / "two_layers.blend", studio.folder / "passes_"
    done = studio.script("render", "avatars", str(two), str(output), worker=worker)
    assert done.returncode == 0, done.stdout + done.stderr
    planes = channels(studio.folder / "passes_0001.exr")
    asked = requests(log)
    assert len(asked) == 2
    person = direct(actor, asked[0])
    assert person.mask.max() > 0.9
    x, y, z = (person.normal[..., i] for i in range(3))
    for layer in ("ViewLayer", "Second 1"):
        np.testing.assert_array_equal(pixels(planes, f"{layer}.Combined"), person.rgba)
        depth, seen = planes[f"{layer}.Depth.Z"], person.depth < FAR
        np.testing.assert_array_equal(depth[seen], person.depth[seen])
        assert (depth[~seen] >= FAR).all(), "Blenders differ in what they call nothing"
        np.testing.assert_array_equal(planes[f"{layer}.Mask tiny.X"], person.mask)
        for axis, plane in zip("XYZ", (x, -z, y)):  # y up to z up
            np.testing.assert_array_equal(planes[f"{layer}.Normal.{axis}"], plane)


def test_two_view_layers_in_one_picture(shots: Studio) -> None:
    """A second view layer costs a render of its own and changes nothing in the picture of the first."""
    np.testing.assert_array_equal(picture(shots, "two_layers_", 1), picture(shots, "one_layer_", 1))


@pytest.mark.parametrize("percent", PERCENTS)
@pytest.mark.parametrize("number", range(len(BORDERS)))
def test_border_and_percentage(shots: Studio, number: int, percent: int) -> None:
    """The same pixels as in the whole picture, cropped or in place."""
    whole = picture(shots, f"whole_{percent}_", 1)
    width, height = SIZE[0] * percent // 100, SIZE[1] * percent // 100
    assert whole.shape == (height, width, 4)
    sides = zip(BORDERS[number], (width, height) * 2)
    left, bottom, right, top = (int(np.float32(share) * np.float32(side)) for share, side in sides)
    part = whole[height - top : height - bottom, left:right]
    assert (np.abs(part - part[0, 0]).max(-1) > 0.05).any()  # somebody is in it
    np.testing.assert_allclose(picture(shots, f"crop_{percent}_{number}_", 1), part, atol=STEP)
    placed = picture(shots, f"place_{percent}_{number}_", 1)
    assert placed.shape == whole.shape
    np.testing.assert_allclose(placed[height - top : height - bottom, left:right], part, atol=STEP)


def test_worker_that_dies_once_is_not_noticed(studio: Studio, shot: Path, animation: tuple) -> None:
    worker, log = studio.logged_worker("once", 2, 2)
    done = studio.animate(shot, "once_", worker)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(requests(log)) == 4
    for frame, expected in zip((1, 2, 3), animation[0]):
        np.testing.assert_array_equal(picture(studio, "once_", frame), expected)


def test_worker_that_keeps_dying_stops_the_render(studio: Studio, shot: Path) -> None:
    """Exit code 1, the sentence, the frames before it stay, the failed one leaves no picture."""
    worker, _ = studio.logged_worker("dying", 2, 99)
    done = studio.animate(shot, "dying_", worker)
    assert "The avatar renderer ended twice during 'render'" in done.stdout + done.stderr
    assert (studio.folder / "dying_0001.exr").exists()
    assert not (studio.folder / "dying_0002.exr").exists()
    assert done.returncode == 1


def test_missing_interpreter(studio: Studio, shot: Path) -> None:
    done = studio.animate(shot, "missing_", worker="/nowhere/python -m avatar_core.worker")
    assert done.returncode == 1
    assert "cannot be started: /nowhere/python does not exist" in done.stdout + done.stderr
    assert not list(studio.folder.glob("missing_*"))


def test_no_interpreter_set(studio: Studio, shot: Path) -> None:
    done = studio.animate(shot, "unset_", worker="")
    assert done.returncode == 1
    assert "No renderer is installed" in done.stdout + done.stderr


def test_blur_is_the_mean_of_sharp_pictures(studio: Studio, actor: Actor) -> None:
    """Motion blur and depth of field together: times within the shutter, points on the lens, the focus stays."""
    focus = 2.5
    studio.build({"blurred": {"frames": 1, "bare": True, "motion_blur": True, "blur_samples": 3, "focus": focus}})
    worker, log = studio.logged_worker("blurred")
    done = studio.animate(studio.folder / "blurred.blend", "blurred_", worker)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = requests(log)
    assert len(asked) == 3
    mean = np.mean([direct(actor, request).rgba for request in asked], 0)
    seen = picture(studio, "blurred_", 1)
    np.testing.assert_allclose(seen, mean + (1 - mean[..., 3:]) * seen[0, 0], atol=STEP / 4)
    poses = [np.array(request["controls"]["pose"]) for request in asked]
    assert np.abs(poses[0] - poses[-1]).max() > 1e-3
    cameras = [Camera.from_dict(request["camera"]) for request in asked]
    first = np.linalg.inv(cameras[0].world_to_camera)
    for depth, same in ((focus, True), (3 * focus, False)):
        point = first @ np.array([0.1, -0.2, depth, 1.0])
        seen = []
        for camera in cameras:
            x, y, z = (camera.world_to_camera @ point)[:3]
            assert abs(z - depth) < 1e-3
            seen.append(camera.K[:2, :2] @ (x / z, y / z) + camera.K[:2, 2])
        assert (np.ptp(seen, axis=0).max() < 0.02) == same, seen


def test_farm_command_renders_and_resumes(studio: Studio, shot: Path, animation: tuple) -> None:
    output = str(studio.folder / "farm" / "shot_####")
    done = studio.avatar(shot, "render", "--frames", "1-2", "--output", output)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (studio.folder / "farm" / f"shot_000{frame}.exr" for frame in (1, 2))
    np.testing.assert_array_equal(pixels(channels(first)), animation[0][0])
    written = first.stat().st_mtime_ns
    second.unlink()
    worker, log = studio.logged_worker("resume")
    done = studio.avatar(shot, "render", "--frames", "1-3", "--output", output, "--resume", worker=worker)
    assert done.returncode == 0, done.stdout + done.stderr
    assert first.stat().st_mtime_ns == written
    assert len(requests(log)) == 2
    assert sorted(path.name for path in first.parent.iterdir()) == [f"shot_000{frame}.exr" for frame in (1, 2, 3)]
    assert re.search(r"2 frames rendered in [\d.]+ s, 1 were there", done.stdout), done.stdout
    np.testing.assert_array_equal(pixels(channels(second)), animation[0][1])


def test_baked_avatars_make_the_same_pictures_without_a_renderer(studio: Studio, shot: Path, animation: tuple) -> None:
    output = str(studio.folder / "baked" / "robin_####")
    done = studio.avatar(shot, "bake", "--frames", "1-3", "--output", output)
    assert done.returncode == 0, done.stdout + done.stderr
    done = studio.script("use_baked", str(shot), str(studio.folder / "baked" / "robin_0001.exr"))
    assert done.returncode == 0, done.stdout + done.stderr
    done = studio.animate(studio.folder / "from_baked.blend", "from_baked_", worker="/nowhere/python")
    assert done.returncode == 0, done.stdout + done.stderr
    for frame, expected in enumerate(animation[0], 1):
        np.testing.assert_allclose(picture(studio, "from_baked_", frame), expected, atol=1e-6)


def test_farm_command_fails_without_a_half_file(studio: Studio, shot: Path) -> None:
    output = studio.folder / "half" / "shot_####"
    worker, _ = studio.logged_worker("half", 2, 99)
    done = studio.avatar(shot, "render", "--output", str(output), worker=worker)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "frame 2" in done.stderr and "The avatar renderer ended twice" in done.stderr
    assert [path.name for path in output.parent.iterdir()] == ["shot_0001.exr"]


def test_farm_command_refuses_what_is_wrong(studio: Studio, shot: Path) -> None:
    done = studio.avatar(studio.folder / "not_set_up.blend", "render")
    assert done.returncode == 2 and "not set up" in done.stderr, done.stdout + done.stderr
    for arguments in (["render", "--frames", "b"], ["render", "--frames", "3-1"], ["paint"], []):
        done = studio.avatar(shot, *arguments)
        assert done.returncode == 2, (arguments, done.stdout + done.stderr)


def test_farm_command_checks(studio: Studio, shot: Path) -> None:
    done = studio.avatar(shot, "check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "renderer: avatar-core" in done.stdout and "ready" in done.stdout and "tiny.actor" in done.stdout
    done = studio.avatar(shot, "check", worker="/nowhere/python")
    assert done.returncode == 1 and "/nowhere/python does not exist" in done.stderr, done.stdout + done.stderr


def test_installed_by_blenders_own_command(studio: Studio) -> None:
    """The zip is accepted and the extension is switched on for good."""
    if studio.blender.module:
        pytest.skip("the module bpy has no extension command")
    done = studio.run([studio.blender.program, "-b", "--command", "extension", "validate", "neural_avatars-0.1.0.zip"])
    assert done.returncode == 0, done.stdout + done.stderr
    done = studio.run([studio.blender.program, "-b", "--python-expr", _ENABLED])
    assert f"ENABLED {EXTENSION}" in done.stdout, done.stdout + done.stderr


_ENABLED = "import bpy; [print('ENABLED', a.module, flush=True) for a in bpy.context.preferences.addons]"


def picture(studio: Studio, prefix: str, frame: int) -> np.ndarray:
    """[H, W, 4] float32, top row first."""
    return pixels(channels(studio.folder / f"{prefix}{frame:04d}.exr"))


def channels(path: Path) -> dict[str, np.ndarray]:
    """Each channel [H, W] of an EXR file, which has a part for each pass since Blender 5."""
    reader = pytest.importorskip("OpenEXR", reason="OpenEXR reads the pictures: pip install OpenEXR")
    with reader.File(str(path), separate_channels=True) as file:
        return {name: np.array(data.pixels) for part in file.parts for name, data in part.channels.items()}


def pixels(found: dict[str, np.ndarray], layer: str = "") -> np.ndarray:
    """[H, W, 4] of a layer's colours."""
    return np.stack([found[f"{layer}.{name}" if layer else name] for name in "RGBA"], -1)


def requests(log: Path) -> list[dict]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def direct(actor: Actor, request: dict) -> Frame:
    """What avatar_core renders for a request, without Blender or worker."""
    return actor.render(
        Controls.from_dict(request["controls"]), Camera.from_dict(request["camera"]), request["quality"]
    )
