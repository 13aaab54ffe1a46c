"""`impasto presets`: show the presets, their numbers and sources."""

from __future__ import annotations

import shlex

import click

from impasto.cli import options
from impasto.fields import changed_fields, option_name
from impasto.parsing import format_value
from impasto.presets import PRESETS, preset


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
    changed = dict(changed_fields(chosen.config))
    for field, value in chosen.config:
        if field in chosen.sources or field in changed:
            shown = f"{option_name(field):22} {format_value(value)}"
            click.echo(options.flag(field, value) if isinstance(value, bool) else shown)
            if field in chosen.sources:
                click.echo(f"{'':22}   {chosen.sources[field]}")
    changes = shlex.join(options.as_options(chosen.config.model_dump(mode="json")))
    click.echo(f"\nimpasto paint CONTENT STYLE --preset {name}")
    if changes:
        click.echo(f"\nor, with every option that is not the default:\n{changes}")
