"""Paint a film from the command line: progress bar, preview, the film's file, its measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from rich.console import Console

from impasto.backbone.load import settled
from impasto.backbone.vgg import Backbone
from impasto.cli.exit_codes import STOPPED
from impasto.cli.progress_bar import film_bar, make_console, note
from impasto.cli.signals import GracefulShutdown
from impasto.cli.terminal import load_with_bar
from impasto.config import Config, Machine
from impasto.errors import PictureError
from impasto.figures.contact_sheet import contact_sheet
from impasto.film.check import CheckedFrame, steadiness
from impasto.film.clip import Clip, load_av, open_clip
from impasto.film.flow import flow_method, load_cv2
from impasto.film.movie import MovieSettings, check_movie, is_folder
from impasto.film.paint import (
    Extras,
    FilmInput,
    Span,
    film_size,
    paint_film,
    selected,
    write_film,
)
from impasto.film.painter import FramePainter
from impasto.film.preview import preview_count, preview_frames
from impasto.film.store import METHOD, FilmStore, open_film_store, recorded_machine
from impasto.images.atomic import atomic_write
from impasto.images.read import Picture, read
from impasto.images.write import write
from impasto.painting.memory import Plan
from impasto.painting.tuning import use_threads
from impasto.version import __version__

WORK = ".work"  # added to the film's name: the folder of its frames while it is painted


class FilmSpec(NamedTuple):
    """The arguments of `impasto film`.

    later_steps: of the frames that are not the first of a shot. temporal: the weight of the term
    that holds a frame to the one before. rate: frames a second of a folder. passes: over the film,
    1 or 2.
    """

    clip: str
    styles: tuple[str, ...]
    config: Config
    machine: Machine
    out: str
    later_steps: int
    temporal: float
    span: Span
    flow: str
    rate: Fraction
    movie: MovieSettings
    keep_frames: bool
    check: bool
    passes: int = 1


class _Film(NamedTuple):
    """The opened and checked inputs of a film. frames: about how many it has."""

    input: FilmInput
    styles: list[Picture]
    out: Path
    frames: int


def paint_film_spec(spec: FilmSpec, quiet: bool, preview: bool) -> int:
    """Paint a film, or go on with it; preview: paint three of its frames instead.

    Returns the exit code.
    """
    load_av()
    use_threads(spec.machine)
    console = make_console(quiet)
    tell = partial(note, console)
    film = _open(spec, tell)
    folder = film.out.with_name(film.out.name + WORK)
    # a film that goes on is painted with the precision and convolution that it was begun with
    machine = spec.machine if preview else recorded_machine(folder, spec.machine)
    spec = spec._replace(config=settled(spec.config, machine))
    backbone = load_with_bar(console, spec.config, machine)
    if preview:
        return _preview(spec, film, backbone, console)
    with open_film_store(folder, _fingerprint(spec, film, backbone), spec.passes) as store:
        stopped = _paint(spec, film, store, backbone, console)
        if not store.lines:
            raise KeyboardInterrupt
        _write(spec, film, store, stopped)
        if spec.check and not stopped:
            click.echo(str(steadiness(_checked(spec, film, store), film.input.flow)))
        if not stopped and not spec.keep_frames:
            store.remove()
    if stopped:
        done = f"{len(store.lines)} of {film.frames} frames"
        if store.second and store.second.lines:
            done += f", {len(store.second.lines)} of them painted twice"
        click.echo(f"impasto: stopped; {film.out} has {done}: the same command goes on", err=True)
        return STOPPED
    if not quiet:
        click.echo(f"{film.out}  ({len(store.lines)} frames)")
    return 0


def _open(spec: FilmSpec, note: Callable[[str], object]) -> _Film:
    """Open and check the clip, the styles, the masks and the output. Raises ImpastoError."""
    clip = open_clip(spec.clip, spec.rate)
    flow = flow_method(spec.flow)
    first = next(selected(clip, spec.span, note), None)
    if first is None:
        raise PictureError(f"{spec.clip} has no frame between --start and --end", spec.span)
    size = film_size(first, spec.config)
    out = check_movie(spec.out, clip, spec.movie, size, note)
    film = FilmInput(clip, spec.span, size, Extras(spec.config, spec.rate), flow)
    return _Film(film, [read(style) for style in spec.styles], out, _count(clip, spec.span))


def _count(clip: Clip, span: Span) -> int:
    """About how many frames a span has, for the bar."""
    length = clip.length / float(clip.rate)
    end = length if span.end is None else min(length, span.end)
    return max(1, round(clip.length * (end - span.start) / length / span.every))


def _fingerprint(spec: FilmSpec, film: _Film, backbone: Backbone) -> dict[str, Any]:
    """All that determines the painted frames: a film is continued only if it is the same."""
    versions = (__version__, torch.__version__, load_av().__version__, load_cv2().__version__)
    return {
        "version": "impasto {}, torch {}, PyAV {}, OpenCV {}".format(*versions),
        "clip": film.input.clip.sha256,
        "styles": [style.sha256 for style in film.styles],
        "pictures": film.input.named.digests,
        "span": spec.span,
        "size": film.input.size,
        "steps": [spec.config.steps, spec.later_steps],
        "temporal": spec.temporal,
        "passes": spec.passes,
        "flow": spec.flow,
        "rate": str(spec.rate),
        "settings": spec.config.model_dump(mode="json"),
        "machine": spec.machine.model_dump(mode="json"),
        METHOD: backbone.method._asdict(),
        "network": backbone.weights.sha256,
        "number of threads": torch.get_num_threads(),
    }


def _painter(
    spec: FilmSpec, film: _Film, backbone: Backbone, console: Console, plan: Plan | None
) -> FramePainter:
    return FramePainter(
        film.styles,
        spec.config,
        spec.machine,
        spec.later_steps,
        spec.temporal,
        plan,
        partial(note, console),
        backbone,
    )


def _paint(
    spec: FilmSpec, film: _Film, store: FilmStore, backbone: Backbone, console: Console
) -> bool:
    """Paint the frames that the store lacks; return whether it was stopped by hand."""
    # a film that goes on is painted with the tiles that it was begun with
    plan = Plan(store.lines[0].tile, 0, 0) if store.lines else None
    painter = _painter(spec, film, backbone, console, plan)
    tell = partial(note, console)
    done = len(store.lines) + len(store.second.lines if store.second else ())
    if done:
        tell(f"resuming after frame {len(store.lines)}")
    height, width = film.input.size
    title = f"{film.frames} frames of {width} x {height} pixels"
    if spec.passes > 1:
        title += ", painted twice"
    frames = spec.passes * film.frames
    with GracefulShutdown() as shutdown, film_bar(console, title, frames, done) as bar:

        def on_step(step: Any) -> None:
            if step.number == 1:
                painter.tune_allocator()
            bar.on_step(step)
            shutdown.raise_if_requested()

        try:
            painted = paint_film(film.input, painter, store, tell, on_step)
            for count, _ in enumerate(painted, 1):
                if count > done:
                    bar.on_frame()
                    shutdown.raise_if_requested()
        except KeyboardInterrupt:
            return True
    return False


def _write(spec: FilmSpec, film: _Film, store: FilmStore, stopped: bool) -> None:
    """Write the film's file, or its folder. stopped: it has more frames."""
    if is_folder(spec.out):
        film.out.mkdir(parents=True, exist_ok=True)
        for line in store.lines:
            with atomic_write(film.out / f"{line.number:06d}.png") as part:
                part.write_bytes(store.last_file(line.number).read_bytes())
        return
    write_film(film.out, film.input.clip, store, spec.movie, stopped)


