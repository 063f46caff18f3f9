"""Draws texture.png: `python docs/images/make_texture.py CAPTURE` (after `avatar textures CAPTURE --held-out`).

The network that paints texture maps learns from the maps of the training frames alone. Beside each other, for held-out
frames: the map that was projected from the pictures of the frame, the one that is painted for its pose, and the mean of
the training's maps. Texels that no camera saw are grey. The figures that it prints are PSNR over texels that were seen.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from avatar_core.data.capture import Capture
from avatar_core.methods.neural_actor.paper import Config, Model
from avatar_core.methods.neural_actor.paper.dynamic_texture import TexturePredictor, texture_loss
from avatar_core.methods.neural_actor.paper.training import Lessons
from training.metrics import psnr

SIZE, STEPS, RATE, SHOWN = 256, 400, 5e-3, 3


def main(capture: Capture, target: Path) -> None:
    torch.manual_seed(0)
    train, test = ([i for i, f in enumerate(capture.frames) if f.split == split] for split in ("train", "test"))
    model, lessons = Model(Config(texture_size=SIZE), capture.body), Lessons(capture, train, SIZE)
    painter, mean = model.textures, lessons.mean()
    assert isinstance(painter, TexturePredictor)
    painter.mean.data.copy_(mean.permute(2, 0, 1))
    with torch.no_grad():
        pictures = {i: model._picture(capture.frames[i].controls) for i in (*train, *test)}

    def painted(frame: int) -> Tensor:
        return model.paint(pictures[frame], capture.frames[frame].controls)

    optimizer = torch.optim.Adam(painter.parameters(), betas=(0.9, 0.99), eps=1e-15)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * 0.03 ** (step / STEPS) * min(1, (step + 1) / 50)
        frame = train[int(torch.randint(len(train), ()))]
        optimizer.zero_grad()
        texture_loss(painted(frame), lessons.texture(frame), lessons.confidence(frame)).backward()
        optimizer.step()
    sheet = Image.new("RGB", (3 * SIZE, SHOWN * SIZE), "white")
    draw, scores = ImageDraw.Draw(sheet), []
    shown = [test[i] for i in np.linspace(0, len(test) - 1, SHOWN).astype(int)]
    for frame in test:
        seen = lessons.confidence(frame).numpy() > 0
        with torch.inference_mode():
            maps = [one.clamp(0, 1).numpy() for one in (lessons.texture(frame), painted(frame), mean)]
        scores.append([psnr(maps[0][seen], one[seen]) for one in maps[1:]])
        for column, image in enumerate(maps if frame in shown else ()):
            pixels = np.where(seen[..., None], image * 255, 128).round().astype(np.uint8)
            place = (column * SIZE, shown.index(frame) * SIZE)
            sheet.paste(Image.fromarray(pixels), place)
            name = ("projected", "painted", "mean")[column]
            draw.text((place[0] + 6, place[1] + 4), name, fill="black", stroke_width=2, stroke_fill="white")
    sheet.quantize(256).save(target, optimize=True)
    ours, static = np.mean(scores, axis=0)
    print(f"{len(test)} held-out poses: painted {ours:.2f} dB, mean texture {static:.2f} dB")


if __name__ == "__main__":
    main(Capture.open(sys.argv[1]), Path(__file__).with_name("texture.png"))
