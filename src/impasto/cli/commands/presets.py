"""`impasto presets`: show the presets, their numbers and sources."""

from __future__ import annotations

import click

from impasto.config import Config
from impasto.fields import option_name
from impasto.presets import PRESETS, preset

__all__ = ["presets"]


@click.command()
@click.argument("name", required=False)
def presets(name: str | None) -> None:
    """List the presets, or show every number of one and its source."""
    if name is None:
        for title, listed in PRESETS.items():
            click.echo(f"{title:14} {listed.about}")
        click.echo("\nimpasto presets NAME shows a preset's numbers and their sources")
        return
    chosen = preset(name)
    click.echo(f"{name}: {chosen.about}\n")
    default = Config()
    for field, value in chosen.config:
        if field in chosen.sources or value != getattr(default, field):
            click.echo(f"{option_name(field):22} {value}")
            if field in chosen.sources:
                click.echo(f"{'':22}   {chosen.sources[field]}")
