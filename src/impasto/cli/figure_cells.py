"""Several paintings as the cells of one figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from impasto.errors import ImpastoError, out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from impasto.backbone.vgg import Backbone
    from impasto.config import Config, Machine
    from impasto.figures.contact_sheet import Cell
    from impasto.images.read import Picture
    from impasto.painting.outcome import Painting

__all__ = ["PARTLY", "Trial", "paint_cells", "report_figure"]

PARTLY = 3  # exit code when some pictures could not be painted


class Trial(NamedTuple):
    """One picture of a figure: what it is called there, and what it is painted with and from."""

    words: str
    config: Config
    machine: Machine
    pictures: list[Picture]


def paint_cells(console: Console, trials: Sequence[Trial], timed: bool = False) -> list[Cell]:
    """A cell for every trial: its painting with evaluations, objective (and time), or why there is
    none.

    Ctrl-C ends the painting that is being made, and leaves out those after it.
    """
    from impasto.backbone.load import network_key
    from impasto.cli.terminal import load_with_bar, run

    networks: dict[tuple[object, ...], Backbone] = {}  # the last one used
    cells: list[Cell] = []
    stopped = False
    for number, (words, config, machine, pictures) in enumerate(trials, 1):
        try:
            if stopped:
                raise KeyboardInterrupt
            key = network_key(config, machine)
            if key not in networks:
                networks.clear()
                networks[key] = load_with_bar(console, config, machine)
            painting = run(
                console,
                pictures,
                config,
                machine,
                networks[key],
                about=f"{number}/{len(trials)}  {words}: ",
            )
        except KeyboardInterrupt:
            if not cells:
                raise
            stopped = True
            cells.append(("stopped before this one", words))
        except (ImpastoError, MemoryError, RuntimeError) as error:
            if not isinstance(error, ImpastoError) and not out_of_memory(error):
                raise
            reason = (
                str(error)
                if isinstance(error, ImpastoError)
                else "not enough memory: give a smaller --size"
            )
            console.print(f"{words}: {reason}", markup=False)
            cells.append((reason, words))
        else:
            stopped = not painting.finished
            if painting.doubt:
                console.print(f"{words}: {painting.doubt}", markup=False)
            cells.append((painting.image, f"{words}\n{_result(painting, timed)}"))
    return cells


def _result(painting: Painting, timed: bool) -> str:
    seconds = f"{painting.seconds:.1f}\u00a0s, " if timed else ""
    early = f"\n{painting.stopped}" if painting.stopped else ""
    evaluations = f"{painting.evaluations}\u00a0evaluations"
    return f"{seconds}{evaluations}\nobjective\u00a0{painting.value:.4g}{early}"


def report_figure(target: Path, cells: Sequence[Cell]) -> int:
    """Say where the figure is, and whether it is whole: the exit code."""
    click.echo(str(target))
    missing = sum(isinstance(image, str) for image, _ in cells)
    if missing:
        click.echo(
            f"impasto: {missing} of {len(cells)} could not be painted; the figure says why",
            err=True,
        )
    return PARTLY if missing else 0
