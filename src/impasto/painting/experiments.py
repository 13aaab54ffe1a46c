"""The classic experiments: texture synthesis, reconstruction layer by layer, feature maps,
variations of a setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch

from impasto.backbone.architecture import layer_name
from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine, changed_by
from impasto.errors import ConfigError, did_you_mean
from impasto.images.read import SMALLEST, Picture, Source
from impasto.objective.losses import gram
from impasto.painting.levels import BLANK
from impasto.painting.run import Painting, paint
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

LARGEST = 65536  # as Config's `size`


def blank_content(width: int, height: int) -> Picture:
    """A content picture that is nothing but a size. Raises ConfigError for a side out of range."""
    if not (min(width, height) >= SMALLEST and max(width, height) <= LARGEST):
        raise ConfigError(
            f"a picture of {width} x {height} pixels cannot be painted: each side takes "
            f"{SMALLEST} to {LARGEST}",
            (width, height),
        )
    return Picture(torch.zeros(1, 3, height, width), None, f"{width}x{height}", BLANK)


def texture_config(config: Config) -> Config:
    """`config` without content: from noise, style alone, at the size of its canvas."""
    return config.changed(content_layers={}, start={"noise": 1.0}, size="original")


def texture(
    style: Source | Sequence[Source],
    size: tuple[int, int],
    config: Config | None = None,
    machine: Machine | None = None,
    *,
    backbone: Backbone | None = None,
    on_step: Callable[[Step], object] | None = None,
) -> Painting:
    """A texture like `style`, of `size` (width, height) pixels (Gatys et al. 2015, "Texture
    synthesis").

    The objective is the config's without its content terms, from noise. Raises ImpastoError, as
    `paint` does.
    """
    config = texture_config(config or Config())
    content = blank_content(*size)
    return paint(content, style, config, machine, backbone=backbone, on_step=on_step)


def content_reconstructions(config: Config, layers: Sequence[str]) -> list[tuple[str, Config]]:
    """What each layer keeps of a content: from noise, that layer's content term alone (Gatys et al.
    2016, figure 1).

    Captions and configs, to be painted with the picture as content (and, unused, as style). One
    size: a step up the pyramid would bring the content's own detail.
    """
    names = [layer_name(each) for each in layers]
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
    """What the layers up to each keep of a style: textures of conv1_1, then 1_1 and 2_1, and so on
    (figure 1 there)."""
    names = [layer_name(each) for each in layers]
    return [
        (
            name if k == 0 else f"{names[0]} to {name}",
            texture_config(config).changed(style_layers=names[: k + 1], grain_weight=0),
        )
        for k, name in enumerate(names)
    ]


class LayerMaps(NamedTuple):
    """One layer's features of a picture.

    channels: the strongest, by mean square, strongest first. maps: their features, (k, h, w). gram:
    the Gram matrix over H*W with all channels in that order, (C, C).
    """

    layer: str
    channels: list[int]
    maps: np.ndarray
    gram: np.ndarray


def feature_maps(
    picture: torch.Tensor, layers: Sequence[str], backbone: Backbone, most: int = 6
) -> list[LayerMaps]:
    """The strongest channels of `picture` (1, 3, H, W) at each of `layers`, and their Gram
    matrices."""
    found = []
    with torch.no_grad():
        for layer, features in backbone(picture.to(backbone.device), layers).items():
            strength = features.float().square().mean((0, 2, 3))
            order = strength.argsort(descending=True, stable=True)
            matrix = gram(features)[0][order][:, order]
            maps = features[0, order[:most]].float().cpu().numpy()
            found.append(
                LayerMaps(layer, order[:most].tolist(), maps, matrix.float().cpu().numpy())
            )
    return found


def variations(
    vary: Mapping[str, Sequence[str]], name: str = "default", **settings: Any
) -> list[tuple[dict[str, str], Config, Machine]]:
    """A config and a machine for every combination of the values of one or two fields, the first
    field's slowest; all checked.

    vary: values by field, or by "preset". name: the preset that is varied, with `settings` on top.
    Raises ConfigError.
    """
    fields = {field.replace("-", "_"): values for field, values in vary.items()}
    if not 1 <= len(fields) <= 2:
        raise ConfigError(f"--vary names {len(fields)} fields: vary one or two", list(fields))
    for field, values in fields.items():
        known = ["preset", *Config.model_fields, *Machine.model_fields]
        if field not in known:
            raise ConfigError(
                f"no setting {field!r} to vary: {did_you_mean(field, known)}", field, known
            )
        if not values or len(set(values)) < len(values):
            raise ConfigError(
                f"--vary {field} is {', '.join(values) or 'empty'}: give values, each once", values
            )
    found = []
    for values in product(*fields.values()):
        chosen = dict(zip(fields, values, strict=True))
        rest = {field: value for field, value in chosen.items() if field != "preset"}
        base = preset(chosen.get("preset", name)).config
        found.append((chosen, *changed_by({**settings, **rest}, base)))
    return found
