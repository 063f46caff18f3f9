"""A released checkpoint becomes an actor: `avatar import gdna last.ckpt --body SMPL.npz`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ... import __version__
from ...actor import Actor, describe
from ...body import Body, load_body
from ..checkpoint import CheckpointError
from . import checkpoint
from .body import check_body
from .config import PICTURES, Config
from .model import Model

_SAME = 1e-3  # metres between vertices of one body


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="last.ckpt of the coarse or the fine stage")
    parser.add_argument(
        "--body", type=Path, required=True, help="your SMPL file; the README of gDNA has the female v1.0.0 for neutral"
    )
    parser.add_argument("--picture", choices=PICTURES, default=PICTURES[0], help="what renders show (default shaded)")
    parser.add_argument("--licence", default="unknown", help="of the checkpoint and the body (default unknown)")
    parser.add_argument("--output", type=Path, required=True, help="the .actor file")


def run(arguments: Namespace) -> int:
    found = checkpoint.read(arguments.checkpoint)
    check_template(found, load_body(arguments.body), arguments.checkpoint)
    actor = import_actor(found, load_body(arguments.body), arguments.output.stem, arguments.picture, arguments.licence)
    actor.save(arguments.output)
    stage = "fine: with normals" if found.frequencies else "coarse: without a network for normals"
    print(f"wrote {arguments.output}: {len(found.shapes)} people, {stage}")
    return 0


def check_template(found: checkpoint.Checkpoint, body: Body, path: Path) -> None:
    """Raises CheckpointError where the checkpoint was trained with another body, which shifts the canonical space."""
    if found.template is None:
        return
    if tuple(found.template.shape) != body.vertices.shape:
        raise CheckpointError(
            f"{path} was trained with a body of {len(found.template)} vertices; the given one has {len(body.vertices)}"
        )
    apart = float(np.abs(found.template.numpy() - body.vertices).max())
    if not apart <= _SAME:
        raise CheckpointError(
            f"{path} was trained with another body: vertices are up to {apart * 100:.1f} cm away from the given one's; "
            f"the released models use the female SMPL v1.0.0"
        )


def import_actor(found: checkpoint.Checkpoint, body: Body, name: str, picture: str, licence: str) -> Actor:
    """Raises AvatarError for a body that is not SMPL's."""
    check_body(body)
    model = Model(Config(people=len(found.shapes), frequencies=found.frequencies, picture=picture), body)
    model.networks.load_state_dict(found.networks)
    model.shape.fit(found.shapes)
    if model.detail is not None:
        model.detail.fit(found.details)
    provenance = {
        "name": name,
        "dataset": f"{len(found.shapes)} scans",
        "imported": "gDNA (Chen et al. 2022)",
        "metrics": {},
        "date": datetime.now(UTC).date().isoformat(),
        "avatar_core": __version__,
    }
    return Actor(model.eval(), body, describe("gdna", model, body, provenance, licence))
