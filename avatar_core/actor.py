"""Actor: what everybody holds. Load a file, give it controls and a camera, get a frame."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import actor_file
from .actor_file import ActorFileError
from .body import Body
from .camera import Camera
from .config import ConfigError, read_options
from .controls import Controls, ControlSchema
from .errors import AvatarError
from .frame import Frame
from .mesh_file import Mesh
from .methods import METHODS, load_method
from .methods.base import DressableModel, LimbedModel, Model, RiggedModel, SurfaceModel, TexturedModel
from .quality import QUALITIES, Cancelled, quality_named
from .rigged_mesh import RiggedMesh

_HALF_ABOVE = 1 << 15  # tensors with more values are stored in half precision
_MODEL, _BODY, _PREVIEW = "model.", "body.", "preview"
_PREVIEW_SIDE = 1024  # pixels, at most

__all__ = ["QUALITIES", "Actor", "ActorFileError", "Cancelled"]


class Actor:
    """A trained person.

    schema: what drives it. body: the mesh and skeleton that carry it. metadata: JSON-able facts of the file: method,
    config, provenance (dataset, steps, metrics, date), licence. preview: [H, W, 4] uint8 sRGB straight alpha, or None.
    """

    def __init__(self, model: Model, body: Body, metadata: dict[str, Any], preview: np.ndarray | None = None) -> None:
        self._model = model
        self.body, self.metadata, self.preview = body, metadata, preview

    @property
    def model(self) -> Model:
        """What it is made of."""
        return self._model

    @property
    def schema(self) -> ControlSchema:
        return self._model.schema

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu") -> Actor:
        """Reads an .actor file. Raises ActorFileError (or another AvatarError) with one sentence."""
        path = Path(path)
        header = actor_file.read_header(path)
        document = header.document
        if document.get("method") not in METHODS:
            raise ActorFileError(
                f"{path} needs the method '{document.get('method')}', which this avatar_core does not have; update it"
            )
        method = load_method(document["method"])
        try:
            config = read_options(method.Config, document.get("config"), f"{path}: config")
        except ConfigError as error:
            raise ActorFileError(str(error)) from error
        tensors = actor_file.read_tensors(path)
        stored = {name[len(_BODY) :]: array for name, array in tensors.items() if name.startswith(_BODY)}
        body = Body.from_tensors(stored, document.get("body") or {})
        try:
            with torch.device("meta"):  # shapes without memory
                expected = {name: tuple(value.shape) for name, value in method.Model(config, body).state_dict().items()}
        except (ValueError, TypeError, RuntimeError, OverflowError, ArithmeticError) as error:
            raise ActorFileError(f"{path}: its config makes no model ({error})") from error
        for name, shape in expected.items():
            found = header.shapes.get(_MODEL + name)
            if found != shape:
                raise ActorFileError(f"{path}: tensor '{name}' must have shape {shape} for its config, found {found}")
        model = method.Model(config, body)
        state = {name: torch.as_tensor(tensors[_MODEL + name]) for name in expected}
        model.load_state_dict(state)
        if not all(bool(torch.isfinite(value).all()) for value in state.values()):
            raise ActorFileError(f"{path} holds NaN or infinity in its networks; train or export it again")
        preview = tensors.get(_PREVIEW)
        if preview is not None and not _is_small_picture(preview):
            raise ActorFileError(
                f"{path}: its preview is no picture of 4 bytes and at most {_PREVIEW_SIDE} pixels a side"
            )
        return cls(model.eval().to(device), body, document, preview)

    def save(self, path: Path | str) -> None:
        """Writes the file whole or not at all; raises ActorFileError."""
        tensors = {_BODY + name: array for name, array in self.body.to_tensors().items()}
        for name, value in self._model.state_dict().items():  # type: ignore[attr-defined]
            array = value.detach().cpu().contiguous().numpy()
            half = array.dtype == np.float32 and array.size > _HALF_ABOVE and not getattr(self._model, "exact", False)
            tensors[_MODEL + name] = array.astype(np.float16) if half else array
        if self.preview is not None:
            tensors[_PREVIEW] = np.ascontiguousarray(self.preview, np.uint8)
        actor_file.write(Path(path), self.metadata, tensors)

    def render(
        self,
        controls: Controls,
        camera: Camera,
        quality: str = "preview",
        cancel: Callable[[], bool] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        """One picture (see Frame for its spaces). `cancel` is asked several times a second, `progress` told a share
        from 0 to 1. Raises Cancelled, ControlError, or AvatarError for an unknown quality."""
        return self._model.render(self.schema.check(controls), camera, quality_named(quality), cancel, progress)

    def proxy_mesh(self, controls: Controls) -> tuple[np.ndarray, np.ndarray]:
        """A posed stand-in: vertices [V, 3] world metres, triangles [F, 3]. For shadows, viewport and bounds."""
        return self._model.proxy_mesh(self.schema.check(controls))

    def surface(self, controls: Controls, detail: int = 2) -> Mesh:
        """The posed surface with vertex colours; `detail` 1 to 8, finer when larger. Raises AvatarError, also for
        methods that have no surface."""
        if not isinstance(self._model, SurfaceModel):
            raise AvatarError(f"actors of the method '{self.metadata['method']}' have no surface to export")
        return self._model.surface(self.schema.check(controls), detail)

    def read_appearance(self, *pictures: np.ndarray) -> np.ndarray:
        """The control `appearance` [A] of the person whom pictures [H, W, 3 or 4] uint8 show; the square in their
        middle counts. Raises AvatarError, also for methods that always look like one person."""
        if not isinstance(self._model, DressableModel):
            raise AvatarError(f"actors of the method '{self.metadata['method']}' look like one person only")
        return self._model.read_appearance(pictures)

    def rigged(self, controls: Controls, detail: int = 2) -> RiggedMesh:
        """The person as a mesh with bones and shape keys, whatever the pose; exact at the betas of `controls`. `detail`
        1 to 8, as of `surface`. Raises AvatarError, also for methods whose people are no skinned meshes."""
        if not isinstance(self._model, RiggedModel):
            raise AvatarError(f"actors of the method '{self.metadata['method']}' are no meshes that bones can deform")
        return self._model.rigged(self.schema.check(controls), detail)

    @property
    def limbs(self) -> tuple[str, ...]:
        """Names of the limbs that `Frame.limb` counts; empty for methods whose frames tell of none."""
        return self._model.limb_names if isinstance(self._model, LimbedModel) else ()

    @property
    def textured(self) -> bool:
        """Whether there is a `texture`."""
        return isinstance(self._model, TexturedModel)

    def texture(self, controls: Controls) -> np.ndarray:
        """The texture map of a pose: [S, S, 3] float32, display sRGB in [0, 1], v = 1 in the top row. Raises
        AvatarError for methods without."""
        if not isinstance(self._model, TexturedModel):
            raise AvatarError(f"actors of the method '{self.metadata['method']}' have no texture maps")
        return self._model.texture_image(self.schema.check(controls))


def describe(method: str, model: Any, body: Body, provenance: dict[str, Any], licence: str) -> dict[str, Any]:
    """The metadata document of a new actor (docs/actor_format.md)."""
    low, high = body.vertices.min(0), body.vertices.max(0)
    document = {
        "method": method,
        "config": dataclasses.asdict(model.config),
        "schema": model.schema.to_dict(),
        "body": body.meta(),
        "bounds": [low.tolist(), high.tolist()],
        "colour_space": "networks: display sRGB; frames: scene-linear Rec.709, premultiplied",
        "provenance": provenance,
        "licence": licence,
    }
    return json.loads(json.dumps(document, allow_nan=False))


def _is_small_picture(array: np.ndarray) -> bool:
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 4 and max(array.shape) <= _PREVIEW_SIDE
