"""`impasto reconstruct`: paint what each layer keeps of a content and of a style."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from impasto.cli import options
from impasto.cli.figure_cells import Trial, paint_cells, report_figure
from impasto.cli.names import default_name
from impasto.config import Config, Machine, changed_by
from impasto.errors import ConfigError
from impasto.presets import FIRST_CONVOLUTIONS

if TYPE_CHECKING:
    from impasto.figures.contact_sheet import Cell
    from impasto.images.read import Picture

# the defaults of a reconstruction: the figure shows it small
SMALL = {"size": 256, "steps": 200}
CONTENT_LAYERS = "conv1_2,conv2_2,conv3_2,conv4_2,conv5_2"  # Gatys et al. 2016, figure 1
STYLE_LAYERS = ",".join(FIRST_CONVOLUTIONS)


@click.command(cls=options.GroupedCommand)
@click.option(
    "--content", metavar="PICTURE", help="show what each layer keeps of this picture's content"
)
@click.option(
    "--style",
    metavar="PICTURE",
    help="show what the layers up to each keep of this picture's style",
)
@click.option("-o", "--out", help="the figure's file [default: reconstruct.png]")
@click.option(
    "--layers", help=f"layers to show [default: {CONTENT_LAYERS}; of the style {STYLE_LAYERS}]"
)
@options.overwrite
@options.quiet
def reconstruct(
    content: str | None,
    style: str | None,
    out: str | None,
    overwrite: bool,
    layers: str | None,
    quiet: bool,
    **values: Any,
) -> int:
    """Paint what each layer keeps of a content and of a style, from noise.

    These are the experiments of Gatys et al. 2016, figure 1.

    impasto reconstruct --content photo.jpg --style painting.jpg -o reconstruct.png
    """
    from impasto.cli.outputs import check_figure
    from impasto.cli.progress_bar import make_console
    from impasto.figures.contact_sheet import contact_sheet
    from impasto.images.write import FIGURES, write
    from impasto.painting.problem import prepare_problem

    if content is None and style is None:
        raise ConfigError("give --content PICTURE, --style PICTURE, or both")
    target = check_figure(
        out or default_name("reconstruct.png", overwrite),
        [path for path in (content, style) if path],
    )
    config, machine = changed_by({**SMALL, **options.given(values)}, Config())
    rows = _rows(content, style, layers, config, machine)
    all_trials = [trial for _, trials in rows for trial in trials]
    for trial in all_trials:
        prepare_problem(trial.pictures[0], trial.pictures[1:], trial.config)
    cells = paint_cells(make_console(quiet), all_trials)
    rest = iter(cells)
    sheet = contact_sheet([[first, *islice(rest, len(trials))] for first, trials in rows])
    write(sheet, target, suffixes=FIGURES)
    return report_figure(target, cells)


def _rows(
    content: str | None, style: str | None, layers: str | None, config: Config, machine: Machine
) -> list[tuple[Cell, list[Trial]]]:
    """Return for each picture that is given its cell, and the trials beside it."""
    from impasto.images.read import read
    from impasto.painting.experiments import (
        blank_content,
        content_reconstructions,
        style_reconstructions,
    )
    from impasto.painting.levels import painted_size

    rows: list[tuple[Cell, list[Trial]]] = []
    if content is not None:
        picture = read(content)
        names = options.parse_layers(CONTENT_LAYERS if layers is None else layers)
        trials = [
            Trial(caption, alone, machine, [picture, picture])
            for caption, alone in content_reconstructions(config, names)
        ]
        rows.append((_shown(picture, "content"), trials))
    if style is not None:
        picture = read(style)
        height, width = painted_size(picture, config)
        inputs = [blank_content(width, height), picture]
        names = options.parse_layers(STYLE_LAYERS if layers is None else layers)
        trials = [
            Trial(caption, alone, machine, inputs)
            for caption, alone in style_reconstructions(config, names)
        ]
        rows.append((_shown(picture, "style"), trials))
    return rows


def _shown(picture: Picture, role: str) -> Cell:
    from impasto.images.write import to_image

    return to_image(picture.pixels, picture.alpha), f"{role}\n{Path(picture.name).name}"


options.add_settings(reconstruct)
