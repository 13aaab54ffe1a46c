"""`impasto sheet`: one photograph in many styles, or many photographs in one style, quickly."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from impasto.cli import options
from impasto.cli.exit_codes import PARTLY
from impasto.cli.names import default_name
from impasto.config import Config, Machine, changed_by
from impasto.errors import ConfigError, PictureError
from impasto.presets import QUICK, quick

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from PIL import Image
    from rich.console import Console

    from impasto.figures.contact_sheet import Cell
    from impasto.images.read import Picture
    from impasto.painting.run import Run

COMPUTED = tuple(name for name in Machine.model_fields if name not in ("memory", "tile"))
LARGEST = 1024  # pixels of a painting's side: all of them are in memory at once
SETTINGS = ("look", "strength", "color", "size", "style_scale", "backbone", "style_term", "steps")


@click.command(cls=options.GroupedCommand)
@click.argument("picture")
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER [FOLDER ...]")
@click.option(
    "--photos",
    is_flag=True,
    help="the folders have photographs, and PICTURE is the style of them all",
)
@click.option("-o", "--out", help="the sheet's file [default: sheet.jpg]")
@options.overwrite
@options.quiet
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
    from impasto.painting.sheet import shown_small

    config, machine = changed_by({**QUICK, **options.given(values)}, Config())
    config = quick(config)
    _check(picture, photos, config)
    first = _read(picture, config)
    paths = _paths(folders)
    target = check_figure(out or default_name("sheet.jpg", overwrite), [picture, *paths])
    console = make_console(quiet)
    others = _readable(paths, config)
    if not others:
        raise PictureError(f"there is no picture to read in {', '.join(folders)}", folders)
    cells = _cells(console, first, others, photos, config, machine)
    failed = [f"{caption}: {image}" for image, caption in cells if isinstance(image, str)]
    for text in failed:
        click.echo(f"impasto: {text}", err=True)
    if len(failed) == len(cells):
        raise PictureError(f"none of {len(cells)} could be painted, and no sheet was written")
    caption = "style" if photos else "photograph"
    cells.insert(0, (shown_small(first, config), f"{caption}\n{Path(picture).name}"))
    height = max(image.height for image, _ in cells if not isinstance(image, str))
    write(contact_sheet(in_rows(cells), height=height), target, suffixes=FIGURES)
    click.echo(str(target))
    return PARTLY if failed or len(others) < len(paths) else 0


options.add_settings(sheet, *SETTINGS, *COMPUTED, defaults=QUICK)


def _check(picture: str, photos: bool, config: Config) -> None:
    """Raise an ImpastoError if the paintings would be too large, or PICTURE is a folder."""
    if not (isinstance(config.size, int) and config.size <= LARGEST):
        raise ConfigError(
            f"--size {config.size} is too large for a sheet, which takes up to {LARGEST}: choose a "
            "style, and paint in it with `impasto paint`",
            config.size,
        )
    if os.path.isdir(picture):
        other = "the style" if photos else "the photograph"
        raise PictureError(
            f"{picture} is a folder, and {other} comes first: impasto sheet PICTURE FOLDER", picture
        )


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

    def read_or_error(path: str) -> Picture | PictureError:
        try:
            return _read(path, config)
        except PictureError as error:
            return error

    pictures = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(read_or_error, paths):
            if isinstance(found, PictureError):
                click.echo(f"impasto: left out: {found}", err=True)
            else:
                pictures.append(found)
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
    from impasto.cli.progress_bar import note
    from impasto.cli.terminal import load_with_bar
    from impasto.painting.run import Run
    from impasto.painting.sheet import shown_small, with_inset
    from impasto.painting.tuning import use_threads

    use_threads(machine)
    backbone = load_with_bar(console, config, machine)

    def prepare(other: Picture) -> Run:
        content, style = (other, first) if photos else (first, other)
        run = Run.prepare(content, [style], config, machine, backbone=backbone)
        for message in run.problem.notes:
            note(console, message)
        return run

    painted = _painted(console, [partial(prepare, other) for other in others], backbone.device)
    cells: list[Cell] = []
    for number, other in enumerate(others):
        image = painted[number]
        if not isinstance(image, str):
            image = with_inset(image, shown_small(other, config))
        cells.append((image, Path(other.name).name))
    return cells


def _painted(
    console: Console, prepare: Sequence[Callable[[], Run]], device: torch.device
) -> dict[int, Image.Image | str]:
    """Paint the runs; their paintings by number, or why there are none."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from impasto.painting.sheet import paint_sheet

    columns = (BarColumn(), TextColumn("{task.fields[done]} of {task.fields[count]}"))
    painted: dict[int, Image.Image | str] = {}
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=1, done=0, count=len(prepare))
        with closing(paint_sheet(prepare, device)) as painting:
            for progress in painting:
                painted |= progress.finished
                bar.update(task, completed=progress.fraction, done=progress.done)
    return painted
