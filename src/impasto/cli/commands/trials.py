"""The commands that paint several pictures into one figure, or without a content: compare, reconstruct, texture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from impasto.cli.options import GroupedCommand, config_options, given
from impasto.cli.sources import job_of
from impasto.config import Config
from impasto.errors import ConfigError, ImpastoError, out_of_memory
from impasto.presets import FIRST_CONVOLUTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from impasto.backbone.vgg import Backbone
    from impasto.figures.contact_sheet import Cell
    from impasto.images.read import Picture
    from impasto.painting.run import Painting

__all__ = ["compare", "reconstruct", "texture"]

SMALL = {"size": 256, "steps": 200}  # of a reconstruction, unless typed: what a cell of the figure shows
NETWORK = ("backbone", "pooling", "padding", "device", "precision")  # what decides which network is loaded
PARTLY = 3  # exit code when some pictures could not be painted
CONTENT_LAYERS = "conv1_2,conv2_2,conv3_2,conv4_2,conv5_2"  # Gatys et al. 2016, figure 1
STYLE_LAYERS = ",".join(FIRST_CONVOLUTIONS)
SNAPSHOTS = ("save_every", "save_at")
NOT_FOR_RECONSTRUCTIONS = ("content_layers", "style_layers", "grain_weight", "start", "blend", *SNAPSHOTS)
NOT_FOR_TEXTURES = (
    "colour",
    "mask",
    "protect",
    "protection",
    "edge_weight",
    "size",
    "size_of",
    "start",
    "content_layers",
    "content_weight",
    "content_reduction",
    *SNAPSHOTS,
)


@click.command(cls=GroupedCommand)
@click.argument("pictures", nargs=-1, required=True, metavar="CONTENT STYLE [STYLE ...]")
@click.option("-o", "--out", default="compare.png", help="the figure's file [default: compare.png]")
@click.option(
    "--vary",
    multiple=True,
    required=True,
    metavar="FIELD=A,B,C",
    help="a setting (or preset) and its values; once or twice. Values with commas in them: separated by ;",
)
@click.option("--preset", "preset_name", default="house", metavar="NAME", help="what is varied [default: house]")
@click.option("--quiet", is_flag=True, help="say nothing but errors")
def compare(
    pictures: tuple[str, ...], out: str, vary: tuple[str, ...], preset_name: str, quiet: bool, **values: Any
) -> int:
    """Paint CONTENT in the style of STYLE with every value of one or two settings, into one figure.

    impasto compare photo.jpg painting.jpg --vary optimizer=lbfgs,adam --vary strength=0.5,1,2 -o compare.png
    """
    from impasto.cli.outputs import not_among
    from impasto.cli.progress_bar import log
    from impasto.figures.contact_sheet import contact_sheet, in_rows
    from impasto.images.read import read
    from impasto.images.write import check_output, write
    from impasto.painting.experiments import variations
    from impasto.painting.problem import extras

    if len(pictures) < 2:
        raise ConfigError(
            "give a CONTENT and a STYLE picture: impasto compare photo.jpg painting.jpg --vary strength=1,2", pictures
        )
    varied = _parse_vary(vary)
    configs = [(_in_words(chosen), config) for chosen, config in variations(varied, preset_name, **given(values))]
    named = {path for _, config in configs for _, path in extras(config)}
    target = not_among(check_output(out, what="figure"), [*pictures, *named])
    inputs = [read(picture) for picture in pictures]
    cells = _cells(log(quiet), [Trial(words, config, inputs) for words, config in configs], timed=True)
    columns = len(list(varied.values())[1]) if len(varied) == 2 else 0
    write(contact_sheet(in_rows(cells, columns)), target)
    return _done(target, cells)


config_options(compare, *(name for name in Config.model_fields if name not in SNAPSHOTS))


def _parse_vary(texts: Sequence[str]) -> dict[str, list[str]]:
    """ "strength=1,2" as {"strength": ["1", "2"]}; "layers=a,b;c" as {"layers": ["a,b", "c"]}."""
    varied: dict[str, list[str]] = {}
    for text in texts:
        field, equals, values = text.partition("=")
        field = field.strip().removeprefix("--").replace("-", "_")
        if not equals:
            raise ConfigError(f"--vary {text} has no values: give it as --vary strength=0.5,1,2", text)
        if field in varied:
            raise ConfigError(f"--vary {field} is there twice: give all its values at once", text)
        varied[field] = [value.strip() for value in values.split(";" if ";" in values else ",") if value.strip()]
    return varied


def _in_words(chosen: dict[str, str]) -> str:
    return ", ".join(f"{field.replace('_', ' ')} {value}" for field, value in chosen.items())


class Trial(NamedTuple):
    """One picture of a figure: what it is called there, and what it is painted with and from."""

    words: str
    config: Config
    pictures: list[Picture]


def _cells(console: Console, trials: Sequence[Trial], timed: bool = False) -> list[Cell]:
    """A cell for every trial: its painting with evaluations, objective (and time), or why there is none.

    Ctrl-C ends the painting that is being made, and leaves out those after it.
    """
    from impasto.cli.terminal import load_backbone, run

    networks: dict[tuple[object, ...], Backbone] = {}  # the last one used
    cells: list[Cell] = []
    stopped = False
    for number, (words, config, pictures) in enumerate(trials, 1):
        try:
            if stopped:
                raise KeyboardInterrupt
            key = tuple(getattr(config, name) for name in NETWORK)
            if key not in networks:
                networks.clear()
                networks[key] = load_backbone(console, config)
            painting = run(console, pictures, config, networks[key], about=f"{number}/{len(trials)}  {words}: ")
        except KeyboardInterrupt:
            if not cells:
                raise
            stopped = True
            cells.append(("stopped before this one", words))
        except (ImpastoError, MemoryError, RuntimeError) as error:
            if not isinstance(error, ImpastoError) and not out_of_memory(error):
                raise
            reason = str(error) if isinstance(error, ImpastoError) else "not enough memory: give a smaller --size"
            console.print(f"{words}: {reason}", markup=False)
            cells.append((reason, words))
        else:
            stopped = not painting.finished
            if painting.doubt:
                console.print(f"{words}: {painting.doubt}", markup=False)
            cells.append((painting.image, f"{words}\n{_result_in_words(painting, timed)}"))
    return cells


def _result_in_words(painting: Painting, timed: bool) -> str:
    seconds = f"{painting.seconds:.1f}\u00a0s, " if timed else ""
    early = f"\n{painting.stopped}" if painting.stopped else ""
    return f"{seconds}{painting.evaluations}\u00a0evaluations\nobjective\u00a0{painting.value:.4g}{early}"


def _done(target: Path, cells: Sequence[Cell]) -> int:
    """Say where the figure is, and whether it is whole: the exit code."""
    click.echo(str(target))
    missing = sum(isinstance(image, str) for image, _ in cells)
    if missing:
        click.echo(f"impasto: {missing} of {len(cells)} could not be painted; the figure says why", err=True)
    return PARTLY if missing else 0


@click.command(cls=GroupedCommand)
@click.option("--content", metavar="PICTURE", help="show what each layer keeps of this picture's content")
@click.option("--style", metavar="PICTURE", help="show what the layers up to each keep of this picture's style")
@click.option("-o", "--out", default="reconstruct.png", help="the figure's file [default: reconstruct.png]")
@click.option("--layers", help=f"layers to show [default: {CONTENT_LAYERS}; of the style {STYLE_LAYERS}]")
@click.option("--quiet", is_flag=True, help="say nothing but errors")
def reconstruct(
    content: str | None, style: str | None, out: str, layers: str | None, quiet: bool, **values: Any
) -> int:
    """Paint the two classic experiments: from noise, what each layer keeps of a content, and of a style.

    impasto reconstruct --content photo.jpg --style painting.jpg -o reconstruct.png
    """
    from impasto.cli.outputs import not_among
    from impasto.cli.progress_bar import log
    from impasto.figures.contact_sheet import contact_sheet
    from impasto.images.read import read
    from impasto.images.write import check_output, to_image, write
    from impasto.painting.experiments import canvas, content_reconstructions, style_reconstructions
    from impasto.painting.levels import painted_size
    from impasto.painting.problem import scene_of

    if content is None and style is None:
        raise ConfigError("give --content PICTURE, --style PICTURE, or both")
    target = not_among(check_output(out, what="figure"), [path for path in (content, style) if path])
    config = Config(**{**SMALL, **given(values)})
    asked = None if layers is None else list(dict.fromkeys(each for each in layers.split(",") if each.strip()))
    if asked == []:
        raise ConfigError("--layers is empty: name at least one, as conv4_2")
    console = log(quiet)
    rows: list[list[Cell]] = []
    jobs: list[tuple[list[Picture], list[tuple[str, Config]]]] = []
    if content is not None:
        picture = read(content)
        rows.append([(to_image(picture.pixels, picture.alpha), f"content\n{Path(content).name}")])
        jobs.append(([picture, picture], content_reconstructions(config, asked or CONTENT_LAYERS.split(","))))
    if style is not None:
        picture = read(style)
        height, width = painted_size(picture, config)
        rows.append([(to_image(picture.pixels, picture.alpha), f"style\n{Path(style).name}")])
        inputs = [canvas(width, height), picture]
        jobs.append((inputs, style_reconstructions(config, asked or STYLE_LAYERS.split(","))))
    trials = [Trial(words, each, inputs) for inputs, configs in jobs for words, each in configs]
    for trial in trials:
        scene_of(trial.pictures[0], trial.pictures[1:], trial.config)
    cells = _cells(console, trials)
    for row, (_, configs) in zip(rows, jobs, strict=True):
        row += cells[: len(configs)]
        del cells[: len(configs)]
    write(contact_sheet(rows), target)
    return _done(target, [cell for row in rows for cell in row[1:]])


config_options(reconstruct, *(name for name in Config.model_fields if name not in NOT_FOR_RECONSTRUCTIONS))


@click.command(cls=GroupedCommand)
@click.argument("styles", nargs=-1, metavar="STYLE [STYLE ...]")
@click.option("--size", metavar="WIDTHxHEIGHT", help="pixels of the texture, as 1024x768 [default: 512x512]")
@click.option("-o", "--out", help="the texture's file; its suffix is its format [default: STYLE-texture.png]")
@click.option("--preset", "preset_name", metavar="NAME", help="a recipe by name [default: house]")
@click.option("--from", "source", metavar="FILE", help="make a texture again with the settings of its file")
@click.option("--quiet", is_flag=True, help="say nothing but errors")
def texture(
    styles: tuple[str, ...],
    size: str | None,
    out: str | None,
    preset_name: str | None,
    source: str | None,
    quiet: bool,
    **values: Any,
) -> int:
    """Make a texture like STYLE, of any size: a painting without a content, from noise.

    impasto texture painting.jpg --size 1024x768 -o texture.png
    """
    from impasto.cli.outputs import outputs_of, report
    from impasto.cli.progress_bar import log
    from impasto.cli.terminal import run, save
    from impasto.images.read import read
    from impasto.painting.experiments import canvas, texture_config

    config, pictures, before = job_of(styles, preset_name, source, given(values))
    if source and not before:
        raise ConfigError(f"{source} is no texture: `impasto paint --from {source}` paints it again", source)
    if not pictures:
        raise ConfigError("give a STYLE picture: impasto texture painting.jpg")
    width, height = _parse_size(size if size is not None else before or "512x512")
    used = [*pictures, *([source] if source else [])]
    outputs = outputs_of(out or f"{Path(pictures[0]).stem}-texture.png", config=config, used=used)
    inputs = [canvas(width, height), *(read(picture) for picture in pictures)]
    painting = run(log(quiet), inputs, texture_config(config))
    save(painting, outputs.picture)
    return report(painting, outputs, quiet, as_json=False)


config_options(texture, *(name for name in Config.model_fields if name not in NOT_FOR_TEXTURES))


def _parse_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"\s*(\d{1,6})\s*[x×,]\s*(\d{1,6})\s*", text)
    if found is None:
        raise ConfigError(f"--size is {text!r}: a texture takes its width and height, as 1024x768", text)
    return int(found[1]), int(found[2])
