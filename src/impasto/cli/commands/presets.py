"""`impasto presets`: the presets, their numbers and sources."""

from __future__ import annotations

import click

from impasto.config import Config, option_name
from impasto.presets import PRESETS, preset

__all__ = ["presets"]


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
    default = Config()
    for field, value in recipe.config:
        if field in recipe.sources or value != getattr(default, field):
            click.echo(f"{option_name(field):22} {value}")
            if field in recipe.sources:
                click.echo(f"{'':22}   {recipe.sources[field]}")
