"""Combine the arguments of a call: a config, settings by keyword, and pictures in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from impasto.config import Config, Machine, changed_by
from impasto.errors import ConfigError, shortened
from impasto.fields import marked
from impasto.images.read import Source

__all__ = ["combined", "is_setting"]


def combined(
    config: Config | None,
    machine: Machine | None,
    named: Mapping[str, Source] | None,
    settings: Mapping[str, Any],
) -> tuple[Config, Machine, dict[str, Source]]:
    """Return the config, the machine, and the pictures in memory by the config's names for them.

    Args:
        config, machine: None: the defaults.
        named: pictures in memory, by name.
        settings: fields of Config and Machine, which take precedence. Where these take a picture's
            path, they take a picture in memory too; a mask is a tuple of two or three of them.

    Raises:
        ConfigError: an argument is of the wrong kind, or a setting is invalid.
    """
    for name, kind, value in (("config", Config, config), ("machine", Machine, machine)):
        if value is not None and not isinstance(value, kind):
            raise ConfigError(
                f"{name} is {shortened(value)}: it takes an impasto.{kind.__name__}; give single "
                "settings as keywords, as size=512",
                value,
            )
    pictures = dict(named or {})
    changes = dict(settings)
    for role in marked(Config, "path"):
        if role in changes:
            changes[role] = _name(role, changes[role], pictures)
    if "mask" in changes:
        changes["mask"] = _masks(changes["mask"], pictures)
    return (*changed_by(changes, config or Config(), machine), pictures)


def is_setting(start: object) -> bool:
    """Return whether `start` is a value of the setting, and not a picture in memory."""
    return isinstance(start, (str, os.PathLike, Mapping))


def _name(role: str, value: Any, pictures: dict[str, Source]) -> Any:
    """Return the path of a picture, or the name under which it was put into `pictures`."""
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if value is None:
        return ""
    pictures[role] = value
    return role


def _masks(value: Any, pictures: dict[str, Source]) -> Any:
    """Return the setting `mask` of texts and of tuples (mask, style[, mask of the style])."""
    if isinstance(value, tuple) and not any(
        isinstance(part, tuple) or (isinstance(part, str) and "=" in part) for part in value
    ):
        value = [value]  # a single region
    if not isinstance(value, (list, tuple)):
        return value
    masks = []
    for k, region in enumerate(value, 1):
        if not isinstance(region, tuple):
            masks.append(region)
            continue
        names = (f"mask-{k}", f"mask-{k}-style", f"mask-{k}-style-mask")
        parts = [
            str(_name(name, part, pictures)).replace("=", "==")
            for name, part in zip(names, region, strict=False)
        ]
        masks.append("=".join(parts))
    return masks
