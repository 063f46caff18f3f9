"""A released checkpoint becomes an actor: `avatar import human_view_synthesis Human36M.256x256.LPIPS.ckpt`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ... import __version__
from ...actor import Actor, describe
from ...body import Body, load_body
from ...body.template import load_template
from ...data.layout import read_picture
from .checkpoint import Checkpoint, read
from .model import Model


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="the .ckpt of view synthesis, of either skeleton")
    parser.add_argument(
        "--appearance",
        type=Path,
        nargs="+",
        default=[],
        help="pictures of the person, who fills them; their mean counts",
    )
    parser.add_argument(
        "--body", type=Path, help="an SMPL, SMPL-H or SMPL-X file that poses it (default: our own body)"
    )
    parser.add_argument("--licence", default="unknown", help="of the checkpoint (default unknown)")
    parser.add_argument("--output", type=Path, required=True, help="the .actor file")


def run(arguments: Namespace) -> int:
    body = load_template() if arguments.body is None else load_body(arguments.body)
    name, pictures = arguments.output.stem, arguments.appearance
    actor = import_actor(read(arguments.checkpoint), body, name, pictures, arguments.licence)
    actor.save(arguments.output)
    people = "the person of the pictures" if pictures else "nobody yet: 'avatar render' takes --appearance"
    print(f"wrote {arguments.output}: {actor.metadata['config']['skeleton']}, {people}")
    return 0


def import_actor(found: Checkpoint, body: Body, name: str, pictures: list[Path], licence: str) -> Actor:
    """pictures: of one person. Raises AvatarError."""
    model = Model(found.config, body)
    model.generator.load_state_dict(found.generator)
    model.eval()
    if pictures:
        model.look_like(model.read_appearance([read_picture(path) for path in pictures]))
    provenance: dict[str, Any] = {
        "name": name,
        "dataset": "Panoptic Studio" if found.config.skeleton == "panoptic117" else "Human3.6M",
        "imported": "HumanViewSynthesis (Rochette et al. 2021)",
        "metrics": {},
        "date": datetime.now(UTC).date().isoformat(),
        "avatar_core": __version__,
    }
    return Actor(model, body, describe("human_view_synthesis", model, body, provenance, licence))
