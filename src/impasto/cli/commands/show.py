"""`impasto show`: print the settings inside a painting."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import click

from impasto.cli import options

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # control characters, for terminals


@click.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="print all settings as JSON")
def show(file: str, as_json: bool) -> None:
    """Print what the painting FILE was made from, and the command that paints it again."""
    from impasto.images.read import read_settings
    from impasto.painting.callbacks import format_terms

    settings = read_settings(file)
    if as_json:
        click.echo(json.dumps(settings, indent=1))
        return
    done, steps = settings["steps_done"], settings["config"].get("steps")
    whole = done == steps or steps is None
    lines = [f"impasto {settings['version']}, {done} steps" + ("" if whole else f" of {steps}")]
    if terms := settings.get("terms"):  # older files have none
        objective = settings.get("objective")
        value = "not finite" if objective is None else f"{objective:.4g}"
        lines.append(f"objective {value}: {format_terms(terms)}")
    for picture in settings["inputs"]:
        lines.append(f"{picture['role']:8} {picture['name']}  sha256 {picture['sha256'][:16]}")
    computed = ("device", "precision", "convolution", "threads")
    if facts := [f"{name} {settings[name]}" for name in computed if settings.get(name)]:
        lines.append(f"computed with {', '.join(facts)}")
    again = "paint it again, the same on a machine of this kind:"
    if not whole:
        again = f"paint it to the end, {steps} steps:"
    lines += ["", again, _again(settings, file)]
    for line in lines:
        click.echo(CONTROLS.sub("?", line))


def _again(settings: dict[str, Any], file: str) -> str:
    """Return the command that paints a picture again."""
    from impasto.painting.levels import BLANK

    inputs = settings["inputs"]
    if any(entry["role"] == BLANK for entry in inputs):
        return shlex.join(["impasto", "texture", "--from", file])
    content = [entry["name"] for entry in inputs if entry["role"] == "content"]
    styles = [entry["name"] for entry in inputs if entry["role"] == "style"]
    content, styles = (
        [f"./{name}" if name.startswith("-") else name for name in names]
        for names in (content, styles)
    )
    if len(styles) > 1:
        styles = [word for style in styles for word in ("--style", style)]
    changed = options.as_options({**settings["config"], **settings["machine"]})
    return shlex.join(["impasto", "paint", *content, *styles, *changed])
