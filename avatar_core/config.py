"""Options from untyped data (YAML, JSON) to frozen dataclasses. A wrong key or type is an error with the remedy."""

from __future__ import annotations

import dataclasses
import difflib
import math
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from .errors import AvatarError

T = TypeVar("T")


class ConfigError(AvatarError):
    """A configuration that cannot be used; the sentence names the file and the key."""


def read_options(kind: type[T], data: Any, where: str) -> T:
    """`data` (a mapping) as the dataclass `kind`; nested dataclasses are read likewise.

    where: what the sentence of an error starts with, such as the file's name. Raises ConfigError.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected options by name, got {type(data).__name__}")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1, 0.4)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(fields)}"
            raise ConfigError(f"{where}: unknown option '{key}'; {hint}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise ConfigError(f"{where}: option '{name}' is missing")
    return kind(**{key: _convert(hints[key], value, f"{where}: option '{key}'") for key, value in data.items()})


def read_yaml(path: Path) -> dict[str, Any]:
    """The options in a YAML file. Raises ConfigError."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds no options")
    return data


def _convert(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return read_options(kind, value, where)  # type: ignore[arg-type]
    if kind is Any:
        return value
    if get_origin(kind) in (list, tuple):
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} must be a list, got {value!r}")
        return get_origin(kind)(_convert(get_args(kind)[0], item, where) for item in value)
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be options by name, got {value!r}")
        return value
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{where} must be a {kind.__name__}, got {value!r}")
    return value
