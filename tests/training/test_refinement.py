"""A pose that is a little wrong is pulled to where the pictures have it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from avatar_core.actor import Actor
from avatar_core.camera import Camera
from avatar_core.controls import Controls
from avatar_core.methods.base import RayBatch
from training.refinement import PoseRefinement

SIDE, SHIFT, BEND, KNEE = 28, 0.06, 0.3, 4


def test_a_wrong_pose_is_put_right(tiny_actor: Path) -> None:
    """Pictures of the actor itself; its place and a knee are off; only the correction learns."""
    torch.manual_seed(0)
    actor = Actor.load(tiny_actor)
    model, truth = actor._model, actor.schema.neutral()
    model.config = replace(model.config, voxel=0.03)  # so that a new pose costs little
    wrong = replace(truth, pose=truth.pose.copy(), transl=truth.transl + np.float32([SHIFT, 0, 0]))
    wrong.pose[KNEE, 0] += BEND
    centre = actor.proxy_mesh(truth)[0].mean(0)
    cameras = [
        Camera.look_at(centre + 2.6 * np.array([np.sin(a), 0.1, np.cos(a)]), centre, 0.75, SIDE, SIDE)
        for a in (0.0, 1.6)
    ]
    pixels = (np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1).reshape(-1, 1, 2) + 0.5).astype(float)
    batches = []
    for camera in cameras:
        with torch.inference_mode():
            rgb, coverage, _ = model._march(RayBatch(0, truth, camera, pixels, np.zeros((SIDE**2, 4), np.float32)))
        straight = (rgb / coverage[:, None].clamp(min=1e-4)).clamp(0, 1)
        rgba = torch.cat([straight, coverage[:, None]], 1).numpy()
        batches.append(RayBatch(0, wrong, camera, pixels, rgba))
    refinement = PoseRefinement([0], len(actor.schema.joints))
    optimizer = torch.optim.Adam(refinement.parameters(), 4e-3)
    for _ in range(20):
        losses = model.losses([refinement.correct(batch) for batch in batches], 0.5)
        optimizer.zero_grad()
        (torch.stack(list(losses.values())).sum() + refinement.loss(batches)).backward()
        optimizer.step()
    found = actor.proxy_mesh(
        replace(
            wrong,
            pose=wrong.pose + refinement.pose[0].detach().numpy(),
            transl=wrong.transl + refinement.transl[0].detach().numpy(),
        )
    )[0]
    before = np.linalg.norm(actor.proxy_mesh(wrong)[0] - actor.proxy_mesh(truth)[0], axis=1).mean()
    after = np.linalg.norm(found - actor.proxy_mesh(truth)[0], axis=1).mean()
    assert after < 0.5 * before, (before, after)


def test_a_frame_keeps_its_correction_while_others_are_seen() -> None:
    refinement = PoseRefinement([3, 8], 2)
    with torch.no_grad():
        refinement.transl.fill_(0.02)
    optimizer = torch.optim.Adam(refinement.parameters(), 1e-3, eps=1e-15)
    camera = Camera.look_at(np.array([0, 0, 2.0]), np.zeros(3), 0.7, 4, 4)
    batch = RayBatch(3, Controls(), camera, np.zeros((1, 1, 2)), np.zeros((1, 4), np.float32))
    for _ in range(10):
        optimizer.zero_grad()
        refinement.loss([batch]).backward()
        optimizer.step()
    assert float(refinement.transl[0].detach().abs().max()) < 0.015
    assert float(refinement.transl[1].detach().abs().min()) == np.float32(0.02)
