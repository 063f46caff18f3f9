"""Draws neural_actor.png: `python docs/images/make_neural_actor.py CAPTURE` (after `avatar textures CAPTURE`).

The shipped actor beside pictures that were held out of its training, in other body shapes, its planes, and a texture
and a normal map.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from avatar_core.actor import Actor
from avatar_core.data.capture import Capture
from avatar_core.video import picture_of

ROOT = Path(__file__).resolve().parents[2]
SIDE = 240
DEPTHS = (2.2, 4.2)  # metres


def main(capture: Capture, target: Path) -> None:
    actor = Actor.load(ROOT / "blend_templates" / "actors" / "robin.actor")
    camera = next(i for i, view in enumerate(capture.cameras) if view.split == "test")
    held, known = (next(i for i, f in enumerate(capture.frames) if f.split == split) for split in ("test", "train"))
    view = capture.cameras[camera].camera
    view = view.scaled(SIDE / view.height)

    def shown(frame: int, plane: str = "color", beta: float = 0.0) -> Image.Image:
        controls = capture.frames[frame].controls
        controls = replace(controls, betas=controls.betas + beta * (np.arange(len(controls.betas)) == 0))
        return Image.fromarray(picture_of(actor.render(controls, view, "final"), plane, DEPTHS))

    def captured(frame: int) -> Image.Image:
        white = Image.new("RGBA", (view.width, view.height), "white")
        picture = Image.fromarray(capture.image(camera, frame)).resize(white.size, Image.Resampling.LANCZOS)
        return Image.alpha_composite(white, picture).convert("RGB")

    pictures = {
        "held-out camera, captured": captured(known),
        "rendered": shown(known),
        "held-out pose, captured": captured(held),
        "rendered ": shown(held),
        "another body shape": shown(held, beta=-2),
        "and another": shown(held, beta=2),
        "depth": shown(held, "depth"),
        "normal": shown(held, "normal"),
        "texture map": Image.open(capture.map_path("textures", known)).convert("RGB"),
        "normal map": Image.open(capture.map_path("normals", known)).convert("RGB"),
    }
    sheet = Image.new("RGB", (5 * SIDE, 2 * SIDE), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, picture) in enumerate(pictures.items()):
        place = (number % 5 * SIDE, number // 5 * SIDE)
        sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), place)
        draw.text((place[0] + 6, place[1] + 4), name, fill="black", stroke_width=2, stroke_fill="white")
    sheet.save(target)


if __name__ == "__main__":
    main(Capture.open(sys.argv[1]), Path(__file__).with_name("neural_actor.png"))
