"""`impasto compare`: paint one picture with every value of a setting."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from impasto.cli import options
from impasto.cli.figure_cells import Trial, paint_cells, report_figure
from impasto.cli.names import default_name
from impasto.cli.sources import check_styles, with_styles
from impasto.cli.streams import picture_source
from impasto.config import Config, Machine
from impasto.errors import ConfigError
from impasto.fields import marked

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(cls=options.GroupedCommand)
@click.argument("pictures", nargs=-1, metavar="CONTENT STYLE")
@options.styles
@click.option("-o", "--out", help="the figure's file [default: compare.png]")
@click.option(
    "--vary",
    multiple=True,
    required=True,
    metavar="FIELD=A,B,C",
    help="a setting (or preset, content, style) and its values; once or twice. If the values "
    "contain commas, separate them by ;",
)
@options.preset
@options.overwrite
@options.quiet
def compare(
    pictures: tuple[str, ...],
    styles: tuple[str, ...],
    out: str | None,
    overwrite: bool,
    vary: tuple[str, ...],
    preset_name: str | None,
    quiet: bool,
    **values: Any,
) -> int:
    """Paint CONTENT in the style of STYLE with every value of one or two settings, into one figure.

    impasto compare photo.jpg painting.jpg --vary optimizer=lbfgs,adam --vary strength=0.5,1,2 -o
    compare.png

    impasto compare --vary content=a.jpg,b.jpg --vary style=one.jpg,two.jpg
    """
    from impasto.cli.outputs import check_figure
    from impasto.cli.progress_bar import make_console
    from impasto.figures.contact_sheet import contact_sheet, in_rows
    from impasto.images.read import read
    from impasto.images.write import FIGURES, write
    from impasto.painting.experiments import variations
    from impasto.painting.problem import extras

    varied = _parse_vary(vary)
    base = preset_name or "default"
    varieties = variations(varied, base, ("content", "style"), **options.given(values))
    contents, of_styles = _pictures(pictures, styles, varied)
    check_styles(
        [*contents[:1], *of_styles], styles, all(config.blend for _, config, _ in varieties)
    )
    used = {path for _, config, _ in varieties for _, path in extras(config)}
    used |= {*contents, *of_styles, *varied.get("style", ())}
    target = check_figure(out or default_name("compare.png", overwrite), used)
    read_once = cache(lambda path: read(picture_source(path)))
    trials = []
    for chosen, config, machine in varieties:
        content = chosen.get("content", contents[0])
        style = [chosen["style"]] if "style" in chosen else of_styles
        inputs = [read_once(path) for path in (content, *style)]
        trials.append(Trial(_caption(chosen), config, machine, inputs))
    cells = paint_cells(make_console(quiet), trials, timed=True, comparable=_comparable(varied))
    columns = len(list(varied.values())[1]) if len(varied) == 2 else 0
    write(contact_sheet(in_rows(cells, columns)), target, suffixes=FIGURES)
    return report_figure(target, cells)


options.add_settings(compare)


def _pictures(
    pictures: tuple[str, ...], styles: tuple[str, ...], varied: dict[str, list[str]]
) -> tuple[list[str], list[str]]:
    """Return the contents and the styles: those that are varied, or those that were given.

    Raises ConfigError if there are too few or too many.
    """
    contents = varied.get("content", [])
    if contents:
        rest = [*pictures, *styles]
    else:
        contents, rest = list(pictures[:1]), list(with_styles(pictures, styles)[1:])
    if "style" in varied and rest:
        raise ConfigError(f"{rest[0]} is a style, and --vary style names them: leave it out", rest)
    if not contents or not (rest or "style" in varied):
        raise ConfigError(
            "give a CONTENT and a STYLE picture: impasto compare photo.jpg painting.jpg "
            "--vary strength=1,2",
            pictures,
        )
    return contents, rest


def _comparable(varied: dict[str, list[str]]) -> bool:
    """Return whether all paintings minimize the same objective, so that its values compare."""
    solver = {*marked(Config, "group", "Solver"), *Machine.model_fields}
    return set(varied) <= solver


def _parse_vary(texts: Sequence[str]) -> dict[str, list[str]]:
    """Parse `--vary`: "strength=1,2", or "layers=a,b;c" for the values "a,b" and "c".

    Returns the values by field. Raises ConfigError.
    """
    varied: dict[str, list[str]] = {}
    for text in texts:
        field, equals, values = text.partition("=")
        field = field.strip().removeprefix("--").replace("-", "_")
        if not equals:
            raise ConfigError(
                f"--vary {text} has no values: give it as --vary strength=0.5,1,2", text
            )
        if field in varied:
            raise ConfigError(f"--vary {field} is given twice: give all its values at once", text)
        varied[field] = [
            value.strip() for value in values.split(";" if ";" in values else ",") if value.strip()
        ]
    return varied


def _caption(chosen: dict[str, str]) -> str:
    shown = {
        field: Path(value).name if field in ("content", "style") else value
        for field, value in chosen.items()
    }
    return ", ".join(f"{field.replace('_', ' ')} {value}" for field, value in shown.items())
