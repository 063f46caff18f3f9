"""uv_labels.png: which part of the skin a texel shows. 0 skin; see LABELS for the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .source import Source

LABELS = ("face", "ears", "eyelids", "lips", "fingernails", "toenails", "inside-mouth")  # values 1, 2, ...
_SIDE = 1024
_LEAST = 100  # of 255 in a mask


def write_labels(source: Source, path: Path) -> None:
    """Merges the source's masks; where two overlap the later label wins."""
    labels = np.zeros((_SIDE, _SIDE), np.uint8)
    for value, name in enumerate(LABELS, 1):
        mask = source.mask(name).resize((_SIDE, _SIDE), Image.Resampling.BOX)
        labels[np.asarray(mask) > _LEAST] = value
    Image.fromarray(labels, "L").save(path, optimize=True)
