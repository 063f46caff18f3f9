"""The shipped actor behaves like a body in space, whatever the tiles, the turn or the distance."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avatar_core.actor import Actor, Cancelled
from avatar_core.camera import Camera
from avatar_core.controls import Controls
from avatar_core.errors import AvatarError
from avatar_core.frame import EMPTY_DEPTH
from avatar_core.methods.neural_actor import raycast
from avatar_core.methods.neural_actor.losses import pixel_means
from avatar_core.methods.neural_actor.pose import to_canonical
from avatar_core.quality import QUALITIES
from avatar_core.render.tiles import Watch


@pytest.fixture(scope="module")
def actor(tiny_actor: Path) -> Actor:
    return Actor.load(tiny_actor)


@pytest.fixture
def controls(actor: Actor) -> Controls:
    pose = np.zeros((24, 3), np.float32)
    pose[16, 2], pose[18, 1], pose[4, 0] = -1.0, -0.7, 0.6
    return replace(actor.schema.neutral(), pose=pose, transl=np.array([0.1, 0, 0.2], np.float32))


def test_the_rest_pose_is_its_own_canonical_pose(actor: Actor) -> None:
    posed = actor._model.pose(actor.schema.neutral())
    trunk = torch.tensor(actor.body.weights[:, [0, 3, 6, 9]].sum(1) > 0.95)  # no neighbour within a centimetre
    skin, normal = posed.vertices[trunk], posed.surface[trunk, 15:18]
    canonical = to_canonical(posed, skin + 0.01 * normal)
    torch.testing.assert_close(canonical.points, skin + 0.01 * normal, atol=1e-5, rtol=0)
    assert ((canonical.height - 0.01).abs() < 0.002).float().mean() > 0.95
    assert (to_canonical(posed, skin - 0.01 * normal).height < 0).float().mean() > 0.95
    away = skin + normal
    far, near = to_canonical(posed, away).height > 0.5, to_canonical(posed, away, reach=0.5).height
    assert far.any() and torch.isposinf(near[far]).all() and torch.isfinite(near[~far]).all()


def test_pose_is_undone(actor: Actor, controls: Controls) -> None:
    posed = actor._model.pose(controls)
    rest = torch.tensor(actor.body.vertices)
    canonical = to_canonical(posed, posed.vertices)
    assert (canonical.points - rest).norm(dim=1).median() < 1e-4


def test_a_draft_takes_short_cuts_but_shows_the_same(actor: Actor, controls: Controls) -> None:
    """A moved tree gives the same answers, and coarser voxels hold the same samples; of these a ray may see a few more
    before it counts as opaque."""
    camera = Camera.look_at(np.array([0.3, 0.2, 3.0]), np.zeros(3), 0.7, 120, 160)
    model, draft = actor._model, QUALITIES["draft"]
    taken = model.render(controls, camera, draft)
    long = raycast.RayCaster(model.field, model.pose(controls), model.shell, model.config.voxel, draft)
    with torch.inference_mode():
        wanted = long.render(camera, Watch())
    np.testing.assert_allclose(taken.rgba, wanted.rgba, atol=draft.stop / 2)
    np.testing.assert_allclose(taken.mask, wanted.mask, atol=1e-4)
    both = (taken.mask > 0.5) & (wanted.mask > 0.5)
    assert both.sum() > 500
    np.testing.assert_allclose(taken.depth[both], wanted.depth[both], atol=0.005)


def test_the_proxy_is_the_body_that_is_rendered(actor: Actor, controls: Controls) -> None:
    """Also when the shape changes between frames, or is changed in place."""
    shaped = replace(controls, betas=np.linspace(-1, 1, len(controls.betas)).astype(np.float32))
    for wanted in (controls, shaped, controls, shaped):
        proxy, faces = actor.proxy_mesh(wanted)
        np.testing.assert_allclose(proxy, actor._model.pose(wanted).vertices, atol=1e-5)
        np.testing.assert_array_equal(faces, actor.body.faces)
        shaped.betas[0] += 1


def test_depth_lies_on_the_body(actor: Actor, controls: Controls, front_camera: Camera) -> None:
    """Planar depth, not along the ray; the clothed surface is within centimetres of the proxy."""
    frame = actor.render(controls, front_camera, "preview")
    rows, columns = np.nonzero(frame.mask > 0.99)
    local = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], 1) @ np.linalg.inv(front_camera.K).T
    points = local * frame.depth[rows, columns, None]  # planar: z is the depth itself
    world = (points - front_camera.world_to_camera[:3, 3]) @ front_camera.world_to_camera[:3, :3]
    posed = actor._model.pose(controls)
    height = to_canonical(posed, torch.as_tensor(world, dtype=torch.float32)).height
    assert height.abs().median() < 0.03
    assert (height.abs() < 0.06).float().mean() > 0.98


def test_planes_agree_about_where_there_is_somebody(actor: Actor, controls: Controls, front_camera: Camera) -> None:
    frame = actor.render(controls, front_camera, "draft")
    nobody = frame.mask == 0
    assert nobody.mean() > 0.3
    assert (
        (frame.depth[nobody] == EMPTY_DEPTH).all() and not frame.rgba[nobody].any() and not frame.normal[nobody].any()
    )
    assert (frame.depth[~nobody] < 5).all()
    assert (frame.rgba[..., :3] <= frame.rgba[..., 3:] + 1e-5).all()  # premultiplied
    facing = (frame.normal[frame.mask > 0.9] * front_camera.forward).sum(-1)
    assert (facing < 0).mean() > 0.9  # normals look at the camera


def test_a_region_is_a_part_of_the_whole(actor: Actor, controls: Controls, front_camera: Camera) -> None:
    whole = actor.render(controls, front_camera, "preview")
    part = actor.render(controls, front_camera.crop(20, 10, 30, 40), "preview")
    for name in ("rgba", "depth", "normal", "mask"):
        assert np.abs(getattr(part, name) - getattr(whole, name)[10:50, 20:50]).max() < 2e-3, name


def test_tiles_and_waves_do_not_show(actor: Actor, controls: Controls, front_camera: Camera, monkeypatch) -> None:
    one = actor.render(controls, front_camera, "preview")
    monkeypatch.setattr(raycast, "_TILE", 200)
    two = actor.render(controls, front_camera, "preview")
    assert np.abs(one.rgba - two.rgba).max() < 1e-4


def test_turning_actor_and_camera_together_changes_nothing(actor: Actor, controls: Controls) -> None:
    pelvis = actor.body.joints()[0] + controls.transl
    angle = 2.1
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    pose = controls.pose.copy()
    pose[0] = [0, angle, 0]
    offset = np.array([0.3, 0.2, 2.8])
    before = Camera.look_at(pelvis + offset, pelvis, 0.7, 48, 48)
    after = Camera.look_at(pelvis + turn @ offset, pelvis, 0.7, 48, 48)
    one = actor.render(controls, before, "preview")
    two = actor.render(replace(controls, pose=pose), after, "preview")
    assert np.abs(one.rgba - two.rgba).mean() < 0.01


def test_a_camera_inside_or_behind_is_no_problem(actor: Actor, controls: Controls) -> None:
    inside = Camera.look_at(np.array([0.1, 0.1, 0.2]), np.array([0.1, 0.1, 3]), 1.0, 16, 16)
    away = Camera.look_at(np.array([0, 0, 3.0]), np.array([0, 0, 6.0]), 0.7, 16, 16)
    assert np.isfinite(actor.render(controls, inside, "draft").rgba).all()
    assert not actor.render(controls, away, "draft").rgba.any()


def test_body_shape_moves_the_silhouette(actor: Actor, front_camera: Camera) -> None:
    betas = np.zeros(10, np.float32)
    betas[0] = -2  # smaller
    small = actor.render(replace(actor.schema.neutral(), betas=betas), front_camera, "draft")
    assert small.mask.sum() < actor.render(actor.schema.neutral(), front_camera, "draft").mask.sum() * 0.95


def test_cancel_stops_at_once_and_words_are_checked(actor: Actor, controls: Controls, front_camera: Camera) -> None:
    with pytest.raises(Cancelled):
        actor.render(controls, front_camera, "final", cancel=lambda: True)
    with pytest.raises(AvatarError, match="draft, preview, final"):
        actor.render(controls, front_camera, "ultra")
    shares: list[float] = []
    actor.render(controls, front_camera, "draft", progress=shares.append)
    assert shares and shares[-1] == 1.0 and shares == sorted(shares)


def test_rays_of_a_pixel_are_averaged_as_light() -> None:
    """Half white and half black is a mid grey of light, 0.735 in sRGB; an empty ray adds nothing to the colour."""
    rgb = torch.tensor([[[1.0, 1, 1], [0, 0, 0]], [[0.5, 0.2, 0], [0, 0, 0]]])
    coverage = torch.tensor([[1.0, 1], [1, 0]])
    colour, mean = pixel_means(rgb, coverage)
    torch.testing.assert_close(mean, torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(colour[0], torch.full((3,), 0.7354), atol=1e-3, rtol=0)
    torch.testing.assert_close(colour[1], 0.5 * rgb[1, 0], atol=1e-5, rtol=0)


def test_a_frame_is_the_same_on_any_number_of_threads(tiny_actor: Path) -> None:
    """Machines of a farm differ in their processors' count."""
    script = (
        "import sys, hashlib; from avatar_core.actor import Actor; from avatar_core.camera import Camera;"
        "import numpy as np; from dataclasses import replace;"
        "a = Actor.load(sys.argv[1]); n = a.schema.neutral(); p = n.pose + np.float32(0.3);"
        "c = Camera.look_at(np.array([0, 0.3, 3.0]), np.zeros(3), 0.8, 64, 64);"
        "print(hashlib.sha256(a.render(replace(n, pose=p), c, 'preview').rgba.tobytes()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script, str(tiny_actor)],
            env={**os.environ, "OMP_NUM_THREADS": count, "AVATAR_THREADS": count},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for count in ("1", "2", "3")
    }
    assert len(found) == 1
