"""`impasto curves`: draw the loss curves of runs."""

from __future__ import annotations

from pathlib import Path

import click

from impasto.cli.names import default_name
from impasto.cli.options import overwrite_option

__all__ = ["curves"]


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN ...]")
@click.option(
    "-o",
    "--out",
    help="the figure's file: .png or .svg [default: curves.png]",
)
@overwrite_option
def curves(runs: tuple[str, ...], out: str | None, overwrite: bool) -> None:
    """Draw the loss curves of one or more runs, from the files that --trace wrote.

    impasto curves run.jsonl -o curves.png
    """
    from impasto.figures import plots
    from impasto.images.write import check_output
    from impasto.painting.callbacks import read_trace

    target = check_output(out or default_name("curves.png", overwrite), plots.PLOTS, "plot")
    traces = [read_trace(path) for path in runs]
    if len({curve.name for curve in traces}) < len(traces):  # equal names in several folders
        names = [str(Path(path).with_suffix("")) for path in runs]
        names = list(runs) if len(set(names)) < len(names) else names
        traces = [curve._replace(name=name) for curve, name in zip(traces, names, strict=True)]
    plots.write_plot(plots.curves(traces), target)
    click.echo(str(target))
