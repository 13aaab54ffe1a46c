"""Paint several pictures as the cells of one figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from impasto.cli.exit_codes import PARTLY
from impasto.errors import ImpastoError, out_of_memory

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from pathlib import Path

    from rich.console import Console

    from impasto.backbone.vgg import Backbone
    from impasto.config import Config, Machine
    from impasto.figures.contact_sheet import Cell
    from impasto.images.read import Picture
    from impasto.painting.outcome import Painting

STOPPED_BEFORE = "stopped before this one"


class Trial(NamedTuple):
    """A picture of a figure: its caption, its settings, and the content and styles."""

    caption: str
    config: Config
    machine: Machine
    pictures: list[Picture]


def paint_cells(
    console: Console, trials: Sequence[Trial], timed: bool = False, comparable: bool = True
) -> list[Cell]:
    """Paint a cell for every trial.

    Ctrl-C ends the current painting, and the trials after it are not painted.

    Args:
        console: for the progress bar.
        trials: the paintings to make.
        timed: whether captions give the seconds.
        comparable: whether captions give the objective; not if each trial has another.

    Returns:
        For every trial its painting and a caption, or the reason why it was not painted.

    Raises:
        KeyboardInterrupt: stopped before there was a picture.
    """
    networks: dict[Hashable, Backbone] = {}
    cells: list[Cell] = []
    stopped = False
    for number, trial in enumerate(trials, 1):
        caption = trial.caption
        if stopped:
            cells.append((STOPPED_BEFORE, caption))
            continue
        try:
            painting = _paint(console, trial, networks, f"{number}/{len(trials)}  {caption}: ")
        except KeyboardInterrupt:
            if not cells:
                raise
            stopped = True
            cells.append((STOPPED_BEFORE, caption))
        except (ImpastoError, MemoryError, RuntimeError) as error:
            if isinstance(error, ImpastoError):
                reason = str(error)
            elif out_of_memory(error):
                reason = "not enough memory: give a smaller --size"
            else:
                raise
            console.print(f"{caption}: {reason}", markup=False)
            cells.append((reason, caption))
        else:
            stopped = not painting.finished
            if painting.doubt:
                console.print(f"{caption}: {painting.doubt}", markup=False)
            cells.append((painting.image, f"{caption}\n{_result(painting, timed, comparable)}"))
    return cells


def _paint(
    console: Console, trial: Trial, networks: dict[Hashable, Backbone], title: str
) -> Painting:
    """Paint a trial. networks: holds the network that was used last."""
    from impasto.backbone.load import network_key, settled
    from impasto.cli.terminal import load_with_bar, prepare, run

    _, config, machine, pictures = trial
    config = settled(config, machine)
    key = network_key(config, machine)
    if key not in networks:
        networks.clear()
        networks[key] = load_with_bar(console, config, machine)
    prepared = prepare(console, pictures, config, machine, networks[key])
    return run(console, prepared, title=title)


def _result(painting: Painting, timed: bool, comparable: bool) -> str:
    seconds = f"{painting.seconds:.1f}\u00a0s, " if timed else ""
    early = f"\n{painting.stopped}" if painting.stopped else ""
    evaluations = f"{painting.evaluations}\u00a0evaluations"
    objective = f"\nobjective\u00a0{painting.value:.4g}" if comparable else ""
    return f"{seconds}{evaluations}{objective}{early}"


def report_figure(target: Path, cells: Sequence[Cell]) -> int:
    """Print the figure's path, and whether it is complete; return the exit code."""
    click.echo(str(target))
    missing = sum(isinstance(image, str) for image, _ in cells)
    if missing:
        click.echo(
            f"impasto: {missing} of {len(cells)} could not be painted; the figure says why",
            err=True,
        )
    return PARTLY if missing else 0
