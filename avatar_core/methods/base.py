"""What every method provides; the actor, the trainer and the worker know nothing else of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from ..camera import Camera
from ..controls import Controls, ControlSchema
from ..data.capture import Capture
from ..frame import Frame
from ..mesh_file import Mesh
from ..quality import Quality
from ..rigged_mesh import RiggedMesh


@dataclass(frozen=True)
class RayBatch:
    """Training pixels of one picture.

    frame: the index of the pose, so that what depends only on it can be kept. pixels: [N, K, 2] x, y of the K rays
    whose mean is compared with a pixel. rgba: [N, 4] float32 in [0, 1], display sRGB, straight alpha, as captured.
    correction: what is learnt to be added to the controls' pose [J, 3] and transl [3]; None where poses are right.
    perceptual: of a batch whose pixels are a square, row by row: its loss for [N, 3] over one background
    (white, or the captured), rendered and captured.
    """

    frame: int
    controls: Controls
    camera: Camera
    pixels: np.ndarray
    rgba: np.ndarray
    correction: tuple[Tensor, Tensor] | None = None
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None


class Model(Protocol):
    """A torch module made by `Model(config, body)`; its `state_dict` is what an actor file stores."""

    schema: ControlSchema

    def render(
        self,
        controls: Controls,
        camera: Camera,
        quality: Quality,
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        """A frame; raises Cancelled when `cancel()` turns true (asked several times a second)."""

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        """A posed stand-in for shadows and bounds: vertices [V, 3] world metres, triangles [F, 3]."""


@runtime_checkable
class SurfaceModel(Model, Protocol):
    """A model that has a surface to export."""

    def surface(self, controls: Controls, detail: int) -> Mesh:
        """The posed surface with colours, in the world; `detail` 1 to 8, finer when larger. Raises AvatarError."""


@runtime_checkable
class RiggedModel(Model, Protocol):
    """A model whose people are meshes that are skinned linearly."""

    def rigged(self, controls: Controls, detail: int) -> RiggedMesh:
        """The person of some latents and betas, before the pose; `detail` as of `SurfaceModel.surface`. Raises
        AvatarError."""


@runtime_checkable
class TexturedModel(Model, Protocol):
    """A model that has a texture map for every pose."""

    def texture_image(self, controls: Controls) -> np.ndarray:
        """[S, S, 3] float32, display sRGB in [0, 1], v = 1 in the top row."""


@runtime_checkable
class LimbedModel(Model, Protocol):
    """A model whose frames tell which limb shows."""

    limb_names: tuple[str, ...]  # of those that `Frame.limb` counts


@runtime_checkable
class DressableModel(Model, Protocol):
    """A model that looks like whom pictures show."""

    def read_appearance(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """The control `appearance` [A] of the person whom pictures [H, W, 3 or 4] uint8 show. Raises AvatarError."""


class Trainable(Protocol):
    """What `avatar train` asks of what it trains."""

    def prepare(self, capture: Capture, frames: Sequence[int]) -> None:
        """Called once before training, with the frames (indices) to train on. Raises CaptureError."""

    def losses(self, batches: Sequence[RayBatch], progress: float) -> dict[str, Tensor]:
        """Named, weighted loss terms; their sum is minimised. 'colour', where there is one, holds the plain squared
        error, without gradient where another one is minimised. progress: the share of the training that is done, 0
        to 1."""

    def after_step(self, step: int, steps: int) -> None:
        """Called after each optimiser step: schedules, pruning."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for Adam, each with its own `lr`. A group of one table of features whose gradient `blend_tables`
        records names that list as `factors`, and gets sparse Adam."""


@runtime_checkable
class TrainableModel(Model, Trainable, Protocol):
    """A model that `avatar train` can make."""


@runtime_checkable
class Trainee(Trainable, Protocol):
    """What is trained where that is more than the model of an actor, such as one code a scan. A method's module has it
    as `Trainee`, and its options as `TrainingConfig`."""

    def finished(self, capture: Capture) -> tuple[Model, Capture]:
        """The model of the actor as it stands, and the capture with what the training has found out of its frames."""
