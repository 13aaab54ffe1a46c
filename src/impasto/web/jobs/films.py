"""Films of the studio: the clip and the settings, opened and checked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from impasto.config import Config
from impasto.errors import ConfigError, OutputError, PictureError
from impasto.extras import has_extra, needs_extra
from impasto.fields import marked, option_name
from impasto.film.clip import Clip, open_clip, open_video
from impasto.film.flow import flow_method
from impasto.film.movie import MovieSettings, check_movie
from impasto.film.paint import Extras, FilmInput, Span, film_size, frame_picture, selected
from impasto.images.files import header_size
from impasto.images.read import Picture, read_bytes
from impasto.images.write import write
from impasto.painting.levels import enough_for
from impasto.painting.problem import prepare_problem
from impasto.web.jobs.job import Job
from impasto.web.jobs.limits import Limits
from impasto.web.jobs.policy import Policy
from impasto.web.jobs.previews import reduced
from impasto.web.jobs.uploads import ReadingMemory

# by the first bytes of the clip: what a browser shows; other clips become MP4
SUFFIXES = {b"GIF8": ".gif", b"\x1aE\xdf\xa3": ".webm"}
MOST_EVERY, MOST_TEMPORAL = 1000, 1000.0
NOT_OURS = ("start", *marked(Config, "not_for", "film"))  # settings that a film does not take


class OpenFilm(NamedTuple):
    """A film whose clip and styles were opened and checked. first: a frame. frames: how many.

    named: the pictures that the settings name.
    """

    input: FilmInput
    first: Picture
    styles: list[Picture]
    named: dict[str, Picture]
    frames: int
    movie: MovieSettings


def clip_of(job: Job) -> Path:
    """The file of a film's clip, among its uploads."""
    return job.file("input-0")


def check_settings(config: Config) -> None:
    """Raise ConfigError for a setting that a film does not take, or if films need an extra."""
    if not has_extra("video"):
        raise ConfigError(needs_extra("a film", "video"))
    for name in NOT_OURS:
        if getattr(config, name) != getattr(Config(), name):
            raise ConfigError(f"{option_name(name)} is not for a film: leave it out", name)


def check_film(job: Job, policy: Policy, reading: ReadingMemory) -> None:
    """Read a film's clip and styles once, for all that is wrong with them. Raises ImpastoError."""
    limits, chosen = policy.limits, job.film
    check_bytes(clip_of(job), job.content, limits)
    if not 1 <= chosen.every <= MOST_EVERY:
        raise ConfigError(f"every is {chosen.every}: give 1 to {MOST_EVERY}", chosen.every)
    if not 0 <= chosen.temporal <= MOST_TEMPORAL:  # not NaN either
        text = f"temporal is {chosen.temporal:g}: give 0 to {MOST_TEMPORAL:g}"
        raise ConfigError(text, chosen.temporal)
    if not 0 <= chosen.later_steps <= limits.steps:
        text = f"later_steps is {chosen.later_steps:,}: give 1 to {limits.steps:,}"
        raise ConfigError(text, chosen.later_steps)
    sizes = [header_size(data, name, limits.read_pixels) for data, name in job.files(1)]
    enough = enough_for(*sizes[0], job.config) if sizes else 1
    with reading.reserved(sizes or [(1, 1)], enough), own_names(clip_of(job), job.content):
        film = open_film(job, limits)
    job.movie = _suffix(job)
    height, width = film.input.size
    if height * width > limits.pixels:
        raise ConfigError(
            f"{width} x {height} pixels are more than this server's {limits.pixels:,}: "
            "give a smaller --size",
            (width, height),
        )
    if film.frames > limits.frames:
        raise ConfigError(
            f"{film.frames:,} frames are more than this server's {limits.frames:,}: give a "
            "shorter clip, or a larger every",
            film.frames,
        )
    prepare_problem(film.first, film.styles, job.config, film.named)
    write(reduced(film.first.pixels, height, width), job.file("before.jpg"))


@contextmanager
def own_names(path: Path, name: str) -> Iterator[None]:
    """Have errors name the clip as its visitor does; one of a film's file is the visitor's too."""
    try:
        yield
    except (PictureError, OutputError) as error:
        raise PictureError(str(error).replace(str(path), name)) from None


def describe(path: Path, name: str, limits: Limits) -> str:
    """Describe a clip: its frames, seconds and pixels. Raises ImpastoError."""
    check_bytes(path, name, limits)
    with own_names(path, name):
        clip = _clip(path, name, limits)
        height, width, _ = next(clip.frames(lambda _: None)).pixels.shape
    text = (
        f"{clip.length:,} frames, {clip.length / float(clip.rate):.1f} s, {width} × {height} pixels"
    )
    if clip.length > limits.frames:
        every = math.ceil(clip.length / limits.frames)
        text += f": more than {limits.frames:,} frames, so paint every {every}th or fewer"
    return f"{text}."


def _clip(path: Path, name: str, limits: Limits) -> Clip:
    """Open a clip, after a look at the size of its frames. Raises ImpastoError."""
    with open_video(path) as container:
        for stream in container.streams.video:
            if stream.width * stream.height > limits.read_pixels:
                raise PictureError(
                    f"{name} has {stream.width} x {stream.height} pixels, more than this server's "
                    f"{limits.read_pixels:,}: scale it down first"
                )
    return open_clip(str(path), Fraction(25))


def check_bytes(path: Path, name: str, limits: Limits) -> None:
    """Raise PictureError if a clip has too many bytes."""
    size = path.stat().st_size
    if size > limits.clip:
        most = f"more than this server's {limits.clip / 1e6:g} MB"
        raise PictureError(f"{name} has {size / 1e6:,.0f} MB, {most}: give a shorter clip")


def _suffix(job: Job) -> str:
    """The suffix of the film's file, by the kind of the clip."""
    with clip_of(job).open("rb") as file:
        begin = file.read(16)
    return next((suffix for start, suffix in SUFFIXES.items() if begin.startswith(start)), ".mp4")


def open_film(job: Job, limits: Limits) -> OpenFilm:
    """Open the clip and the styles. Raises ImpastoError."""
    clip = _clip(clip_of(job), job.content, limits)
    span = Span(every=job.film.every)
    first = next(selected(clip, span, lambda _: None))
    movie, out = MovieSettings(), str(job.file(f"film{_suffix(job)}"))
    try:
        check_movie(out, clip, movie)
    except OutputError:
        movie = movie._replace(audio="drop")  # sound of a kind that the file cannot hold
        check_movie(out, clip, movie)
    size = film_size(first, job.config)
    enough = enough_for(*size, job.config)
    read = [read_bytes(data, name, limits.read_pixels, enough) for data, name in job.files(1)]
    named = dict(zip(job.named, read[len(job.styles) :], strict=True))
    film = FilmInput(clip, span, size, Extras(job.config, clip.rate, named), flow_method("dis"))
    frames = math.ceil(clip.length / span.every)
    picture = frame_picture(first, job.content, size)
    return OpenFilm(film, picture, read[: len(job.styles)], named, frames, movie)
