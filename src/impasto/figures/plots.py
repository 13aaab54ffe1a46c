"""Draw loss curves, heat maps and the network with matplotlib; no other file imports it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from impasto.backbone.architecture import stage_of
from impasto.errors import OutputError
from impasto.extras import needs_extra
from impasto.figures.contact_sheet import kinds
from impasto.figures.curve import PLOTS, Curve
from impasto.images.atomic import atomic_write
from impasto.images.write import check_output

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import FancyBboxPatch
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
except ImportError:
    raise OutputError(needs_extra("a plot", "plots")) from None

__all__ = ["curves", "heat", "network", "write_plot"]

# Okabe & Ito 2008, without the yellow, which is too faint on white: distinct for color-blind
# people, and in gray by the dashes.
COLORS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = (
    (0, ()),
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (9, 2)),
    (0, (3, 1.2, 1.2, 1.2, 1.2, 1.2)),
    (0, (12, 2, 1.2, 2)),
)
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e1dc",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "figure.facecolor": "#ffffff",
    "savefig.dpi": 160,
    "svg.hashsalt": "impasto",
    "text.parse_math": False,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "axes.linewidth": 0.7,
}

# what is not to be, or to be, written beside the figure: no time and no version
STAMPS: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "impasto"},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "impasto"},
}


def write_plot(figure: Figure, path: str | PathLike[str]) -> Path:
    """Write a figure as PNG, SVG or PDF: the same figure, the same bytes. Raises OutputError."""
    out = check_output(path, PLOTS, "plot")
    kind = out.suffix.lower().removeprefix(".")
    stamps: dict[str, Any] = STAMPS[kind]
    with mpl.rc_context(STYLE), warnings.catch_warnings(), atomic_write(out) as part:
        # letters that the font lacks are shown as boxes
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(part, format=kind, metadata=stamps)
    return out


def curves(runs: Sequence[Curve]) -> Figure:
    """Draw loss curves on a log scale: the terms and layers of one run, or a panel a term for
    several runs."""
    with mpl.rc_context(STYLE):
        return _one_run(runs[0]) if len(runs) == 1 else _several_runs(runs)


def _one_run(run: Curve) -> Figure:
    """Draw the objective and the sum of each kind of term on the left, each layer's terms on the
    right."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    sums = {
        "objective": np.asarray(run.objective),
        **kinds({name: np.asarray(values) for name, values in run.terms.items()}),
    }
    for axes, title, curves, skip in (
        (left, "objective and its terms", sums, 0),
        (right, "term by term", run.terms, 1),
    ):
        drawn = _panel(
            axes, title, [(name, run.steps, values) for name, values in curves.items()], skip
        )
        _mark_levels(axes, run)
        if drawn:
            names = [str(each.get_label()) for each in drawn]
            axes.legend(
                drawn, names, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, fontsize=8
            )
    figure.suptitle(run.name, fontsize=11)
    return figure


