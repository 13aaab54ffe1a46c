"""The command line. It says what went wrong in one line and exits with 2; the library never prints and never exits."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from impasto import __version__
from impasto.apps.look import presets, show, weights
from impasto.apps.options import GroupedCommand, config_options, given
from impasto.config import Config
from impasto.errors import ConfigError, ImpastoError, OutputError, out_of_memory
from impasto.presets import preset

if TYPE_CHECKING:
    from rich.console import Console

    from impasto.backbone import Backbone
    from impasto.painting import Painting, Step
    from impasto.pictures import Picture

__all__ = ["cli", "main"]

BEFORE = {"precondition": 0.0}  # what a painting was made with before there was such a choice
Reader = Callable[["Step"], object]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 something to put right, 130 stopped before there was a picture."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it finds in a broken file is told in our one line
    try:
        code = cli.main(None if arguments is None else list(arguments), "impasto", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message())
    except ImpastoError as error:
        _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        click.echo("impasto: stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        _fail("not enough memory for this size: give a smaller --size")
    sys.exit(code or 0)


def _fail(message: str) -> None:
    line = " ".join(message.split())
    click.echo(f"impasto: {line}", err=True)
    sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="impasto")
def cli() -> None:
    """Paint any picture in the style of any other."""


@cli.command(cls=GroupedCommand)
@click.argument("pictures", nargs=-1, metavar="CONTENT STYLE [STYLE ...]")
@click.option("-o", "--out", help="the painting's file; its suffix is its format [default: CONTENT-STYLE.png]")
@click.option(
    "--preset", "preset_name", metavar="NAME", help="a recipe by name; see `impasto presets` [default: house]"
)
@click.option("--from", "source", metavar="FILE", help="paint again with the settings (and pictures) of a painting")
@click.option("--open", "show_it", is_flag=True, help="show the painting in the system's viewer when it is done")
@click.option("--quiet", is_flag=True, help="say nothing but errors")
@click.option("--json", "as_json", is_flag=True, help="print the result as one line of JSON")
def paint(
    pictures: tuple[str, ...],
    out: str | None,
    preset_name: str | None,
    source: str | None,
    show_it: bool,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Paint the picture CONTENT in the style of STYLE; several styles are blended.

    impasto paint photo.jpg painting.jpg -o result.png
    """
    from impasto.pictures import check_output, read

    config, pictures = _settings(pictures, preset_name, source, given(values))
    if len(pictures) < 2:
        raise ConfigError("give a CONTENT and a STYLE picture: impasto paint photo.jpg painting.jpg", pictures)
    target = check_output(out or f"{Path(pictures[0]).stem}-{Path(pictures[1]).stem}.png")
    used = [*pictures, *config.start, *([source] if source else [])]
    if os.path.realpath(target) in map(os.path.realpath, used):
        raise OutputError(f"{target} is one of the pictures to paint from: give another name", str(target))
    inputs = [read(picture) for picture in pictures]  # before the network is loaded: bad pictures fail at once
    painting = _paint(inputs, config, target, quiet or as_json)
    _save(painting, target)
    _report(painting, target, quiet, as_json)
    if show_it:
        click.launch(str(target))


config_options(paint)


def _save(painting: Painting, target: Path) -> None:
    """Save the painting; where that fails although it could be done before, it is not lost but saved elsewhere."""
    try:
        painting.save(target)
    except OutputError as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="impasto-")) / f"{target.stem}.png"
        painting.save(elsewhere)
        raise OutputError(f"{error}; the painting was saved as {elsewhere}", str(target)) from error


def _settings(
    pictures: tuple[str, ...], preset_name: str | None, source: str | None, options: dict[str, Any]
) -> tuple[Config, tuple[str, ...]]:
    """The config and the pictures: a preset or an earlier painting's, with what was typed on top."""
    if source is None:
        return preset(preset_name or "house").config.changed(**options), pictures
    if preset_name:
        raise ConfigError("give --from or --preset, not both: each is a whole set of settings", preset_name)
    from impasto.pictures import read_settings

    recorded = read_settings(source)
    if not pictures:
        pictures = tuple(each["name"] for each in recorded["inputs"] if each["role"] != "start")
        _check_unchanged(recorded["inputs"])
    return Config(**{**BEFORE, **recorded["config"]}).changed(**options), pictures


