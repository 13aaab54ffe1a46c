"""Combine the settings and pictures of a command line with a preset or an earlier painting."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from impasto.config import changed_by
from impasto.errors import ConfigError
from impasto.presets import preset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from impasto.config import Config, Machine


class Sources(NamedTuple):
    """The settings, and the paths of content and styles. blank_content: a texture's size, or ""."""

    config: Config
    machine: Machine
    pictures: tuple[str, ...]
    blank_content: str


def sources_of(
    pictures: tuple[str, ...], preset_name: str | None, source: str | None, typed: dict[str, Any]
) -> Sources:
    """Determine the settings and pictures of a command line.

    Args:
        pictures: content and styles from the command line; if there are none, those of `source`.
        preset_name: of the preset; None: "default".
        source: the file of an earlier painting, whose settings replace the preset's.
        typed: the settings from the command line, which take precedence.

    Raises:
        ConfigError: a setting is invalid, or the pictures of `source` have changed since.
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
    inputs = recorded["inputs"]
    blank_content = next((entry["name"] for entry in inputs if entry["role"] == BLANK), "")
    if not pictures:
        files = [entry for entry in inputs if entry["role"] != BLANK]
        pictures = tuple(file["name"] for file in files if file["role"] in ("content", "style"))
        _check_unchanged(files)
    try:
        config, machine = recorded_settings(recorded)
    except ConfigError as error:
        raise ConfigError(
            f"{source} has settings that cannot be used: {error}", error.value
        ) from None
    return Sources(*changed_by(typed, config, machine), pictures, blank_content)


def with_styles(pictures: tuple[str, ...], styles: tuple[str, ...]) -> tuple[str, ...]:
    """Return the content and its styles, of arguments and of `--style`.

    Raises ConfigError if styles are given both ways, or a name is empty.
    """
    if "" in (*pictures, *styles):
        raise ConfigError("the name of a picture is empty", (*pictures, *styles))
    if styles and len(pictures) > 1:
        raise ConfigError(
            f"{len(pictures)} pictures, and --style {styles[0]}: with --style give one CONTENT; "
            "say every style with a --style of its own",
            pictures,
        )
    return (*pictures, *styles) if pictures else ()


def check_styles(pictures: Sequence[str], styles: Sequence[str], blended: bool) -> None:
    """Check that the styles are named where there are many pictures: *.png may be photographs.

    Args:
        pictures: content and styles, as given.
        styles: those given by `--style`.
        blended: whether a setting tells the number of styles.

    Raises:
        ConfigError: more than two pictures, and none of that.
    """
    if len(pictures) > 2 and not styles and not blended:
        raise ConfigError(
            f"{len(pictures)} pictures: which are styles? Say --style for each, as in `impasto "
            "paint photo.jpg --style one.jpg --style two.jpg`; to paint many photographs: "
            "`impasto batch *.jpg --style painting.jpg -o painted`",
            pictures,
        )


def _check_unchanged(files: list[dict[str, str]]) -> None:
    """Check that the files still have their recorded contents. Raises ConfigError."""
    from impasto.images.read import bytes_of

    for file in files:
        name = file["name"]
        if hashlib.sha256(bytes_of(Path(name))).hexdigest() != file["sha256"]:
            raise ConfigError(
                f"{name} is not the picture that was painted then: name the pictures to paint it "
                "all the same",
                name,
            )
