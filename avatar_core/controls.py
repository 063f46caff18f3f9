"""What drives an actor: a schema that the actor states, and the values of one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import AvatarError

_MAX_VALUES = 1 << 16  # of one control; more is a broken or hostile message


class ControlError(AvatarError):
    """Controls that the actor cannot take; the sentence names the control."""


@dataclass(frozen=True)
class Controls:
    """One frame's values, float32. Everything that a schema does not name stays empty.

    pose: [J, 3] axis-angle, radians, each joint relative to its parent, in the order of `ControlSchema.joints`.
    transl: [3] metres, world. betas: [B] body shape. expression: [E], 0 to 1, in the order of the schema.
    head: [4, 4] rigid, head to world, for actors that have no skeleton. latents: named vectors. appearance: [A].
    points: [P, 3] metres, world, of `ControlSchema.points`; NaN where one is not known. They count instead of a pose.
    """

    pose: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    transl: np.ndarray = field(default_factory=lambda: np.zeros(3, np.float32))
    betas: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    expression: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    head: np.ndarray | None = None
    latents: dict[str, np.ndarray] = field(default_factory=dict)
    appearance: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able lists; empty controls are left out."""
        data: dict[str, Any] = {
            name: getattr(self, name).tolist()
            for name in ("pose", "transl", "betas", "expression", "appearance")
            if getattr(self, name).size
        }
        if self.head is not None:
            data["head"] = self.head.tolist()
        if self.latents:
            data["latents"] = {name: value.tolist() for name, value in self.latents.items()}
        if self.points.size:  # JSON has no NaN
            data["points"] = [
                point if known else None for point, known in zip(self.points.tolist(), _known(self.points))
            ]
        return data

    @classmethod
    def from_dict(cls, data: Any) -> Controls:
        """The inverse of `to_dict`; raises ControlError for names and values that are no controls."""
        if not isinstance(data, dict):
            raise ControlError(f"controls must be an object with named values, got {type(data).__name__}")
        unknown = sorted(set(data) - set(cls.__dataclass_fields__))
        if unknown:
            raise ControlError(f"unknown control '{unknown[0]}'; known are {', '.join(cls.__dataclass_fields__)}")
        named = {name: value for name, value in data.items() if name not in ("latents", "points")}
        values: dict[str, Any] = {name: _floats(name, value) for name, value in named.items()}
        if "points" in data:
            if not isinstance(data["points"], list):
                raise ControlError("control 'points' must be a list of places, null where one is not known")
            unknown_point = [float("nan")] * 3
            values["points"] = _floats("points", [unknown_point if p is None else p for p in data["points"]])
        if "pose" in values:
            values["pose"] = values["pose"].reshape(-1, 3) if values["pose"].size % 3 == 0 else values["pose"]
        if "latents" in data:
            if not isinstance(data["latents"], dict):
                raise ControlError("control 'latents' must be an object of named vectors")
            values["latents"] = {str(key): _floats(f"latents.{key}", v) for key, v in data["latents"].items()}
        return cls(**values)


