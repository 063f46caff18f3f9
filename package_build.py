"""How pip builds this package: setuptools, and for a wheel the kernels' binaries before it.

A wheel has kernels for every system, made by zig (fetched by pip for the build), and device code where nvcc is at hand;
`pip wheel . -C kernels=here` makes only the CPU kernels of this system. An editable install has none: the first
compiler found on the machine, or zig where that is installed, builds them when they are first used.
"""

from __future__ import annotations

from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

from avatar_core.cuda import build

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    zig = ["ziglang==0.16.0"] if build.system() in build.TARGETS else []  # it may not exist for others
    return [*build_meta.get_requires_for_build_wheel(config_settings), *zig]


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    here = (config_settings or {}).get("kernels") == "here"
    systems = [name for name in build.TARGETS if not here or name == build.system()]
    for line in build.build(systems, gpu=not here):
        print(line, flush=True)
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
