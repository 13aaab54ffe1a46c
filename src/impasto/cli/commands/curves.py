"""`impasto curves`: draw the loss curves of runs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import click

from impasto.cli import options
from impasto.cli.names import default_name
from impasto.figures.curve import PLOTS, Curve

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN ...]")
@click.option(
    "-o",
    "--out",
    help="the figure's file: .png, .svg or .pdf; .csv: the numbers [default: curves.png]",
)
@options.overwrite
def curves(runs: tuple[str, ...], out: str | None, overwrite: bool) -> None:
    """Draw the loss curves of one or more runs, or write them as CSV, from the files of --trace.

    impasto curves run.jsonl -o curves.png
    """
    from impasto.images.write import check_output
    from impasto.painting.callbacks import read_trace

    suffixes = (*PLOTS, ".csv")
    target = check_output(out or default_name("curves.png", overwrite), suffixes, "plot")
    traces = [read_trace(path) for path in runs]
    if len({curve.name for curve in traces}) < len(traces):  # equal names in several folders
        names = [str(Path(path).with_suffix("")) for path in runs]
        names = list(runs) if len(set(names)) < len(names) else names
        traces = [curve._replace(name=name) for curve, name in zip(traces, names, strict=True)]
    if target.suffix.lower() == ".csv":
        _write_csv(traces, target)
    else:
        from impasto.figures import plots

        plots.write_plot(plots.curves(traces), target)
    click.echo(str(target))


def _write_csv(traces: Sequence[Curve], target: Path) -> None:
    """Write a row for every step of every run; a term that a run does not have is empty."""
    from impasto.images.atomic import atomic_write

    names = list(dict.fromkeys(name for curve in traces for name in curve.terms))
    with atomic_write(target) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["run", "step", "level", "objective", *names])
        for curve in traces:
            missing = [""] * len(curve.steps)
            columns = [curve.terms.get(name, missing) for name in names]
            for row in zip(curve.steps, curve.levels, curve.objective, *columns, strict=True):
                rows.writerow([curve.name, *row])
