"""`impasto reconstruct`: what each layer keeps of a content and of a style."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from impasto.cli.commands.texture import SNAPSHOTS
from impasto.cli.figure_cells import Trial, paint_cells, report_figure
from impasto.cli.options import GroupedCommand, config_options, given
from impasto.config import Config
from impasto.errors import ConfigError
from impasto.presets import FIRST_CONVOLUTIONS

if TYPE_CHECKING:
    from impasto.figures.contact_sheet import Cell
    from impasto.images.read import Picture

__all__ = ["CONTENT_LAYERS", "NOT_FOR_RECONSTRUCTIONS", "SMALL", "STYLE_LAYERS", "reconstruct"]

# of a reconstruction, unless typed: what a cell of the figure shows
SMALL = {"size": 256, "steps": 200}
CONTENT_LAYERS = "conv1_2,conv2_2,conv3_2,conv4_2,conv5_2"  # Gatys et al. 2016, figure 1
STYLE_LAYERS = ",".join(FIRST_CONVOLUTIONS)
NOT_FOR_RECONSTRUCTIONS = (
    "content_layers",
    "style_layers",
    "grain_weight",
    "start",
    "blend",
    *SNAPSHOTS,
)


@click.command(cls=GroupedCommand)
@click.option(
    "--content", metavar="PICTURE", help="show what each layer keeps of this picture's content"
)
@click.option(
    "--style",
    metavar="PICTURE",
    help="show what the layers up to each keep of this picture's style",
)
@click.option(
    "-o", "--out", default="reconstruct.png", help="the figure's file [default: reconstruct.png]"
)
@click.option(
    "--layers", help=f"layers to show [default: {CONTENT_LAYERS}; of the style {STYLE_LAYERS}]"
)
@click.option("--quiet", is_flag=True, help="say nothing but errors")
def reconstruct(
    content: str | None, style: str | None, out: str, layers: str | None, quiet: bool, **values: Any
) -> int:
    """Paint the two classic experiments: from noise, what each layer keeps of a content, and of a
    style.

    impasto reconstruct --content photo.jpg --style painting.jpg -o reconstruct.png
    """
    from impasto.cli.outputs import not_among
    from impasto.cli.progress_bar import log
    from impasto.figures.contact_sheet import contact_sheet
    from impasto.images.read import read
    from impasto.images.write import check_output, to_image, write
    from impasto.painting.experiments import (
        blank_content,
        content_reconstructions,
        style_reconstructions,
    )
    from impasto.painting.levels import painted_size
    from impasto.painting.problem import prepare_problem

    if content is None and style is None:
        raise ConfigError("give --content PICTURE, --style PICTURE, or both")
    target = not_among(
        check_output(out, what="figure"), [path for path in (content, style) if path]
    )
    config = Config(**{**SMALL, **given(values)})
    asked = (
        None
        if layers is None
        else list(dict.fromkeys(each for each in layers.split(",") if each.strip()))
    )
    if asked == []:
        raise ConfigError("--layers is empty: name at least one, as conv4_2")
    console = log(quiet)
    rows: list[list[Cell]] = []
    jobs: list[tuple[list[Picture], list[tuple[str, Config]]]] = []
    if content is not None:
        picture = read(content)
        rows.append([(to_image(picture.pixels, picture.alpha), f"content\n{Path(content).name}")])
        jobs.append(
            (
                [picture, picture],
                content_reconstructions(config, asked or CONTENT_LAYERS.split(",")),
            )
        )
    if style is not None:
        picture = read(style)
        height, width = painted_size(picture, config)
        rows.append([(to_image(picture.pixels, picture.alpha), f"style\n{Path(style).name}")])
        inputs = [blank_content(width, height), picture]
        jobs.append((inputs, style_reconstructions(config, asked or STYLE_LAYERS.split(","))))
    trials = [Trial(words, each, inputs) for inputs, configs in jobs for words, each in configs]
    for trial in trials:
        prepare_problem(trial.pictures[0], trial.pictures[1:], trial.config)
    cells = paint_cells(console, trials)
    for row, (_, configs) in zip(rows, jobs, strict=True):
        row += cells[: len(configs)]
        del cells[: len(configs)]
    write(contact_sheet(rows), target)
    return report_figure(target, [cell for row in rows for cell in row[1:]])


config_options(
    reconstruct, *(name for name in Config.model_fields if name not in NOT_FOR_RECONSTRUCTIONS)
)
