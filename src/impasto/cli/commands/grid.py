"""`impasto grid`: draw a run's snapshots as one figure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from impasto.cli import options
from impasto.cli.names import default_name
from impasto.errors import ConfigError

if TYPE_CHECKING:
    from impasto.figures.contact_sheet import Cell

MOST_SNAPSHOTS = 60  # in one grid; more would be too small to see

Snapshot = tuple[dict[str, Any], str]  # its settings and path


@click.command()
@click.argument("snapshots", nargs=-1, required=True, metavar="SNAPSHOT [SNAPSHOT ...]")
@click.option("-o", "--out", help="the figure's file [default: grid.png]")
@click.option(
    "--steps", metavar="3000,9000", help="only these steps, in this order [default: all, by step]"
)
@click.option(
    "--columns",
    type=click.IntRange(1, 20),
    help="pictures in a row [default: what makes about 3 : 2]",
)
@options.overwrite
def grid(
    snapshots: tuple[str, ...],
    out: str | None,
    overwrite: bool,
    steps: str | None,
    columns: int | None,
) -> None:
    """Draw the iteration grid of a run's snapshots, with step and terms under each.

    impasto grid result-*.png -o grid.png
    """
    from impasto.cli.outputs import check_figure
    from impasto.figures.contact_sheet import contact_sheet, in_rows
    from impasto.images.read import read_settings
    from impasto.images.write import FIGURES, write

    target = check_figure(out or default_name("grid.png", overwrite), snapshots)
    # by settings: the last snapshot and the painting itself are the same picture
    distinct = {}
    for path in snapshots:
        settings = read_settings(path)
        distinct[json.dumps(settings, sort_keys=True)] = (settings, path)
    chosen = sorted(distinct.values(), key=lambda snapshot: snapshot[0]["steps_done"])
    if steps is not None:
        chosen = _choose(chosen, steps)
    if len(chosen) > MOST_SNAPSHOTS:
        raise ConfigError(
            f"{len(chosen)} snapshots are too many for one grid: choose up to {MOST_SNAPSHOTS} "
            "with --steps"
        )
    runs = {json.dumps([each["config"], each["inputs"]], sort_keys=True) for each, _ in chosen}
    if len(runs) > 1:
        click.echo(f"impasto: these pictures are of {len(runs)} different runs", err=True)
    cells = [_snapshot_cell(settings, path) for settings, path in chosen]
    write(contact_sheet(in_rows(cells, columns or 0)), target, suffixes=FIGURES)
    click.echo(str(target))


def _choose(snapshots: list[Snapshot], steps: str) -> list[Snapshot]:
    """Select the snapshots of `--steps`, in its order. Raises ConfigError."""
    by_step = {str(settings["steps_done"]): (settings, path) for settings, path in snapshots}
    chosen = []
    for step in map(str.strip, steps.split(",")):
        if step not in by_step:
            raise ConfigError(
                f"no snapshot of step {step}: there are {', '.join(by_step)}", step, list(by_step)
            )
        chosen.append(by_step[step])
    return chosen


def _snapshot_cell(settings: dict[str, Any], path: str) -> Cell:
    from impasto.images.read import read
    from impasto.images.write import to_image
    from impasto.painting.callbacks import format_terms

    picture = read(path)
    terms = format_terms(settings.get("terms") or {})
    caption = f"step\u00a0{settings['steps_done']:,}\n{terms}".rstrip()
    return to_image(picture.pixels, picture.alpha), caption
