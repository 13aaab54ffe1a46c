"""Texture synthesis, reconstructions from layers, feature maps, and variations of settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch

from impasto.backbone.architecture import layer_name
from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine, changed_by
from impasto.errors import ConfigError, did_you_mean
from impasto.images.read import SMALLEST, Picture, Source
from impasto.objective.losses import gram
from impasto.painting.arguments import combined
from impasto.painting.levels import BLANK
from impasto.painting.outcome import Painting
from impasto.painting.run import paint
from impasto.painting.step import Step
from impasto.presets import preset

__all__ = [
    "LayerMaps",
    "blank_content",
    "content_reconstructions",
    "feature_maps",
    "style_reconstructions",
    "texture",
    "texture_config",
    "variations",
]

LARGEST = 65536  # pixels of a side; the upper limit of Config.size


def blank_content(width: int, height: int) -> Picture:
    """Make a content picture that is only a size. Raises ConfigError if it is out of range."""
    if not (min(width, height) >= SMALLEST and max(width, height) <= LARGEST):
        raise ConfigError(
            f"a picture of {width} x {height} pixels cannot be painted: each side takes "
            f"{SMALLEST} to {LARGEST}",
            (width, height),
        )
    return Picture(torch.zeros(1, 3, height, width), None, f"{width}x{height}", BLANK)


def texture_config(config: Config) -> Config:
    """Change `config` to style terms only, starting from noise, at the size of `blank_content`."""
    return config.changed(content_layers={}, start={"noise": 1.0}, size="original")


def texture(
    style: Source | Sequence[Source],
    size: tuple[int, int],
    config: Config | None = None,
    machine: Machine | None = None,
    *,
    backbone: Backbone | str | None = None,
    on_step: Callable[[Step], object] | None = None,
    **settings: Any,
) -> Painting:
    """Synthesize a texture like `style`, of any size.

    The objective has the config's style terms and no content terms, and the run starts from noise
    (Gatys et al. 2015, "Texture Synthesis Using Convolutional Neural Networks").

    Args:
        style: a style picture or several, which are blended.
        size: (width, height) of the texture, in pixels.
        config: the settings; None: the defaults.
        machine: device, precision, memory and tiles; None: chosen automatically.
        backbone: a network by its name, or loaded; None: the config's is loaded.
        on_step: called with every Step.
        settings: fields of Config and Machine, which take precedence.

    Returns:
        The painting of the texture.

    Raises:
        ImpastoError: an argument or a picture is unusable; before the first step.

    Example:
        texture("painting.jpg", (1024, 768), steps=200).save("texture.png")
    """
    config, machine, named = combined(config, machine, None, settings)
    sides = size if isinstance(size, (tuple, list)) else ()
    if len(sides) != 2 or not all(isinstance(side, Integral) for side in sides):
        raise ConfigError(f"size is {size!r}: give (width, height) in pixels", size)
    return paint(
        blank_content(*sides),
        style,
        texture_config(config),
        machine,
        named=named,
        backbone=backbone,
        on_step=on_step,
    )


def content_reconstructions(config: Config, layers: Sequence[str]) -> list[tuple[str, Config]]:
    """Make configs that reconstruct a content from one layer each (Gatys et al. 2016, figure 1).

    Each has the content term of its layer only, and starts from noise. They have a single level, as
    a step between levels would add the content's own detail.

    Returns:
        A caption and a config for each layer, to be painted with the picture as content and style.
    """
    names = [layer_name(layer) for layer in layers]
    return [
        (
            name,
            config.changed(
                content_layers={name: 1.0},
                style_layers={},
                grain_weight=0,
                start={"noise": 1.0},
                levels=1,
            ),
        )
        for name in names
    ]


def style_reconstructions(config: Config, layers: Sequence[str]) -> list[tuple[str, Config]]:
    """Make configs that reconstruct a style from more and more layers (Gatys et al. 2016, fig. 1).

    Returns:
        A caption and a config for the first layer, for the first two, and so on.
    """
    names = [layer_name(layer) for layer in layers]
    return [
        (
            name if k == 0 else f"{names[0]} to {name}",
            texture_config(config).changed(style_layers=names[: k + 1], grain_weight=0),
        )
        for k, name in enumerate(names)
    ]


class LayerMaps(NamedTuple):
    """The features of a picture at one layer.

    channels: the k strongest by mean square, in descending order. maps: their features, (k, h, w).
    gram: the Gram matrix divided by H*W, of all channels in that order, (C, C).
    """

    layer: str
    channels: list[int]
    maps: np.ndarray
    gram: np.ndarray


def feature_maps(
    picture: torch.Tensor, layers: Sequence[str], backbone: Backbone, most: int = 6
) -> list[LayerMaps]:
    """Compute the strongest channels and the Gram matrix of a picture at each layer.

    Args:
        picture: (1, 3, H, W) in [0, 1].
        layers: by name.
        backbone: the network.
        most: channels of a layer.
    """
    results = []
    with torch.no_grad():
        for layer, features in backbone(picture.to(backbone.device), layers).items():
            strength = features.float().square().mean((0, 2, 3))
            order = strength.argsort(descending=True, stable=True)
            matrix = gram(features)[0][order][:, order]
            maps = features[0, order[:most]].float().cpu().numpy()
            results.append(
                LayerMaps(layer, order[:most].tolist(), maps, matrix.float().cpu().numpy())
            )
    return results


def variations(
    vary: Mapping[str, Sequence[str]],
    name: str = "default",
    pictures: Sequence[str] = (),
    **settings: Any,
) -> list[tuple[dict[str, str], Config, Machine]]:
    """Make the settings for every combination of the values of one or two fields.

    Args:
        vary: lists of values by field, or by "preset".
        name: the preset that is varied.
        pictures: what may be varied too, and is no setting: "content", "style".
        settings: changes to the preset.

    Returns:
        The chosen values by field, the config and the machine; the first field varies slowest.

    Raises:
        ConfigError: a field or a value is invalid.
    """
    fields = {field.replace("-", "_"): values for field, values in vary.items()}
    if not 1 <= len(fields) <= 2:
        raise ConfigError(f"--vary names {len(fields)} fields: vary one or two", list(fields))
    for field, values in fields.items():
        known = ["preset", *pictures, *Config.model_fields, *Machine.model_fields]
        if field not in known:
            raise ConfigError(
                f"no setting {field!r} to vary: {did_you_mean(field, known)}", field, known
            )
        if not values or len(set(values)) < len(values):
            raise ConfigError(
                f"--vary {field} is {', '.join(values) or 'empty'}: give values, each once", values
            )
    results = []
    for values in product(*fields.values()):
        chosen = dict(zip(fields, values, strict=True))
        others = ("preset", *pictures)
        rest = {field: value for field, value in chosen.items() if field not in others}
        base = preset(chosen.get("preset", name)).config
        results.append((chosen, *changed_by({**settings, **rest}, base)))
    return results
