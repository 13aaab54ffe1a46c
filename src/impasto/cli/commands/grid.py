"""`impasto grid`: a run's snapshots as one figure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from impasto.errors import ConfigError

if TYPE_CHECKING:
    from impasto.figures.contact_sheet import Cell

__all__ = ["MOST_SNAPSHOTS", "grid"]

MOST_SNAPSHOTS = 60  # pictures of one grid; more would be stamps


@click.command()
@click.argument("snapshots", nargs=-1, required=True, metavar="SNAPSHOT [SNAPSHOT ...]")
@click.option("-o", "--out", default="grid.png", help="the figure's file [default: grid.png]")
@click.option(
    "--steps", metavar="3000,9000", help="only these steps, in this order [default: all, by step]"
)
@click.option(
    "--columns",
    type=click.IntRange(1, 20),
    help="pictures in a row [default: what makes about 3 : 2]",
)
def grid(snapshots: tuple[str, ...], out: str, steps: str | None, columns: int | None) -> None:
    """Draw the iteration grid of a run's snapshots, with step and terms under each.

    impasto grid result-*.png -o grid.png
    """
    from impasto.cli.outputs import not_among
    from impasto.figures.contact_sheet import contact_sheet, in_rows
    from impasto.images.read import read_settings
    from impasto.images.write import check_output, write

    target = not_among(check_output(out, what="figure"), snapshots)
    # the last snapshot and the painting itself are one picture: shown once
    once = {
        json.dumps(recorded, sort_keys=True): (recorded, path)
        for path in snapshots
        for recorded in [read_settings(path)]
    }
    found = sorted(once.values(), key=lambda each: each[0]["steps_done"])
    if steps is not None:
        found = _chosen(found, steps)
    if len(found) > MOST_SNAPSHOTS:
        raise ConfigError(
            f"{len(found)} snapshots are too many for one grid: choose up to {MOST_SNAPSHOTS} "
            "with --steps"
        )
    cells = [_snapshot_cell(recorded, path) for recorded, path in found]
    write(contact_sheet(in_rows(cells, columns or 0)), target)
    click.echo(str(target))


def _chosen(
    found: list[tuple[dict[str, Any], str]], steps: str
) -> list[tuple[dict[str, Any], str]]:
    by_step = {str(recorded["steps_done"]): (recorded, path) for recorded, path in found}
    asked = [each.strip() for each in steps.split(",")]
    for each in asked:
        if each not in by_step:
            raise ConfigError(
                f"no snapshot of step {each}: there are {', '.join(by_step)}", each, list(by_step)
            )
    return [by_step[each] for each in asked]


def _snapshot_cell(recorded: dict[str, Any], path: str) -> Cell:
    from impasto.images.read import read
    from impasto.images.write import to_image
    from impasto.painting.callbacks import format_terms

    picture = read(path)
    words = format_terms(recorded.get("terms") or {})
    return to_image(
        picture.pixels, picture.alpha
    ), f"step\u00a0{recorded['steps_done']:,}\n{words}".rstrip()
