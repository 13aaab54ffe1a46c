"""`impasto features`: draw the features of a picture, or the network itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from impasto.backbone.architecture import LAYERS, VGG19
from impasto.cli import options
from impasto.cli.names import default_name
from impasto.config import Config, Machine, changed_by
from impasto.errors import ConfigError, PictureError
from impasto.fields import marked
from impasto.presets import preset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from impasto.figures.contact_sheet import Cell
    from impasto.painting.experiments import LayerMaps

MAPS = 6  # channels shown per layer
PUBLISHED = ("vgg19", "vgg19-keras", "vgg19-torchvision")  # networks drawn without their weights


@click.command(cls=options.GroupedCommand)
@click.argument("picture", required=False)
@click.option("-o", "--out", help="the figure's file [default: features.png, or network.png]")
@click.option("--layers", help="layers to show, as relu1_1,relu4_2 [default: those of the preset]")
@options.preset
@click.option(
    "--network", is_flag=True, help="draw the network itself, with the preset's layers marked"
)
@options.overwrite
def features(
    picture: str | None,
    out: str | None,
    layers: str | None,
    preset_name: str | None,
    network: bool,
    overwrite: bool,
    **values: Any,
) -> None:
    """Draw what the network sees in PICTURE: each layer's strongest channels, and its Gram matrix.

    impasto features photo.jpg -o features.png
    """
    preset_name = preset_name or "default"
    config, machine = changed_by(options.given(values), preset(preset_name).config)
    if network and (picture is not None or layers is not None):
        raise ConfigError(
            "--network draws a network and its preset's layers: leave out PICTURE and --layers"
        )
    if network:
        _draw_network(config, machine, preset_name, out or default_name("network.png", overwrite))
    elif picture is None:
        raise ConfigError("give a PICTURE to look at: impasto features photo.jpg; or --network")
    else:
        shallow_to_deep = sorted({*config.content_layers, *config.style_layers}, key=LAYERS.index)
        names = shallow_to_deep if layers is None else options.parse_layers(layers)
        _draw_features(
            picture, config, machine, names, out or default_name("features.png", overwrite)
        )


options.add_settings(
    features, "size", "size_of", *marked(Config, "network"), *marked(Machine, "network")
)


def _draw_features(
    path: str, config: Config, machine: Machine, layers: Sequence[str], out: str
) -> None:
    from impasto.cli.outputs import check_figure
    from impasto.cli.progress_bar import make_console
    from impasto.cli.terminal import load_with_bar
    from impasto.figures.contact_sheet import contact_sheet
    from impasto.images.read import SMALLEST, read, resize
    from impasto.images.write import FIGURES, to_image, write
    from impasto.painting.experiments import feature_maps
    from impasto.painting.levels import painted_size

    target = check_figure(out, [path])
    picture = read(path)
    pixels = resize(picture.pixels, *painted_size(picture, config))
    height, width = pixels.shape[2:]
    if min(height, width) < SMALLEST:
        raise PictureError(
            f"{path} would have {width} x {height} pixels, and at least {SMALLEST} x {SMALLEST} "
            "are needed: give a larger --size",
            (width, height),
        )
    if machine.convolution == "auto":  # features are what is shown: not rounded to bytes
        machine = machine.changed(convolution="direct")
    backbone = load_with_bar(make_console(), config, machine)
    rows: list[list[Cell]] = [
        [
            (to_image(pixels), f"{Path(path).name}\n{width} × {height} pixels"),
            (
                f"What {Path(backbone.weights.name).name} sees: each row is a layer. Its "
                "strongest channels are the content; its Gram matrix, which channels are strong "
                "together, is the style.",
                "",
            ),
        ]
    ]
    rows += [
        _layer_row(layer, (width, height)) for layer in feature_maps(pixels, layers, backbone, MAPS)
    ]
    write(contact_sheet(rows, height=240), target, suffixes=FIGURES)
    click.echo(str(target))


def _layer_row(layer: LayerMaps, size: tuple[int, int]) -> list[Cell]:
    """Draw the strongest channels of a layer at (width, height), and its Gram matrix."""
    from PIL import Image

    from impasto.figures.plots import heat

    # nearest: the figure's own scaling would blur the positions of a small map
    nearest = Image.Resampling.NEAREST
    row: list[Cell] = [
        (heat(features, "gray").resize(size, nearest), f"{layer.layer}\nchannel {channel}")
        for channel, features in zip(layer.channels, layer.maps, strict=True)
    ]
    count = len(layer.gram)
    # the root, as a Gram matrix has squares: its few largest values would hide the others
    matrix = heat(abs(layer.gram) ** 0.5).resize((480, 480), nearest)
    row.append((matrix, f"Gram matrix\n{count} × {count}"))
    return row


def _draw_network(config: Config, machine: Machine, name: str, out: str) -> None:
    from impasto.cli.progress_bar import make_console
    from impasto.cli.terminal import load_with_bar
    from impasto.figures import plots
    from impasto.figures.curve import PLOTS
    from impasto.images.write import check_output

    target = check_output(out, PLOTS, "plot")
    # their shape is known: 80 or 548 MB need not be downloaded for a drawing
    if config.backbone in PUBLISHED:
        channels = VGG19.channels
    else:
        kernels = load_with_bar(make_console(), config, machine).weights.kernels
        channels = {layer: kernel.shape[0] for layer, (kernel, _) in kernels.items()}
    title = f"{Path(config.backbone).name}, as the preset {name} uses it"
    plots.write_plot(
        plots.network(title, channels, config.content_layers, config.style_layers), target
    )
    click.echo(str(target))