def _checked(spec: FilmSpec, film: _Film, store: FilmStore) -> Iterator[CheckedFrame]:
    """Yield the frames of the clip beside the painted ones."""
    lines = {line.number: line for line in store.lines}
    for frame in film.input.frames(lambda _: None):
        if line := lines.get(frame.number):
            content = film.input.picture(frame).pixels
            pixels = content[0].mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
            painted = read(str(store.last_file(frame.number))).pixels
            yield CheckedFrame(frame.number, pixels, painted, line.cut)


def _preview(spec: FilmSpec, film: _Film, backbone: Backbone, console: Console) -> int:
    """Paint three frames onto one sheet."""
    painter = _painter(spec, film, backbone, console, None)
    count = preview_count(film.frames)
    with GracefulShutdown() as shutdown, film_bar(console, "preview", count, 0) as bar:

        def on_step(step: Any) -> None:
            bar.on_step(step)
            shutdown.raise_if_requested()

        pairs = []
        for pair in preview_frames(film.input, film.frames, painter, lambda _: None, on_step):
            pairs.append(pair)
            bar.on_frame()
    out = film.out.with_name(f"{film.out.stem}-preview.png")
    write(contact_sheet(list(zip(*pairs, strict=True))), out)
    click.echo(str(out))
    return 0