def _check_unchanged(inputs: list[dict[str, str]]) -> None:
    from impasto.pictures import read

    for each in inputs:
        if read(each["name"]).sha256 != each["sha256"]:
            raise ConfigError(
                f"{each['name']} is not the picture that was painted then: name the pictures to paint it all the same",
                each["name"],
            )


def _paint(pictures: list[Picture], config: Config, target: Path, quiet: bool) -> Painting:
    """Paint with a progress bar (unless `quiet`) and the snapshots that the config asks for."""
    from impasto.apps.progress import downloading, log, painting
    from impasto.inputs import check
    from impasto.painting import fit, make_backbone
    from impasto.painting import paint as run

    console = log(quiet)
    content, *styles = pictures
    check(content, styles, config)  # before a network is downloaded for nothing
    with downloading(console, config.backbone) as progress:
        backbone = make_backbone(config, progress)
    fits = fit(content, styles, config, backbone)
    config = config.changed(tile=fits.side or config.tile)
    readers: list[Reader] = [_snapshots(config, pictures, backbone, target, console)] if config.save_every else []
    dtype = str(backbone.dtype).removeprefix("torch.")
    title = f"{backbone.weights.name} on {backbone.device}, {dtype}, {config.steps} steps of {config.optimizer}; {fits}"
    with painting(console, title) as bar:
        return run(content, styles, config, backbone=backbone, fits=fits, on_step=_each([bar, *readers]))


def _each(readers: list[Reader]) -> Reader:
    def read(step: Step) -> None:
        for reader in readers:
            reader(step)

    return read


def _snapshots(config: Config, pictures: list[Picture], backbone: Backbone, target: Path, console: Console) -> Reader:
    """Writes OUT-01000.png beside OUT.png every `save_every` steps; one that cannot be written does not end the run."""
    from impasto.inputs import settings_of
    from impasto.pictures import resize, to_image, write

    content, *styles = pictures
    settings = settings_of(content, styles, config, backbone, 0)

    def save(step: Step) -> None:
        if step.number % config.save_every:
            return
        alpha = None if content.alpha is None else resize(content.alpha, *step.picture.shape[2:])
        path = target.with_name(f"{target.stem}-{step.number:05d}{target.suffix}")
        try:
            write(to_image(step.picture, alpha), path, {**settings, "steps_done": step.number})
        except OutputError as error:
            console.print(f"no snapshot at step {step.number}: {error}", markup=False)

    return save


def _report(painting: Painting, target: Path, quiet: bool, as_json: bool) -> None:
    if as_json:
        height, width = painting.pixels.shape[2:]
        line = {
            "picture": str(target),
            "width": width,
            "height": height,
            "seconds": round(painting.seconds, 3),
            "steps": painting.steps,
            "evaluations": painting.evaluations,
            "finished": painting.finished,
            "stopped": painting.stopped,
            "objective": painting.value,
            "terms": painting.terms,
            "notes": painting.notes,
            **{key: painting.settings[key] for key in ("version", "config", "inputs")},
        }
        click.echo(json.dumps(line))
    elif not quiet:
        early = "" if painting.finished else f", {painting.stopped}: {painting.steps} of {painting.config.steps} steps"
        click.echo(f"{target}  (painted in {painting.seconds:.1f} s{early})")


@cli.command()
@click.option("--style", "style_name", default="strokes", help="strokes, woodcut, glass or points [default: strokes]")
@click.option("--out", "folder", default=".", help="the folder that the pictures go to [default: this one]")
def demo(style_name: str, folder: str) -> None:
    """Paint the sample photograph in a sample style."""
    from PIL import Image

    from impasto.pictures import check_output, read, write
    from impasto.pictures.figures import contact_sheet
    from impasto.pictures.samples import sample_photograph, sample_style

    content, style = sample_photograph(), sample_style(style_name)
    target = check_output(Path(folder) / "impasto-demo.png")
    sheet = check_output(Path(folder) / "impasto-demo-sheet.png")
    painting = _paint([read(content), read(style)], preset("house").config, target, quiet=False)
    _save(painting, target)
    row = [(Image.open(content), "content"), (Image.open(style), "style"), (painting.image, "result")]
    write(contact_sheet([row]), sheet)
    _report(painting, target, quiet=False, as_json=False)
    click.echo(f"{sheet}  (content, style, result)")


for command in (show, presets, weights):
    cli.add_command(command)
