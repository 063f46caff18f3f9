"""Names of parameters in released checkpoints, by ours.

Convolutions there carry a weight and a bias of a base class beside those that are used; they are left behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

THEIRS = {"encoder": "encoder", "decoders": "decoder", "aggregator": "aggregator"}
_RULES = (
    (r"^encoder\.texture\.(\d)\.(conv|norm)", r"encoder.texHead.downsample.\1.conv.\2"),
    (r"^encoder\.trunk\.(\d)\.(conv|norm)", r"encoder.downsample.\1.conv.\2"),
    (r"^encoder\.geometry\.", "encoder.geomHead.conv."),
    (r"^encoder\.mean\.", "encoder.meanBatch."),
    (r"^encoder\.log_std\.", "encoder.varBatch."),
    (r"^decoders\.geometry\.", "decoder.geomDecoder.upsample."),
    (r"^decoders\.displacement\.", "decoder.geomDisDecoder.upsample."),
    (r"^decoders\.features\.", "decoder.exprDecoder.upsample."),
    (r"^(decoder\.\w+\.upsample\.\d)\.(conv|norm|bias)", r"\1.conv1.\2"),
    (r"^(decoder\.\w+\.upsample\.\d)\.expand", r"\1.conv2"),
    (r"\.norm\.", ".bn."),
)


def published(ours: str) -> str:
    """The released name of a parameter of `Model`: encoder.mean.bias -> encoder.meanBatch.bias."""
    layer = re.fullmatch(r"aggregator\.(density|colour)\.(\d)\.(\w+)", ours)
    if layer:
        branch = {"density": "alpha_branch", "colour": "color_branch"}[layer[1]]
        return f"aggregator.{branch}.{2 * int(layer[2])}.{layer[3]}"  # activations are counted there
    for pattern, replacement in _RULES:
        ours = re.sub(pattern, replacement, ours)
    return ours


def renamed(ours: Iterable[str]) -> dict[str, str]:
    """Released names by ours."""
    return {name: published(name) for name in ours}
