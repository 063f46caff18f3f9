"""Draws docs/images/human_view_synthesis.png and human_view_synthesis_transfer.png from a trained actor:

python docs/images/make_human_view_synthesis.py out/people out/people_views/people.actor

The first has held-out cameras and the held-out person: what a training camera saw, the held-out picture, and what the
actor draws in its place. The second has motions of one person carried to others, who were seen in one picture each.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from avatar_core.actor import Actor
from avatar_core.data.people.capture import PeopleCapture, Recording
from avatar_core.data.people.views import ViewReader
from avatar_core.frame import linear_to_srgb

_BEHIND = np.array([0.93, 0.93, 0.93])


def main(folder: str, path: str) -> None:
    capture, actor = PeopleCapture.open(folder), Actor.load(path)
    config = actor.metadata["config"]
    reader = ViewReader(config["size"], config["extent"])
    here = Path(__file__).parent
    held = next(place for place, view in enumerate(capture.recordings[0].cameras) if view.split == "test")
    rows = []
    for one in (capture.recordings[0], capture.recordings[1], capture.recordings[-1]):
        row = []
        for frame in (2, 7, 11):
            row += [*_compared(actor, reader, one, 0, held, frame)]
        rows.append(np.concatenate(row, 1))
    Image.fromarray(np.concatenate(rows)).save(here / "human_view_synthesis.png", optimize=True)
    people = [capture.recordings[0], capture.recordings[1], capture.recordings[-1]]
    motion, frames = capture.recordings[2], (0, 5, 8, 10, 14)
    top = [np.full((config["size"], config["size"], 3), np.round(255 * _BEHIND), np.uint8)]
    top += [_over(reader.read(motion, 1, frame).picture) for frame in frames]
    rows = [np.concatenate(top, 1)]
    for one in people:
        shown = reader.read(one, 0, 0).picture
        appearance = actor.read_appearance(shown)
        drawn = [_drawn(actor, reader, motion, 1, frame, appearance) for frame in frames]
        rows.append(np.concatenate([_over(shown), *drawn], 1))
    Image.fromarray(np.concatenate(rows)).save(here / "human_view_synthesis_transfer.png", optimize=True)


def _compared(
    actor: Actor, reader: ViewReader, one: Recording, first: int, second: int, frame: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What was given, what was held out, and what is drawn."""
    given = reader.read(one, first, frame).picture
    appearance = actor.read_appearance(given)
    drawn = _drawn(actor, reader, one, second, frame, appearance)
    return _over(given), _over(reader.read(one, second, frame).picture), drawn


def _drawn(
    actor: Actor, reader: ViewReader, one: Recording, camera: int, frame: int, appearance: np.ndarray
) -> np.ndarray:
    view = reader.read(one, camera, frame)
    controls = replace(actor.schema.neutral(), points=one.joints.world[frame], appearance=appearance)
    rgba = actor.render(controls, view.camera, "final").rgba
    alpha = rgba[..., 3:]
    straight = linear_to_srgb(rgba[..., :3] / np.maximum(alpha, 1e-4))
    return np.round(255 * (straight * alpha + _BEHIND * (1 - alpha)).clip(0, 1)).astype(np.uint8)


def _over(picture: np.ndarray) -> np.ndarray:
    alpha = picture[..., 3:] / 255
    return np.round(picture[..., :3] * alpha + 255 * _BEHIND * (1 - alpha)).astype(np.uint8)


if __name__ == "__main__":
    main(*sys.argv[1:])
