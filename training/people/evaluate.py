"""How well a trained student draws what it never saw: held-out cameras, moments and people."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from avatar_core.data.people.capture import PeopleCapture, Recording
from avatar_core.data.people.views import Moments, ViewReader, pose_view
from avatar_core.methods.human_view_synthesis.generator import between_cameras
from avatar_core.methods.human_view_synthesis.lessons import Views
from avatar_core.methods.human_view_synthesis.losses import over
from avatar_core.methods.human_view_synthesis.training import Student

from ..metrics import mask_box, psnr, ssim

SETS = {
    "novel_view": ("train", "test", "train"),
    "novel_pose": ("train", None, "test"),
    "novel_person": ("test", None, None),
}
"""Splits of people, of the cameras that are drawn, and of frames."""


def measure_people(student: Student, capture: PeopleCapture, pictures: int) -> dict[str, dict[str, float]]:
    """Means over at most `pictures` of each set that the capture holds out, evenly spread.

    psnr: whole squares over the capture's background. person_psnr: pixels of the mask alone; of the mean colour of all
    of them: flat_psnr, for comparison. box_ssim: the box around the mask. mask_iou: silhouettes at half coverage.
    pose_mm: mean distance of lifted joints about the root; aligned_mm: after the best turn, shift and scale.
    """
    results: dict[str, dict[str, float]] = {}
    for name, (people, cameras, frames) in SETS.items():
        moments = Moments(capture.recordings, student.skeleton.root, people, cameras, frames)
        rows = [_measure(student, *one) for one in moments.spread(pictures)]
        if rows:
            keys = rows[0].keys()
            means = {key: float(np.nanmean([row[key] for row in rows])) for key in keys}
            results[name] = {key: round(value, 3) for key, value in means.items()} | {"pictures": len(rows)}
    return results


@torch.no_grad()
def draw(student: Student, recording: Recording, frame: int, first: int, second: int) -> tuple[Tensor, Tensor, Tensor]:
    """What camera `first` sees and what `second` does, and what the student draws for it: each [C, S, S]."""
    reader, root = ViewReader(student.config.size, student.config.extent), student.skeleton.root
    device = student.background.device
    given, wanted = (Views.of([reader.read(recording, camera, frame)], root, device) for camera in (first, second))
    made = synthesise(student, student.appearance_of(given.pictures), given, wanted)
    return given.pictures[0], wanted.pictures[0], made[0]


@torch.no_grad()
def synthesise(student: Student, appearance: Tensor, motion: Views, wanted: Views) -> Tensor:
    """[B, 3 or 4, S, S]: people of an appearance [B, P, A] as the cameras of `wanted` see them in poses that are
    lifted from `motion`, where the model lifts, or in those of `wanted`."""
    poses = wanted.poses
    if student.average.p2p is not None:
        relative = student.average.p2p(motion.points, motion.sure, motion.sizes)
        cameras = (motion.turn, motion.shift), (wanted.turn, wanted.shift)
        poses = between_cameras(motion.root[:, None] + relative, *cameras)
    return student.average.draw(poses, appearance, wanted.planes(student.config.latent))[0].clamp(0, 1)


def _measure(student: Student, recording: Recording, camera: int, frame: int) -> dict[str, float]:
    """The picture of `camera`, drawn from another one that trained, where there is one."""
    joints = recording.joints
    others = [
        place
        for place, view in enumerate(recording.cameras)
        if place != camera and view.split == "train" and joints.seen[place, frame]
    ]
    first = others[(frame + camera) % len(others)] if others else camera
    found: dict[str, float] = {}
    if student.average.p2p is not None:
        found |= _pose(student, recording, first, frame)
    if student.stage != "pose":
        _, truth, made = draw(student, recording, frame, first, camera)
        found |= picture_metrics(truth, made, student.background)
    return found


def picture_metrics(truth: Tensor, made: Tensor, background: Tensor) -> dict[str, float]:
    """truth: [4, S, S]. made: [3 or 4, S, S]."""
    truth, made, background = truth.cpu(), made.cpu(), background.cpu()
    one, two = (over(p[None], background[None])[0].permute(1, 2, 0).numpy() for p in (truth, made))
    mask = truth[3].numpy() > 0.5
    box = mask_box(mask)
    if box is None:
        return {}
    rows, columns = (slice(part.start, max(part.stop, part.start + 11)) for part in box)
    person = one[mask]
    found = {
        "psnr": psnr(one, two),
        "person_psnr": psnr(person, two[mask]),
        "flat_psnr": psnr(person, np.broadcast_to(person.mean(0), person.shape)),
    }
    if min(one[rows, columns].shape[:2]) >= 11:
        found["box_ssim"] = ssim(one[rows, columns], two[rows, columns])
    if len(made) == 4:
        drawn = made[3].numpy() > 0.5
        found["mask_iou"] = float((mask & drawn).sum() / max(1, (mask | drawn).sum()))
    return found


def _pose(student: Student, recording: Recording, camera: int, frame: int) -> dict[str, float]:
    views = Views.of([pose_view(recording, camera, frame)], student.skeleton.root, student.background.device)
    assert student.average.p2p is not None
    with torch.no_grad():
        relative = student.average.p2p(views.points, views.sure, views.sizes)[0]
    known = views.known[0].cpu().numpy()
    found, truth = relative.cpu().numpy()[known], views.joints[0].cpu().numpy()[known]
    return {
        "pose_mm": 1000 * float(np.linalg.norm(found - truth, axis=1).mean()),
        "aligned_mm": 1000 * float(np.linalg.norm(aligned(found, truth) - truth, axis=1).mean()),
    }


def aligned(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """points [J, 3] after the turn (no mirror), shift and scale that bring them nearest to target (Umeyama 1991)."""
    one, two = points - points.mean(0), target - target.mean(0)
    u, spread, v = np.linalg.svd(two.T @ one)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ v))])
    turn = (u * sign) @ v
    scale = (spread * sign).sum() / max(np.square(one).sum(), 1e-12)
    return scale * one @ turn.T + target.mean(0)
