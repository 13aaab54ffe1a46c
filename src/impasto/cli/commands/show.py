"""`impasto show`: print the settings inside a painting."""

from __future__ import annotations

import json
import re

import click

from impasto.fields import option_name

__all__ = ["CONTROLS", "show"]

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # control characters, for terminals


@click.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="print the settings as JSON")
def show(file: str, as_json: bool) -> None:
    """Print the settings that the painting FILE was made with."""
    from impasto.images.read import read_settings
    from impasto.painting.callbacks import format_terms

    settings = read_settings(file)
    if as_json:
        click.echo(json.dumps(settings, indent=1))
        return
    lines = [f"impasto {settings['version']}, {settings['steps_done']} steps"]
    if terms := settings.get("terms"):  # older files have none
        objective = settings.get("objective")
        value = "not finite" if objective is None else f"{objective:.4g}"
        lines.append(f"objective {value}: {format_terms(terms)}")
    for picture in settings["inputs"]:
        lines.append(f"{picture['role']:8} {picture['name']}  sha256 {picture['sha256'][:16]}")
    computed = ("device", "precision", "convolution", "threads")
    if facts := [f"{name} {settings[name]}" for name in computed if settings.get(name)]:
        lines.append(f"computed with {', '.join(facts)}")
    for part in ("config", "machine"):
        lines += [f"{option_name(name):22} {value}" for name, value in settings[part].items()]
    for line in lines:
        click.echo(CONTROLS.sub("?", line))
