"""Draws npva.png: `python docs/images/make_npva.py ACTOR FOLDER`.

Held-out frames of a head before several cameras: captured, rendered, and below the tracked mesh. The first row is a
camera that training saw, the second one that is held out, where there is one. Prints each row's PSNR within the face:
4 pixels inside of silhouettes, which the tracked mesh only comes near to.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from avatar_core.actor import Actor
from avatar_core.data.multiface_capture import MultifaceCapture
from avatar_core.methods.npva import Model
from training.heads.replay import panels

HEIGHT, LABEL = 240, 16
BORDER = 4  # pixels


def main(actor: Actor, capture: MultifaceCapture, target: Path) -> None:
    assert isinstance(actor.model, Model)
    held = [i for i, frame in enumerate(capture.frames) if frame.split == "test"]
    cameras = [next(i for i, c in enumerate(capture.cameras) if c.split == "train")]
    cameras += [i for i, c in enumerate(capture.cameras) if c.split == "test"][:1]
    rows = []
    for camera in cameras:
        frames = held[0], held[len(held) // 2]
        shown = [panels(actor.model, capture, camera, frame, "final") for frame in frames]
        errors = [within(capture.image(camera, frame)[..., 3], one) for frame, one in zip(frames, shown, strict=True)]
        print(f"{capture.cameras[camera].name}: {-10 * np.log10(np.concatenate(errors).mean()):.1f} dB within the face")
        row = Image.fromarray(np.concatenate(shown, 1))
        rows.append(row.resize((row.width * HEIGHT // row.height, HEIGHT), Image.Resampling.LANCZOS))
    sheet = Image.new("RGB", (rows[0].width, len(rows) * (HEIGHT + LABEL)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, row in enumerate(rows):
        top, kind = place * (HEIGHT + LABEL), "training" if place == 0 else "held-out"
        sheet.paste(row, (0, top + LABEL))
        for part in range(6):
            text = ("captured", "rendered", "tracked mesh")[part % 3]
            draw.text(
                (part * row.width // 6 + 4, top + 3), f"{text} ({kind} camera)" if not part % 3 else text, "black"
            )
    sheet.save(target, optimize=True)


def within(alpha: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Squared errors of colours in [0, 1] within a face. shown: [H, 3 W, 3], captured and rendered first."""
    captured, rendered, _ = np.split(shown / 255.0, 3, 1)
    return np.square(captured - rendered)[binary_erosion(alpha > 127, iterations=BORDER)]


if __name__ == "__main__":
    main(Actor.load(Path(sys.argv[1])), MultifaceCapture.open(sys.argv[2]), Path(__file__).with_name("npva.png"))
