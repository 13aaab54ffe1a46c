"""`impasto sheet`: one photograph in many styles, or many photographs in one style, quickly."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from impasto.cli.exit_codes import PARTLY
from impasto.cli.names import default_name
from impasto.cli.options import (
    GroupedCommand,
    config_options,
    given,
    overwrite_option,
    quiet_option,
)
from impasto.config import Config, Machine, changed_by
from impasto.errors import ImpastoError, PictureError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image
    from rich.console import Console

    from impasto.figures.contact_sheet import Cell
    from impasto.images.read import Picture
    from impasto.painting.run import Run

__all__ = ["sheet"]

# Small and quick: what a style does to the picture shows, its finest strokes do not.
QUICK = {"size": 192, "steps": 16, "finish": 0}
TOGETHER = 6 * 192 * 192  # pixels that are painted in one pass, about
INSET = 0.25  # of the painting's height: the picture that was taken from the folder
SETTINGS = ("look", "strength", "color", "size", "style_scale", "backbone", "style_term", "steps")


@click.command(cls=GroupedCommand)
@click.argument("picture")
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER [FOLDER ...]")
@click.option(
    "--photos",
    is_flag=True,
    help="the folders have photographs, and PICTURE is the style of them all",
)
@click.option("-o", "--out", help="the sheet's file [default: sheet.jpg]")
@overwrite_option
@quiet_option
def sheet(
    picture: str,
    folders: tuple[str, ...],
    photos: bool,
    out: str | None,
    overwrite: bool,
    quiet: bool,
    **values: Any,
) -> int:
    """Paint the photograph PICTURE in the style of every picture in FOLDER, into one sheet.

    impasto sheet photo.jpg paintings/ -o sheet.jpg

    The paintings are small and quick, 192 pixels by the small network: to choose a style.
    """
    from impasto.cli.outputs import check_figure
    from impasto.cli.progress_bar import make_console
    from impasto.figures.contact_sheet import contact_sheet, in_rows
    from impasto.images.write import FIGURES, write

    config, machine = changed_by({**QUICK, **given(values)}, Config())
    first = _read(picture, config)
    paths = _paths(folders)
    target = check_figure(out or default_name("sheet.jpg", overwrite), [picture, *paths])
    console = make_console(quiet)
    others = _readable(paths, config)
    if not others:
        raise PictureError(f"there is no picture to read in {', '.join(folders)}", folders)
    cells = _cells(console, first, others, photos, config, machine)
    caption = "style" if photos else "photograph"
    cells.insert(0, (_image(first, config), f"{caption}\n{Path(picture).name}"))
    height = max(image.height for image, _ in cells if not isinstance(image, str))
    write(contact_sheet(in_rows(cells), height=height), target, suffixes=FIGURES)
    click.echo(str(target))
    missing = sum(isinstance(image, str) for image, _ in cells)
    return PARTLY if missing or len(others) < len(paths) else 0


config_options(sheet, *SETTINGS, *Machine.model_fields)


def _paths(folders: Sequence[str]) -> list[str]:
    """Return the pictures in the folders, and those that were named themselves."""
    from impasto.batch.table import pictures_in

    def note(text: str) -> None:
        click.echo(f"impasto: {text}", err=True)

    paths: dict[str, None] = {}
    for folder in folders:
        found = pictures_in(Path(folder), note) if os.path.isdir(folder) else [folder]
        paths |= dict.fromkeys(found)
    return list(paths)


def _readable(paths: Sequence[str], config: Config) -> list[Picture]:
    """Read the pictures; those that cannot be read are named on stderr, and left out."""
    pictures = []
    for path in paths:
        try:
            pictures.append(_read(path, config))
        except PictureError as error:
            click.echo(f"impasto: left out: {error}", err=True)
    return pictures


def _read(path: str, config: Config) -> Picture:
    """Read a picture, no larger than the painting needs it. Raises PictureError."""
    from impasto.images.read import bytes_of, read_bytes

    enough = None
    if isinstance(config.size, int):
        enough = round(config.size * max(1.0, config.style_scale))
    return read_bytes(bytes_of(Path(path)), path, enough=enough)


def _cells(
    console: Console,
    first: Picture,
    others: Sequence[Picture],
    photos: bool,
    config: Config,
    machine: Machine,
) -> list[Cell]:
    """Paint the cells of the sheet: a painting, or why there is none, for each other picture."""
    from impasto.cli.terminal import load_with_bar, prepare

    backbone = load_with_bar(console, config, machine)
    cells: dict[str, Cell] = {}
    runs: list[tuple[Picture, Run]] = []
    for other in others:
        pair = [other, first] if photos else [first, other]
        try:
            runs.append((other, prepare(console, pair, config, machine, backbone)))
        except ImpastoError as error:
            cells[other.name] = (str(error), Path(other.name).name)
    for batch, images in _painted(console, runs):
        for (other, _), image in zip(batch, images, strict=True):
            if not isinstance(image, str):
                image = _with_inset(image, _image(other, config))
            cells[other.name] = (image, Path(other.name).name)
    return [cells[other.name] for other in others]


def _painted(
    console: Console, runs: Sequence[tuple[Picture, Run]]
) -> Iterator[tuple[list[tuple[Picture, Run]], list[Image.Image | str]]]:
    """Yield batches of the runs with their paintings, or with the reason why there are none."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from impasto.painting.batched import batch_key, paint_batched

    columns = (BarColumn(), TextColumn("{task.fields[done]} of {task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=len(runs), done=0)
        done = 0
        for _, equal in groupby(runs, lambda pair: batch_key(pair[1])):
            group = list(equal)
            level = group[0][1].problem.levels[-1]
            most = max(1, TOGETHER // (level.height * level.width))
            if batch_key(group[0][1]) is None:
                most = 1
            for batch in (group[k : k + most] for k in range(0, len(group), most)):
                try:
                    for steps in paint_batched([run for _, run in batch]):
                        bar.update(task, completed=done + len(batch) * steps[0].fraction)
                    images: list[Image.Image | str] = [
                        run.painting(step).image
                        for (_, run), step in zip(batch, steps, strict=True)
                    ]
                except ImpastoError as error:
                    images = [str(error)] * len(batch)
                done += len(batch)
                bar.update(task, completed=done, done=done)
                yield batch, images


def _image(picture: Picture, config: Config) -> Image.Image:
    """Return a picture at the size of the sheet's paintings."""
    from impasto.images.read import resize
    from impasto.images.write import to_image
    from impasto.painting.levels import painted_size

    height, width = painted_size(picture, config)
    alpha = None if picture.alpha is None else resize(picture.alpha, height, width)
    return to_image(resize(picture.pixels, height, width), alpha)


def _with_inset(painting: Image.Image, other: Image.Image) -> Image.Image:
    """Draw the picture that a painting was made from into its lower left corner, framed."""
    from PIL import ImageOps

    height = max(1, round(INSET * painting.height))
    width = max(1, min(round(height * other.width / other.height), painting.width // 2))
    small = ImageOps.expand(other.convert("RGB").resize((width, height)), 2, "white")
    shown = painting.copy()
    shown.paste(small, (0, painting.height - small.height))
    return shown
