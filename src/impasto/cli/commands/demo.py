"""`impasto demo`: paint the sample landscape in a sample style."""

from __future__ import annotations

from pathlib import Path

import click

from impasto.cli import options
from impasto.cli.names import default_name
from impasto.config import Config, Machine
from impasto.images.samples import STYLES, sample_photograph, sample_style


@click.command()
@click.option(
    "--style",
    "style_name",
    default=STYLES[0],
    help=f"{', '.join(STYLES[:-1])} or {STYLES[-1]} [default: {STYLES[0]}]",
)
@click.option(
    "--out", "folder", default=".", help="the folder for the pictures [default: this one]"
)
@options.overwrite
def demo(style_name: str, folder: str, overwrite: bool) -> int:
    """Paint the sample landscape, a mountain lake, in a sample style."""
    from impasto.cli.outputs import check_outputs, report
    from impasto.cli.progress_bar import make_console
    from impasto.cli.terminal import prepare, run, save_all
    from impasto.images.read import read

    inputs = [read(sample_photograph()), read(sample_style(style_name))]
    picture, figure = (
        default_name(str(Path(folder) / name), overwrite)
        for name in ("impasto-demo.png", "impasto-demo-sheet.png")
    )
    outputs = check_outputs(picture, figure=figure)
    console = make_console()
    painting = run(console, prepare(console, inputs, Config(), Machine()))
    save_all(painting, inputs, outputs)
    return report(painting, outputs, quiet=False, as_json=False)
