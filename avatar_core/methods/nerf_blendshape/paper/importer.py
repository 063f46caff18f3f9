"""A released checkpoint becomes an actor: `avatar import nerf_blendshape ngp_X.pth.tar --data FOLDER`."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .... import __version__
from ....actor import Actor, describe
from ....body.stand_in import stand_in
from ....config import read_options
from ....data.layout import LayoutError
from ....data.nerf_blendshape import COEFFICIENTS, HeadFolder, range_files, read_range
from ....errors import AvatarError
from ..compact import PRINCIPAL, compacted
from . import checkpoint
from .config import Config
from .model import Model


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="ngp_*.pth.tar")
    parser.add_argument(
        "--data", type=Path, required=True, help=f"folder of max_{COEFFICIENTS}.txt and min_{COEFFICIENTS}.txt"
    )
    parser.add_argument(
        "--test-start", type=int, help="where those are missing: the first test frame of the folder's transforms.json"
    )
    parser.add_argument(
        "--shape-keys", type=Path, help="JSON {expression: [shape keys whose mean it is]}, instead of ARKit's"
    )
    parser.add_argument(
        "--compact", action="store_true", help="24 MB instead of 97: fewer tables, in 8 bits; says what is lost"
    )
    parser.add_argument("--licence", default="unknown", help="of the checkpoint (default unknown)")
    parser.add_argument("--output", type=Path, required=True, help="the .actor file")


def run(arguments: Namespace) -> int:
    config = read_options(Config, _shape_keys(arguments.shape_keys), str(arguments.shape_keys))
    found, ranges = checkpoint.read(arguments.checkpoint, config), read_ranges(arguments.data, arguments.test_start)
    if arguments.compact:
        field, lost = compacted(config, found.field, np.abs(ranges).max(0))
        found, config = replace(found, field=field), replace(config, principal=PRINCIPAL)
        print(f"{PRINCIPAL} principal tables: {100 * lost:.1f} % of what the expressions add is lost")
    actor = import_actor(
        found,
        config,
        ranges,
        arguments.output.stem,
        arguments.data.name,
        arguments.licence,
    )
    actor.save(arguments.output)
    low, high = actor.body.vertices.min(0), actor.body.vertices.max(0)
    print(f"wrote {arguments.output}: a head {' x '.join(f'{side * 100:.0f}' for side in high - low)} cm")
    return 0


def _shape_keys(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return {"shape_keys": json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, RecursionError) as error:
        raise AvatarError(f"{path} cannot be read as JSON: {error}") from error


def read_ranges(folder: Path, start: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest coefficients [46]. Raises LayoutError."""
    files = range_files(folder)
    if all(path.exists() for path in files):
        return read_range(files[0]), read_range(files[1])
    if start is None:
        raise LayoutError(
            f"{folder} has no {files[1].name} and {files[0].name}, which are not in the checkpoint: give the folder "
            f"that it was trained on, or --test-start to compute them from its transforms.json"
        )
    source = HeadFolder.open(folder)
    if source.coefficients != COEFFICIENTS:
        raise LayoutError(
            f"{folder} has {source.coefficients} coefficients a frame, released heads have {COEFFICIENTS}"
        )
    return source.ranges(start)


def import_actor(
    found: checkpoint.Checkpoint,
    config: Config,
    ranges: tuple[np.ndarray, np.ndarray],
    name: str,
    dataset: str,
    licence: str,
) -> Actor:
    """ranges: lowest and highest coefficients."""
    edge = np.full(3, config.bound / config.scale)
    model = Model(config, stand_in(name, -edge, edge, licence))
    model.field.load_state_dict(found.field)
    model.set_grid(found.grid)
    model.set_ranges(*ranges)
    model.body = stand_in(name, *model.extent(), licence)
    provenance: dict[str, Any] = {
        "name": name,
        "dataset": dataset,
        "imported": "NeRFBlendShape (Gao et al. 2022)",
        "metrics": {},
        "date": datetime.now(UTC).date().isoformat(),
        "avatar_core": __version__,
        **({} if found.step is None else {"steps": found.step}),
    }
    document = describe("nerf_blendshape_paper", model, model.body, provenance, licence)
    return Actor(model.eval(), model.body, document)
