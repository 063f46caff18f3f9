"""How pip builds this package: setuptools, and for a wheel the kernels' binaries before it.

A wheel has kernels for every system, made by zig (fetched by pip for the build), and device code where nvcc is at hand.
An editable install has none: the first compiler found on the machine builds them when they are first used.
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
    return [*build_meta.get_requires_for_build_wheel(config_settings), "ziglang==0.16.0"]


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    from avatar_core.cuda.build import build

    for line in build():
        print(line, flush=True)
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