def _several_runs(runs: Sequence[Curve]) -> Figure:
    """Draw a panel for the objective and for each term of any run; a run has one color and dash in
    all panels. Objectives of runs with other terms (other presets) are drawn relative to their
    first values."""
    names = list(dict.fromkeys(name for run in runs for name in run.terms))
    columns = min(3, len(names) + 1)
    rows = math.ceil((len(names) + 1) / columns)
    figure = Figure(figsize=(3.7 * columns, 2.5 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    title, values = "objective", [np.asarray(run.objective, dtype=float) for run in runs]
    if len({frozenset(run.terms) for run in runs}) > 1:  # other terms: their sums do not compare
        title, values = "objective / first value", [each / _first(each) for each in values]
    lines = [(run.name, run.steps, each) for run, each in zip(runs, values, strict=True)]
    drawn = _panel(panels[0], title, lines)
    for axes, name in zip(panels[1:], names, strict=False):
        _panel(axes, name, [(run.name, run.steps, run.terms.get(name, ())) for run in runs])
    if (
        len({tuple(run.levels) for run in runs}) == 1
    ):  # with other levels a line would be right for one run only
        for axes in panels[: len(names) + 1]:
            _mark_levels(axes, runs[0], named=False)
    for axes in panels[len(names) + 1 :]:
        axes.set_visible(False)
    figure.legend(
        drawn,
        [run.name for run in runs],
        loc="outside lower center",
        ncols=min(4, len(runs)),
        fontsize=9,
    )
    return figure


def _first(values: np.ndarray) -> float:
    """The first of the values that is finite and not 0; 1 if none is."""
    usable = values[np.isfinite(values) & (values != 0)]
    return float(usable[0]) if usable.size else 1.0


def _panel(
    axes: Axes,
    title: str,
    lines: Sequence[tuple[str, Sequence[int], Sequence[float] | np.ndarray]],
    skip: int = 0,
) -> list[Line2D]:
    """Draw named lines over steps on a log scale; an empty line keeps its color. skip: the first
    colors, which are left out."""
    found = []
    axes.set(title=title, xlabel="step", yscale="log")
    axes.yaxis.set_major_locator(
        LogLocator(subs=(1.0, 2.0, 5.0) if _narrow(lines) else (1.0,), numticks=9)
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for k, (name, steps, values) in enumerate(lines, skip):
        drawn = np.asarray(values, dtype=float)
        if drawn.size:
            drawn = np.where(drawn > 0, drawn, np.nan)  # a log scale has no 0
            found += axes.plot(
                steps,
                drawn,
                color=COLORS[k % len(COLORS)],
                linestyle=DASHES[k % len(DASHES)],
                linewidth=1.8 if k == 0 else 1.3,
                label=name,
                marker=".",
                markevery=_alone(drawn),
            )
    return found


def _alone(values: np.ndarray) -> list[int]:
    """Indices of isolated points, which are drawn as dots."""
    there = np.pad(np.isfinite(values), 1)
    return [int(k) for k in np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:])]


def _narrow(lines: Sequence[tuple[str, Sequence[int], Sequence[float] | np.ndarray]]) -> bool:
    """True if all values are within about two decades, where powers of ten would be too few
    ticks."""
    values = np.concatenate([np.asarray(each[2], dtype=float) for each in lines] or [np.zeros(0)])
    values = values[values > 0]
    return bool(values.size) and float(values.max() / values.min()) < 150


def _mark_levels(axes: Axes, run: Curve, named: bool = True) -> None:
    """Draw a faint line where each level after the first begins: its objective is another one."""
    for before, (step, level) in zip(
        run.levels, list(zip(run.steps, run.levels, strict=True))[1:], strict=False
    ):
        if level != before:
            axes.axvline(step - 0.5, color="#b8b4ae", linewidth=0.8)
            if not named:
                continue
            axes.annotate(
                f" level {level}",
                (step - 0.5, 1),
                xycoords=("data", "axes fraction"),
                va="top",
                fontsize=8,
                color="#6b6762",
            )


def heat(values: np.ndarray, colors: str = "magma") -> Image.Image:
    """Draw values (h, w) as a picture; the color map spans all but the greatest half percent, which
    would hide the rest."""
    low, high = float(values.min()), float(np.percentile(values, 99.5))
    high = high if high > low else float(values.max())  # few values differ from the least
    scaled = ((values - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(values)
    return Image.fromarray((mpl.colormaps[colors](scaled)[..., :3] * 255).round().astype(np.uint8))


def network(
    name: str, channels: Mapping[str, int], content: Mapping[str, float], style: Mapping[str, float]
) -> Figure:
    """Draw the network: a box for each convolution, its height the size of the features, its width
    the number of channels.

    Args:
        name: the title.
        channels: of each convolution, in order.
        content, style: the layers that a preset uses, with their weights.
    """
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(13, 5.2), layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        most, left = max(channels.values()), 0.0
        for stage in sorted({stage_of(each) for each in channels}):
            convolutions = [each for each in channels if stage_of(each) == stage]
            height = 4.0 * 0.72 ** (stage - 1)
            first = left
            for each in convolutions:
                width = 0.35 + 0.75 * math.sqrt(channels[each] / most)
                axes.add_patch(_box(left, -height / 2, width, height))
                axes.text(
                    left + width / 2,
                    0,
                    f"{each}\n{channels[each]}",
                    ha="center",
                    va="center",
                    rotation=90,
                )
                _mark_layer(axes, each, left + width / 2, height / 2, content, style)
                left += width + 0.16
            half = f" / {1 << stage - 1}" if stage > 1 else ""
            axes.text(
                (first + left - 0.16) / 2,
                -2.35,
                f"stage {stage}\nH{half} × W{half}",
                ha="center",
                va="top",
            )
            left += 0.55
        for color, what, at in ((CONTENT, "content", 0.0), (STYLE_MARK, "style", 1.9)):
            axes.text(at, 3.35, f"■ {what}", color=color, fontweight="bold", fontsize=11)
        axes.set(xlim=(-0.3, left - 0.3), ylim=(-3.1, 3.7))
        axes.set_title(name, pad=12)
        return figure


CONTENT, STYLE_MARK = COLORS[2], COLORS[1]


def _box(left: float, bottom: float, width: float, height: float) -> FancyBboxPatch:
    return FancyBboxPatch(
        (left, bottom),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.06",
        facecolor="#efece6",
        edgecolor="#8a857e",
    )


def _mark_layer(
    axes: Axes,
    convolution: str,
    x: float,
    top: float,
    content: Mapping[str, float],
    style: Mapping[str, float],
) -> None:
    """Write the layers of a convolution that a preset uses above its box, with weights other than
    1."""
    above = top + 0.15
    for layers, color in ((content, CONTENT), (style, STYLE_MARK)):
        for layer in (convolution, convolution.replace("conv", "relu")):
            if layer in layers:
                weight = "" if layers[layer] == 1 else f" × {layers[layer]:g}"
                axes.text(
                    x,
                    above,
                    f"{layer}{weight}",
                    color=color,
                    ha="center",
                    fontweight="bold",
                    fontsize=8,
                )
                above += 0.28
