"""`impasto paint`: paint one picture in the style of others."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from impasto.cli import options
from impasto.cli.names import default_name, joined_name
from impasto.cli.sources import check_styles, sources_of, with_styles
from impasto.cli.streams import STREAM
from impasto.config import DRAFT
from impasto.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from impasto.cli.run_folder import RunSpec
    from impasto.config import Config, Machine
    from impasto.images.metadata import Kept


@click.command(cls=options.GroupedCommand)
@click.argument("pictures", nargs=-1, metavar="CONTENT STYLE")
@options.styles
@click.option(
    "-o",
    "--out",
    help="the painting's file; its suffix is its format; -: a PNG to standard output "
    "[default: CONTENT-STYLE.png]",
)
@options.preset
@click.option(
    "--from",
    "source",
    metavar="FILE",
    help="paint again with the settings (and pictures) of a painting",
)
@click.option(
    "--timelapse", metavar="FILE", help="a film of the painting: .gif, .webp, .apng, .mp4 or .webm"
)
@click.option(
    "--figure", metavar="FILE", help="content, style and result side by side, with captions"
)
@click.option(
    "--trace", metavar="FILE", help="one line of JSON a step, for `impasto curves`: .jsonl"
)
@click.option(
    "--draft",
    is_flag=True,
    help="half of the steps, and none by the true network, as --finish 0 --steps 50: in a quarter "
    "of the time, a little less like the style",
)
@click.option(
    "--preview",
    "preview_only",
    is_flag=True,
    help="only a quick look, painted small, in seconds: shown in the system's viewer, "
    "and kept where -o says",
)
@click.option(
    "--save-every",
    default=0,
    type=click.IntRange(0),
    metavar="N",
    help="write a snapshot every N steps, as OUT-01000.png [default: none]",
)
@click.option(
    "--save-at",
    default="",
    metavar="STEPS",
    help="write a snapshot at these steps, as 3000,9000 [default: none]",
)
@click.option(
    "--checkpoint",
    metavar="FOLDER",
    help="save the run's state there, for `impasto resume FOLDER` after an interruption",
)
@options.depth
@options.metadata
@options.engine
@options.address
@click.option(
    "--open",
    "show_it",
    is_flag=True,
    help="show the painting in the system's viewer when it is done",
)
@options.overwrite
@options.quiet
@options.json_output
def paint(
    pictures: tuple[str, ...],
    styles: tuple[str, ...],
    out: str | None,
    preset_name: str | None,
    source: str | None,
    timelapse: str | None,
    figure: str | None,
    trace: str | None,
    draft: bool,
    preview_only: bool,
    save_every: int,
    save_at: str,
    checkpoint: str | None,
    depth: Literal[8, 16],
    metadata: Kept,
    engine: str,
    address: str | None,
    show_it: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> int:
    """Paint the picture CONTENT in the style of STYLE.

    impasto paint photo.jpg painting.jpg -o result.png

    CONTENT - is standard input.
    """
    from impasto.cli.outputs import check_outputs, check_snapshots
    from impasto.cli.run_folder import RunSpec, open_run_folder
    from impasto.cli.terminal import paint_spec
    from impasto.images.write import FileOptions
    from impasto.painting.problem import extras

    asked = with_styles(pictures, styles)
    typed = {**(DRAFT if draft else {}), **options.given(values)}
    config, machine, pictures, blank_content = sources_of(asked, preset_name, source, typed)
    _refuse_texture(blank_content, source)
    first_style = _first_style(pictures, config)
    used = [*pictures, *(path for _, path in extras(config)), *([source] if source else [])]
    check_styles(asked, styles, bool(config.blend))
    if preview_only:
        _refuse_others(timelapse, figure, trace, save_every, save_at, checkpoint)
        return _show_preview(pictures, config, machine, out, used)
    picture = out or default_name(joined_name(pictures[0], first_style), overwrite)
    at_steps = check_snapshots(save_every, save_at, config.steps)
    form = FileOptions(depth, metadata)
    outputs = check_outputs(picture, timelapse, figure, trace, used, at_steps, config.steps, form)
    spec = RunSpec(tuple(pictures), config, machine, outputs, os.getcwd(), engine, address)
    options.check_engine(engine, address)
    _check_streams(spec, checkpoint, show_it or as_json)
    with open_run_folder(checkpoint, spec) as folder:
        code = paint_spec(spec, folder, quiet, as_json)
    if show_it:
        click.launch(str(outputs.picture))
    return code


options.add_settings(paint)


def _refuse_texture(blank_content: str, source: str | None) -> None:
    """Raise ConfigError if --from names a texture."""
    if blank_content:
        raise ConfigError(
            f"{source} is a texture: `impasto texture --from {source}` makes it again", source
        )


def _refuse_others(*values: object) -> None:
    """Raise ConfigError if another output than a quick look was asked for.

    values: of --timelapse, --figure, --trace, --save-every, --save-at, --checkpoint.
    """
    names = ("--timelapse", "--figure", "--trace", "--save-every", "--save-at", "--checkpoint")
    for name, value in zip(names, values, strict=True):
        if value:
            raise ConfigError(f"--preview is only a quick look: leave {name} out", value)


def _show_preview(
    pictures: Sequence[str],
    config: Config,
    machine: Machine,
    out: str | None,
    used: Sequence[str],
) -> int:
    """Paint a quick look into a file, by default a temporary one, and open it.

    used: the files that are read.
    """
    from impasto.cli.outputs import check_outputs
    from impasto.cli.progress_bar import make_console
    from impasto.cli.streams import picture_source
    from impasto.cli.terminal import load_with_bar
    from impasto.images.write import to_image, write
    from impasto.painting.preview import preview
    from impasto.painting.tuning import use_threads

    if out == STREAM:
        raise ConfigError("--preview needs a file to show: give -o quick.png", out)
    target = check_outputs(out, used=used).picture if out else None
    use_threads(machine)
    content, *styles = (picture_source(picture) for picture in pictures)
    load = partial(load_with_bar, make_console(quiet=False))
    pixels = preview(content, styles, config, machine, backbone=load)
    if target is None:
        with tempfile.NamedTemporaryFile(prefix="impasto-", suffix=".png", delete=False) as file:
            target = Path(file.name)  # it stays: the viewer reads it when it likes
    write(to_image(pixels), target)
    click.echo(str(target))
    click.launch(str(target))
    return 0


def _first_style(pictures: Sequence[str], config: Config) -> str:
    """The first of the pictures that are styles. Raises ConfigError if there is none."""
    from impasto.painting.problem import extras

    # these alone can be the styles
    named = [path for role, path in extras(config) if role in ("coarse", "mask-style")]
    found = [*pictures, *named]
    if not pictures or len(found) < 2:
        raise ConfigError(
            "give a CONTENT and a STYLE picture: impasto paint photo.jpg painting.jpg", pictures
        )
    return found[1]


def _check_streams(spec: RunSpec, checkpoint: str | None, asks_for_file: bool) -> None:
    """Refuse options that need a file, for standard input and output. Raises ConfigError."""
    from impasto.painting.callbacks import Snapshots

    reads, writes = spec.pictures.count(STREAM), spec.outputs.streamed
    if reads > 1:
        raise ConfigError("standard input, -, can be one picture only: give the others by name")
    if checkpoint and (reads or writes):
        raise ConfigError(
            "--checkpoint cannot go on with standard input or output: give files", checkpoint
        )
    if writes and (asks_for_file or spec.outputs.snapshots != Snapshots()):
        raise ConfigError(
            "-o - writes the painting to standard output: give a file for --json, --open, "
            "--save-every and --save-at"
        )
