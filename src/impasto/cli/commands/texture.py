"""`impasto texture`: synthesize a texture like a style, of any size."""

from __future__ import annotations

import re
from typing import Any, Literal

import click

from impasto.cli import options
from impasto.cli.names import default_name, joined_name
from impasto.cli.sources import sources_of
from impasto.cli.streams import picture_source
from impasto.errors import ConfigError


@click.command(cls=options.GroupedCommand)
@click.argument("styles", nargs=-1, metavar="STYLE [STYLE ...]")
@click.option(
    "--size", metavar="WIDTHxHEIGHT", help="pixels of the texture, as 1024x768 [default: 512x512]"
)
@click.option(
    "-o", "--out", help="the texture's file; its suffix is its format [default: STYLE-texture.png]"
)
@options.preset
@click.option(
    "--from", "source", metavar="FILE", help="make a texture again with the settings of its file"
)
@options.depth
@options.overwrite
@options.quiet
def texture(
    styles: tuple[str, ...],
    size: str | None,
    out: str | None,
    preset_name: str | None,
    source: str | None,
    depth: Literal[8, 16],
    overwrite: bool,
    quiet: bool,
    **values: Any,
) -> int:
    """Make a texture like STYLE, of any size: a painting without a content, from noise.

    impasto texture painting.jpg --size 1024x768 -o texture.png
    """
    from impasto.cli.outputs import check_outputs, report
    from impasto.cli.progress_bar import make_console
    from impasto.cli.terminal import prepare, run, save_all
    from impasto.images.read import read
    from impasto.images.write import FileOptions
    from impasto.painting.experiments import blank_content, texture_config

    config, machine, pictures, earlier_size = sources_of(
        styles, preset_name, source, options.given(values)
    )
    if source and not earlier_size:
        raise ConfigError(
            f"{source} is not a texture: `impasto paint --from {source}` paints it again", source
        )
    if not pictures:
        raise ConfigError("give a STYLE picture: impasto texture painting.jpg")
    width, height = _parse_size(size if size is not None else earlier_size or "512x512")
    used = [*pictures, *([source] if source else [])]
    outputs = check_outputs(
        out or default_name(joined_name(pictures[0], "texture"), overwrite),
        used=used,
        options=FileOptions(depth),
    )
    inputs = [
        blank_content(width, height),
        *(read(picture_source(picture)) for picture in pictures),
    ]
    console = make_console(quiet)
    painting = run(console, prepare(console, inputs, texture_config(config), machine))
    save_all(painting, inputs, outputs)
    return report(painting, outputs, quiet, as_json=False)


options.add_settings(texture)


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d{1,6})\s*[x×,]\s*(\d{1,6})\s*", text)
    if match is None:
        raise ConfigError(
            f"--size is {text!r}: a texture takes its width and height, as 1024x768", text
        )
    return int(match[1]), int(match[2])
