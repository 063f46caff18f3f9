"""How good an actor is on what it never saw: held-out cameras and held-out poses of a capture."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from avatar_core.actor import QUALITIES, Actor
from avatar_core.data.capture import Capture
from avatar_core.data.head_capture import open_capture
from avatar_core.data.multiface_capture import MultifaceCapture
from avatar_core.data.texture_maps import TextureMaps
from avatar_core.device import choose
from avatar_core.errors import AvatarError
from avatar_core.frame import Frame, linear_to_srgb, srgb_to_linear, write_image

from .lpips import LPIPS, SMALLEST
from .metrics import SSIM_WINDOW, mask_box, psnr, ssim


@dataclass(frozen=True)
class Picture:
    """rgb: [H, W, 3] float32, display sRGB in [0, 1], over white. alpha: [H, W]."""

    rgb: np.ndarray
    alpha: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """Mean metrics of each held-out set: 'novel_view' (held-out cameras, training poses) and 'novel_pose' (held-out
    poses; held-out cameras where there are some). psnr: whole picture over white; box_*: inside of the mask's box;
    person_psnr: pixels of the mask alone."""

    sets: dict[str, dict[str, float]]

    def summary(self) -> dict[str, dict[str, float]]:
        return {name: {key: round(value, 3) for key, value in row.items()} for name, row in self.sets.items()}


def evaluate(
    actor: Actor,
    capture: Capture,
    pictures: int,
    quality: str,
    lpips: LPIPS | None = None,
    save: Path | None = None,
) -> Evaluation:
    """Renders at most `pictures` of each set, evenly spread. save: the folder where each set's captured and rendered
    pictures go. There are no sets where nothing is held out."""
    held_out = [i for i, camera in enumerate(capture.cameras) if camera.split == "test"]
    cameras = held_out or list(range(len(capture.cameras)))
    sets: dict[str, dict[str, float]] = {}
    for name, split in (("novel_view", "train"), ("novel_pose", "test"))[0 if held_out else 1 :]:
        pairs = [(c, f) for f, frame in enumerate(capture.frames) if frame.split == split for c in cameras]
        chosen = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, pictures).astype(int))] if pairs else []
        rows = []
        for camera, frame in tqdm(chosen, desc=name, unit="picture"):
            truth, rendered = rendered_pair(actor, capture, camera, frame, quality)
            if save is not None:
                _save(save / name, f"{capture.cameras[camera].name}_{frame:06d}.png", truth, rendered)
            rows += _measure(truth, rendered, lpips)
        if rows:
            sets[name] = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} | {"pictures": len(rows)}
    if sets and actor.textured:
        sets |= texture_set(actor, capture)
    return Evaluation(sets)


def texture_set(actor: Actor, capture: Capture) -> dict[str, dict[str, float]]:
    """'novel_pose_texture', where held-out frames have maps (imported, or of 'avatar textures --held-out'): PSNR of the
    actor's maps against them, over texels that were seen, and that of the training maps' mean, which no pose changes.
    """
    held, known = (
        [i for i, f in enumerate(capture.frames) if f.split == split and capture.map_path("textures", i).exists()]
        for split in ("test", "train")
    )
    if not held or not known:
        return {}
    size = len(actor.texture(capture.frames[held[0]].controls))
    maps = TextureMaps(capture, known, size)
    mean, rows = maps.mean().numpy(), []
    for frame in held:
        seen, truth = maps.confidence(frame).numpy() > 0, maps.texture(frame).numpy()
        found = actor.texture(capture.frames[frame].controls)
        rows.append((psnr(truth[seen], found[seen]), psnr(truth[seen], mean[seen])))
    ours, static = np.mean(rows, axis=0)
    return {"novel_pose_texture": {"psnr": float(ours), "mean_psnr": float(static), "pictures": len(rows)}}


def rendered_pair(actor: Actor, capture: Capture, camera: int, frame: int, quality: str) -> tuple[Picture, Picture]:
    """The captured picture and the actor's, both over white."""
    image = capture.image(camera, frame).astype(np.float32) / 255
    linear = srgb_to_linear(image[..., :3]) * image[..., 3:]
    blank = Frame.empty(image.shape[1], image.shape[0])
    truth = Frame(np.concatenate([linear, image[..., 3:]], -1), blank.depth, blank.normal, image[..., 3])
    rendered = actor.render(capture.frames[frame].controls, capture.cameras[camera].camera, quality)
    return _on_white(truth), _on_white(rendered)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("actor", type=Path, help="the .actor file")
    parser.add_argument("capture", type=Path, help="folder of the capture")
    parser.add_argument("--pictures", type=int, default=24, help="pictures of each held-out set (default 24)")
    parser.add_argument("--frames", type=Path, help="of an identity in Multiface's layout: the list that is held out")
    parser.add_argument("--quality", choices=QUALITIES, default="final")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, … (default cpu)")
    parser.add_argument("--lpips", type=Path, metavar="FILE", help="weights of LPIPS, to measure that as well")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="also write the captured and rendered pictures")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def run(arguments: Namespace) -> int:
    if arguments.pictures < 1:
        raise AvatarError(f"--pictures must be at least 1, got {arguments.pictures}")
    device = choose(arguments.device)
    lpips = None if arguments.lpips is None else LPIPS(arguments.lpips).to(device)
    actor = Actor.load(arguments.actor, device)
    if arguments.frames is None:
        capture = open_capture(arguments.capture)
    else:
        capture = MultifaceCapture.open(arguments.capture, arguments.frames)
    result = evaluate(actor, capture, arguments.pictures, arguments.quality, lpips, arguments.save).summary()
    if not result:
        raise AvatarError(f"{arguments.capture} holds nothing out; give some cameras or frames the split 'test'")
    for name, row in result.items():
        print(f"{name}: " + "  ".join(f"{key} {value:g}" for key, value in row.items()))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _on_white(frame: Frame) -> Picture:
    return Picture(np.clip(linear_to_srgb(frame.over(np.ones(3))), 0, 1).astype(np.float32), frame.rgba[..., 3])


def _save(folder: Path, name: str, truth: Picture, rendered: Picture) -> None:
    for kind, picture in (("captured", truth), ("rendered", rendered)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        write_image(folder / kind / name, np.round(picture.rgb * 255).astype(np.uint8))


def _measure(truth: Picture, rendered: Picture, lpips: LPIPS | None) -> list[dict[str, float]]:
    """One row, none for a picture that nobody is in."""
    box, window = mask_box(truth.alpha, SSIM_WINDOW), mask_box(truth.alpha, SMALLEST)
    if box is None or window is None:
        return []
    person = truth.alpha > 0.5
    union = person | (rendered.alpha > 0.5)
    row = {
        "psnr": psnr(truth.rgb, rendered.rgb),
        "ssim": ssim(truth.rgb, rendered.rgb),
        "box_psnr": psnr(truth.rgb[box], rendered.rgb[box]),
        "box_ssim": ssim(truth.rgb[box], rendered.rgb[box]),
        "person_psnr": psnr(truth.rgb[person], rendered.rgb[person]),
        "mask_iou": float((person & (rendered.alpha > 0.5)).sum() / union.sum()),
    }
    if lpips is not None:
        row |= {
            "lpips": lpips(truth.rgb, rendered.rgb),
            "box_lpips": lpips(truth.rgb[window], rendered.rgb[window]),
        }
    return [row]