@dataclass(frozen=True)
class ControlSchema:
    """What an actor takes. Rest values are zeros (identity for `head`).

    shape_keys: of expressions that are not driven by the shape key of their own name, those whose mean they are.
    points: names of places in the world that may drive it instead of a pose.
    """

    joints: tuple[str, ...] = ()
    betas: int = 0
    expressions: tuple[str, ...] = ()
    latents: dict[str, int] = field(default_factory=dict)
    appearance: int = 0
    head: bool = False
    shape_keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    points: tuple[str, ...] = ()

    def neutral(self) -> Controls:
        """The rest pose at the origin."""
        return Controls(
            pose=np.zeros((len(self.joints), 3), np.float32),
            betas=np.zeros(self.betas, np.float32),
            expression=np.zeros(len(self.expressions), np.float32),
            head=np.eye(4, dtype=np.float32) if self.head else None,
            latents={name: np.zeros(size, np.float32) for name, size in self.latents.items()},
            appearance=np.zeros(self.appearance, np.float32),
        )

    def check(self, controls: Controls) -> Controls:
        """`controls` with what is missing at rest; raises ControlError for a wrong size, a NaN or a control that
        this actor does not have."""
        rest = self.neutral()
        values: dict[str, Any] = {}
        for name in ("pose", "transl", "betas", "expression", "appearance"):
            values[name] = _fit(name, getattr(controls, name), getattr(rest, name))
        if controls.head is not None and not self.head:
            raise ControlError("this actor has no control 'head'; drive it with 'pose' and 'transl'")
        if self.head:
            values["head"] = rest.head if controls.head is None else _fit("head", controls.head, rest.head)
        extra = sorted(set(controls.latents) - set(self.latents))
        if extra:
            raise ControlError(f"this actor has no latent '{extra[0]}'; it has {', '.join(self.latents) or 'none'}")
        values["latents"] = {
            name: _fit(f"latents.{name}", controls.latents.get(name, zero), zero) for name, zero in rest.latents.items()
        }
        values["points"] = self._points(np.asarray(controls.points, np.float32))
        return Controls(**values)

    def _points(self, points: np.ndarray) -> np.ndarray:
        if points.size and not self.points:
            raise ControlError("this actor has no control 'points'")
        if points.size and points.shape != (len(self.points), 3):
            raise ControlError(f"control 'points' must have shape {(len(self.points), 3)}, got {points.shape}")
        if points.size and not _known(points).any():
            raise ControlError("control 'points' has no place that is known; map the rig's bones to the actor's joints")
        return np.where(_known(points)[:, None], points, np.float32(np.nan)) if points.size else points

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for an actor file; what the actor does not have of the rarer kinds is left out."""
        data: dict[str, Any] = {
            "joints": list(self.joints),
            "betas": self.betas,
            "expressions": list(self.expressions),
            "latents": dict(self.latents),
            "appearance": self.appearance,
            "head": self.head,
        }
        if self.points:
            data["points"] = list(self.points)
        if self.shape_keys:
            data["shape_keys"] = {name: list(keys) for name, keys in self.shape_keys.items()}
        return data

    @classmethod
    def from_dict(cls, data: Any) -> ControlSchema:
        """The inverse of `to_dict`; raises ControlError."""
        try:
            schema = cls(
                joints=tuple(str(name) for name in data["joints"]),
                betas=int(data["betas"]),
                expressions=tuple(str(name) for name in data["expressions"]),
                latents={str(name): int(size) for name, size in data["latents"].items()},
                appearance=int(data["appearance"]),
                head=bool(data["head"]),
                shape_keys={str(k): tuple(map(str, keys)) for k, keys in data.get("shape_keys", {}).items()},
                points=tuple(map(str, data.get("points", ()))),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ControlError(f"the control schema is damaged ({error!r})") from error
        sizes = (schema.betas, schema.appearance, *schema.latents.values(), len(schema.points))
        if any(not 0 <= size <= _MAX_VALUES for size in sizes) or len(schema.joints) > 4096:
            raise ControlError("the control schema asks for an absurd number of values")
        return schema


def _known(points: np.ndarray) -> np.ndarray:
    """Of points [P, 3], which are numbers."""
    return np.isfinite(points).all(1)


def _floats(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise ControlError(f"control '{name}' must hold numbers only") from error
    if array.size > _MAX_VALUES:
        raise ControlError(f"control '{name}' holds {array.size} values, more than any actor takes")
    return array


def _fit(name: str, value: np.ndarray, rest: np.ndarray | None) -> np.ndarray:
    assert rest is not None
    value = np.asarray(value, np.float32)
    if value.size == 0:
        return rest
    if rest.size == 0:
        raise ControlError(f"this actor has no control '{name}'")
    if value.shape != rest.shape:
        raise ControlError(f"control '{name}' must have shape {rest.shape}, got {value.shape}")
    if not np.isfinite(value).all():
        raise ControlError(f"control '{name}' holds NaN or infinity")
    return value
