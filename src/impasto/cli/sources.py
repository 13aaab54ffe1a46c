"""Where a run's settings and pictures come from: a preset, an earlier painting's file, what was
typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from impasto.config import changed_by
from impasto.errors import ConfigError
from impasto.presets import preset

if TYPE_CHECKING:
    from impasto.config import Config, Machine

__all__ = ["Sources", "sources_of"]


class Sources(NamedTuple):
    """The settings and the pictures to paint from, and a texture's size (as 640x480) or ""."""

    config: Config
    machine: Machine
    pictures: tuple[str, ...]
    blank_content: str


def sources_of(
    pictures: tuple[str, ...], preset_name: str | None, source: str | None, typed: dict[str, Any]
) -> Sources:
    """Find the settings and pictures of a command line: a preset's settings, or an earlier
    painting's (`source`), with `typed` on top.

    Raises ConfigError, also if the earlier painting's own pictures are wanted and have changed
    since.
    """
    if source is None:
        return Sources(*changed_by(typed, preset(preset_name or "default").config), pictures, "")
    if preset_name:
        raise ConfigError(
            "give --from or --preset, not both: each is a whole set of settings", preset_name
        )
    from impasto.images.read import read_settings
    from impasto.painting.levels import BLANK
    from impasto.painting.record import recorded_settings

    recorded = read_settings(source)
    blank_content = next((each["name"] for each in recorded["inputs"] if each["role"] == BLANK), "")
    if not pictures:
        files = [each for each in recorded["inputs"] if each["role"] != BLANK]
        pictures = tuple(each["name"] for each in files if each["role"] in ("content", "style"))
        _check_unchanged(files)
    try:
        config, machine = recorded_settings(recorded)
    except ConfigError as error:
        raise ConfigError(
            f"{source} has settings that cannot be taken over: {error}", error.value
        ) from None
    return Sources(*changed_by(typed, config, machine), pictures, blank_content)


def _check_unchanged(inputs: list[dict[str, str]]) -> None:
    from impasto.images.read import read

    for each in inputs:
        if read(each["name"]).sha256 != each["sha256"]:
            raise ConfigError(
                f"{each['name']} is not the picture that was painted then: name the pictures "
                "to paint it all the same",
                each["name"],
            )
