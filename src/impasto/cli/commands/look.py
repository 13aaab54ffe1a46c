"""The commands that only look: settings of a painting, recipes, networks."""

from __future__ import annotations

import json
import re

import click

from impasto.config import Config, option_name
from impasto.presets import PRESETS, preset

__all__ = ["presets", "show", "weights"]

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # which a terminal would obey


@click.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="print the settings as JSON")
def show(file: str, as_json: bool) -> None:
    """Print the settings that the painting FILE was made with."""
    from impasto.cli.outputs import terms_in_words
    from impasto.images.read import read_settings

    settings = read_settings(file)
    if as_json:
        click.echo(json.dumps(settings, indent=1))
        return
    lines = [f"impasto {settings['version']}, {settings['steps_done']} steps"]
    if terms := settings.get("terms"):  # older files have none
        objective = settings.get("objective")
        value = "not finite" if objective is None else f"{objective:.4g}"
        lines.append(f"objective {value}: {terms_in_words(terms)}")
    for each in settings["inputs"]:
        lines.append(f"{each['role']:8} {each['name']}  sha256 {each['sha256'][:16]}")
    lines += [f"{option_name(name):22} {value}" for name, value in settings["config"].items()]
    for line in lines:
        click.echo(CONTROLS.sub("?", line))


@click.command()
@click.argument("name", required=False)
def presets(name: str | None) -> None:
    """List the recipes, or show every number of one and its source."""
    if name is None:
        for each, recipe in PRESETS.items():
            click.echo(f"{each:14} {recipe.about}")
        click.echo("\nimpasto presets NAME shows a recipe's numbers and their sources")
        return
    recipe = preset(name)
    click.echo(f"{name}: {recipe.about}\n")
    house = Config()
    for field, value in recipe.config:
        if field in recipe.sources or value != getattr(house, field):
            click.echo(f"{option_name(field):22} {value}")
            if field in recipe.sources:
                click.echo(f"{'':22}   {recipe.sources[field]}")


@click.group()
def weights() -> None:
    """The networks' files: list, fetch, verify."""


@weights.command("list")
def list_weights() -> None:
    """List the networks, and where the files lie that are here."""
    from impasto.backbone.weights import cached, known

    for name in known():
        path = cached(name)
        click.echo(f"{name:18} {path if path else 'not fetched'}")


@weights.command("fetch")
@click.argument("name")
def fetch_weights(name: str) -> None:
    """Download the network NAME, or go on with a download that broke."""
    from impasto.backbone.weights import fetch
    from impasto.cli.progress_bar import downloading, log

    with downloading(log(), name) as progress:
        click.echo(fetch(name, progress))


@weights.command("verify")
@click.argument("name", required=False)
def verify_weights(name: str | None) -> None:
    """Check the files that are here (or the one of NAME) against their checksums; exit code 2 if one is broken."""
    from impasto.backbone.weights import cached, known, verify
    from impasto.errors import WeightsError

    broken = []
    for each in [name] if name else known():
        path = cached(each)
        whole = path is not None and verify(each)
        click.echo(f"{each:18} {'not fetched' if path is None else 'whole' if whole else 'broken'}")
        if path is not None and not whole:
            broken.append(str(path))
    if broken:
        raise WeightsError(f"broken: {', '.join(broken)}; fetch it again, or install impasto again for compact", broken)
