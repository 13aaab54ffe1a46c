"""`impasto film`: paint a video as one film."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Literal

import click

from impasto.cli import options
from impasto.config import DRAFT, MOST_STEPS, Config, changed_by
from impasto.errors import ConfigError
from impasto.presets import preset

# a film has its own --steps and --start; the seed is of a start with noise
OWN = ("steps", "start", "seed")


class Seconds(click.ParamType[float]):
    """A time in a clip, as 12.5 or 1:02.5."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse a time; fails with one line."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)", value.strip())
        if match is None:
            self.fail(f"{value!r} is no time: give seconds, as 12.5, or 1:02.5", param, ctx)
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return 3600 * hours + 60 * minutes + seconds


@click.command(cls=options.GroupedCommand)
@click.argument("clip", metavar="CLIP")
@click.argument("styles", nargs=-1, metavar="STYLE [STYLE ...]")
@click.option(
    "-o",
    "--out",
    required=True,
    help="the film: .mp4, .mov, .mkv, .webm or .gif, or a folder of frames, as frames/",
)
@options.preset
@click.option(
    "--steps",
    "step_counts",
    metavar="FIRST,LATER",
    help="steps of the first frame of a shot, and of the others [default: 100,9, or with --draft "
    "50,12]",
)
@click.option(
    "--temporal",
    default=1.0,
    type=click.FloatRange(0, 1000),
    metavar="NUMBER",
    help="how much a frame is held to the one before it: 0 not at all [default: 1]",
)
@click.option("--start", "begin", default=0.0, type=Seconds(), help="where in the clip it begins")
@click.option("--end", type=Seconds(), help="where in the clip it ends")
@click.option(
    "--every", default=1, type=click.IntRange(1), help="paint every N-th frame only [default: 1]"
)
@click.option(
    "--rate", default="25", metavar="NUMBER", help="frames a second of a folder [default: 25]"
)
@click.option(
    "--flow",
    default="dis",
    metavar="dis|farneback|FOLDER",
    help="how motion is found, or a folder of .flo files [default: dis]",
)
@click.option(
    "--passes",
    default=1,
    type=click.IntRange(1, 2),
    help="2: paint all frames once more, from the last to the first [default: 1]",
)
@click.option(
    "--audio",
    type=click.Choice(["copy", "drop"]),
    default="copy",
    help="the clip's sound and subtitles [default: copy]",
)
@click.option(
    "--codec", type=click.Choice(["h264", "h265", "vp9"]), help="[default: h264; .webm: vp9]"
)
@click.option(
    "--crf",
    type=click.IntRange(0, 63),
    help="quality, lower is better [default: 18; h265: 20; vp9: 24]",
)
@click.option("--keep-frames", is_flag=True, help="keep the folder OUT.work with all frames")
@click.option("--check", is_flag=True, help="measure how steady the film is")
@click.option("--preview", is_flag=True, help="paint three frames only, as OUT-preview.png")
@click.option("--draft", is_flag=True, help="fewer steps, and none by the true network")
@options.quiet
def film(
    clip: str,
    styles: tuple[str, ...],
    out: str,
    preset_name: str | None,
    step_counts: str | None,
    temporal: float,
    begin: float,
    end: float | None,
    every: int,
    rate: str,
    flow: str,
    passes: int,
    audio: Literal["copy", "drop"],
    codec: str | None,
    crf: int | None,
    keep_frames: bool,
    check: bool,
    preview: bool,
    draft: bool,
    quiet: bool,
    **values: Any,
) -> int:
    """Paint the video CLIP (or a folder of frames) in the style of STYLE, without flicker.

    impasto film clip.mp4 painting.jpg -o film.mp4

    The same command again goes on where it was stopped.
    """
    from impasto.cli.film_run import FilmSpec, paint_film_spec
    from impasto.film.movie import MovieSettings
    from impasto.film.paint import Span

    typed = {**(DRAFT if draft else {}), **options.given(values)}
    config, machine = changed_by(typed, preset(preset_name or "default").config)
    first, later = _steps(step_counts, config)
    config = config.changed(steps=first)
    if end is not None and end <= begin:
        raise ConfigError(f"--end {end:g} is not after --start {begin:g}", end)
    movie = MovieSettings(codec or "", crf, audio, begin, end)
    span = Span(begin, end, every)
    spec = FilmSpec(
        clip, _styles(styles, config), config, machine, out, later, temporal, span, flow,
        _rate(rate), movie, keep_frames, check, passes,
    )  # fmt: skip
    return paint_film_spec(spec, quiet, preview)


options.add_settings(film, without=OWN)


def _styles(styles: tuple[str, ...], config: Config) -> tuple[str, ...]:
    """Check that there is a style. Raises ConfigError."""
    if not (styles or config.mask or config.fine or config.coarse):
        raise ConfigError("give a CLIP and a STYLE: impasto film clip.mp4 painting.jpg -o film.mp4")
    return styles


def _steps(text: str | None, config: Config) -> tuple[int, int]:
    """Parse `--steps`, as "100,9"; one number is the first frame's. Raises ConfigError."""
    if text is None:
        return config.steps, config.later_steps
    match = re.fullmatch(r"\s*(\d{1,8})\s*(?:,\s*(\d{1,8})\s*)?", text)
    counts = [int(part) for part in match.groups() if part] if match else []
    if not counts or not all(0 < count <= MOST_STEPS for count in counts):
        raise ConfigError(
            f"--steps is {text!r}: a film takes the first frame's and the others', as 100,9", text
        )
    first = config.changed(steps=counts[0])
    return counts[0], counts[1] if len(counts) > 1 else first.later_steps


def _rate(text: str) -> Fraction:
    """Parse `--rate`, as 25 or 30000/1001. Raises ConfigError."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000 or not math.isfinite(rate):
        raise ConfigError(f"--rate is {text!r}: give frames a second, as 25 or 30000/1001", text)
    return rate
