"""Draws nerf_blendshape.png: `python docs/images/make_nerf_blendshape.py ACTOR CAPTURE`.

Held-out frames of the studio's film of a head beside the actor's, expressions one by one, another view, depth.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

from avatar_core.actor import Actor
from avatar_core.body.expressions import from_shape_keys
from avatar_core.data.head_capture import HeadCapture
from avatar_core.video import picture_of

SIDE = 192
DEPTHS = (0.28, 0.55)  # metres


def main(actor: Actor, capture: HeadCapture, target: Path) -> None:
    view = capture.cameras[0].camera
    view = view.scaled(SIDE / view.height)
    held = [i for i, frame in enumerate(capture.frames) if frame.split == "test"]
    middle = held[len(held) // 2]
    front = capture.frames[middle].controls

    def captured(frame: int) -> Image.Image:
        white = Image.new("RGBA", (SIDE, SIDE), "white")
        picture = Image.fromarray(capture.image(0, frame)).resize(white.size, Image.Resampling.LANCZOS)
        return Image.alpha_composite(white, picture).convert("RGB")

    def shown(frame: int, plane: str = "color") -> Image.Image:
        return Image.fromarray(picture_of(actor.render(capture.frames[frame].controls, view, "final"), plane, DEPTHS))

    def posed(**keys: float) -> Image.Image:
        expression = from_shape_keys(keys, actor.schema.expressions, actor.schema.shape_keys)
        frame = actor.render(replace(front, expression=expression), view, "final")
        return Image.fromarray(picture_of(frame, "color", DEPTHS))

    pictures = {
        "held-out frame, captured": captured(held[0]),
        "rendered": shown(held[0]),
        "another, captured": captured(middle),
        "rendered ": shown(middle),
        "depth": shown(middle, "depth"),
        "at rest": posed(),
        "jawOpen": posed(jawOpen=1.0),
        "mouthSmile, both": posed(mouthSmileLeft=1.0, mouthSmileRight=1.0),
        "eyeBlink, both": posed(eyeBlinkLeft=1.0, eyeBlinkRight=1.0),
        "browInnerUp, mouthPucker": posed(browInnerUp=1.0, mouthPucker=1.0),
    }
    sheet = Image.new("RGB", (5 * SIDE, 2 * SIDE), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, picture) in enumerate(pictures.items()):
        place = (number % 5 * SIDE, number // 5 * SIDE)
        sheet.paste(picture, place)
        draw.text((place[0] + 6, place[1] + 4), name, fill="black", stroke_width=2, stroke_fill="white")
    sheet.save(target)


if __name__ == "__main__":
    main(Actor.load(sys.argv[1]), HeadCapture.open(sys.argv[2]), Path(__file__).with_name("nerf_blendshape.png"))
