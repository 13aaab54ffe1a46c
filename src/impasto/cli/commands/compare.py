"""`impasto compare`: paint one picture with every value of a setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from impasto.cli.figure_cells import Trial, paint_cells, report_figure
from impasto.cli.names import default_name
from impasto.cli.options import (
    GroupedCommand,
    config_options,
    given,
    overwrite_option,
    quiet_option,
    style_option,
)
from impasto.cli.sources import check_styles, with_styles
from impasto.cli.streams import picture_source
from impasto.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["compare"]


@click.command(cls=GroupedCommand)
@click.argument("pictures", nargs=-1, required=True, metavar="CONTENT STYLE")
@style_option
@click.option("-o", "--out", help="the figure's file [default: compare.png]")
@click.option(
    "--vary",
    multiple=True,
    required=True,
    metavar="FIELD=A,B,C",
    help="a setting (or preset) and its values; once or twice. If the values contain commas, "
    "separate them by ;",
)
@click.option(
    "--preset",
    "preset_name",
    default="default",
    metavar="NAME",
    help="the preset that is varied [default: default]",
)
@overwrite_option
@quiet_option
def compare(
    pictures: tuple[str, ...],
    styles: tuple[str, ...],
    out: str | None,
    overwrite: bool,
    vary: tuple[str, ...],
    preset_name: str,
    quiet: bool,
    **values: Any,
) -> int:
    """Paint CONTENT in the style of STYLE with every value of one or two settings, into one figure.

    impasto compare photo.jpg painting.jpg --vary optimizer=lbfgs,adam --vary strength=0.5,1,2 -o
    compare.png
    """
    from impasto.cli.outputs import check_figure
    from impasto.cli.progress_bar import make_console
    from impasto.figures.contact_sheet import contact_sheet, in_rows
    from impasto.images.read import read
    from impasto.images.write import write
    from impasto.painting.experiments import variations
    from impasto.painting.problem import extras

    pictures = with_styles(pictures, styles)
    if len(pictures) < 2:
        raise ConfigError(
            "give a CONTENT and a STYLE picture: impasto compare photo.jpg painting.jpg "
            "--vary strength=1,2",
            pictures,
        )
    varied = _parse_vary(vary)
    varieties = variations(varied, preset_name, **given(values))
    check_styles(pictures, styles, all(config.blend for _, config, _ in varieties))
    named = {path for _, config, _ in varieties for _, path in extras(config)}
    target = check_figure(out or default_name("compare.png", overwrite), [*pictures, *named])
    inputs = [read(picture_source(picture)) for picture in pictures]
    trials = [
        Trial(_caption(chosen), config, machine, inputs) for chosen, config, machine in varieties
    ]
    cells = paint_cells(make_console(quiet), trials, timed=True)
    columns = len(list(varied.values())[1]) if len(varied) == 2 else 0
    write(contact_sheet(in_rows(cells, columns)), target)
    return report_figure(target, cells)


config_options(compare)


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
    return ", ".join(f"{field.replace('_', ' ')} {value}" for field, value in chosen.items())
