"""What is painted: the content and its regions, each with its styles, from the pictures and the
config."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from impasto.config import STARTS, Config
from impasto.errors import ConfigError, PictureError, did_you_mean
from impasto.fields import marked
from impasto.images.color import grey, match_lightness, match_moments, with_chroma_of
from impasto.images.masks import NOTHING, read_mask, shape_note
from impasto.images.read import Picture, Source, read, resize
from impasto.objective.targets import Pattern, Region
from impasto.painting.levels import check, painted_size, style_size
from impasto.painting.pyramid import Level
from impasto.parsing import mask_parts

__all__ = [
    "ALPHA",
    "Example",
    "Part",
    "Problem",
    "at_level",
    "check_settings",
    "extras",
    "prepare_problem",
    "regions_at",
]

REST = "rest"  # the name of what no mask covers
ALPHA = "alpha"  # the content's own transparency, as a mask


Layers = Literal["all", "fine", "coarse"]
Find = Callable[[str], Picture]  # a picture that the config names


class Example(NamedTuple):
    """A style picture of a part: its share of the part's style, what of it is meant (1, 1, h, w),
    in which layers."""

    picture: Picture
    share: float = 1.0
    mask: torch.Tensor | None = None
    layers: Layers = "all"


class Part(NamedTuple):
    """A region of the content, (1, 1, H, W) in [0, 1] of any size, or None for all of it; and its
    styles."""

    name: str
    mask: torch.Tensor | None
    examples: list[Example]


class Problem(NamedTuple):
    """What is painted. content and the examples have the colours that the run sees; original and
    styles are as read.

    named: the pictures that the config names, by name.
    """

    content: Picture
    original: Picture
    styles: list[Picture]
    named: dict[str, Picture]
    parts: list[Part]
    protect: torch.Tensor | None
    luminance: bool
    levels: list[Level]
    notes: list[str]

    @property
    def examples(self) -> list[Example]:
        """Those of all parts."""
        return [example for part in self.parts for example in part.examples]

    def finished(self, pixels: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
        """A painting (1, 3, h, w) as it is shown: painted in lightness alone it takes the chroma of
        `content`."""
        return with_chroma_of(pixels, content.to(pixels)) if self.luminance else pixels


def extras(config: Config) -> Iterator[tuple[str, str]]:
    """The role and path of every picture that the config names, but for `alpha`."""
    for name in config.start:
        if name not in STARTS:
            yield "start", name
    for role in marked(Config, "path"):
        if path := getattr(config, role):
            yield role, path
    for text in config.mask:
        mask, style, of_style = mask_parts(text)
        for role, path in (("mask", mask), ("mask-style", style), ("style-mask", of_style)):
            if path and not (role == "mask" and path == ALPHA):
                yield role, path


def prepare_problem(
    content: Picture,
    styles: Sequence[Picture],
    config: Config,
    named: Mapping[str, Source] | None = None,
) -> Problem:
    """Read and check all that is painted: what can be known, and be wrong, before a network is
    loaded.

    named: pictures in memory, by the name that the config has for them; other names are paths.
    Raises PictureError for a picture or mask that is no good, or a painting that would be too thin;
    ConfigError for a style that would paint nothing, and for `blend` or `start` that does not fit.
    """
    levels = check(content, config)
    notes: list[str] = []
    found: dict[str, Picture] = {}

    def find(name: str) -> Picture:
        if name not in found:
            found[name] = (
                read(named[name])._replace(name=name) if named and name in named else read(name)
            )
        return found[name]

    check_settings(config, len(styles), named or ())
    for name in config.start:
        if name not in STARTS:
            find(name)
    given = _by_layer(_blended(styles, config), config, find)
    parts = _regions(content, given, config, find, notes)
    protect = None
    if config.protect:
        mask = read_mask(find(config.protect))
        notes.append(shape_note(mask, content))
        protect = mask.alpha
    painted = (
        content._replace(pixels=grey(content.pixels)) if config.colour == "luminance" else content
    )
    colours = _colours_for(content, config, find)
    parts = [
        part._replace(
            examples=[each._replace(picture=colours(each.picture)) for each in part.examples]
        )
        for part in parts
    ]
    return Problem(
        painted,
        content,
        list(styles),
        found,
        parts,
        protect,
        config.colour == "luminance",
        levels,
        [note for note in notes if note],
    )


def check_settings(config: Config, styles: int, named: Collection[str] = ()) -> None:
    """Whether `start` and `blend` can be meant, for so many style pictures. Raises ConfigError."""
    for name in config.start:
        known = name in STARTS or name in named or Path(name).suffix
        if not known and not os.path.exists(name):  # which never raises
            raise ConfigError(
                f"no start {name!r}, nor a picture of that name: {did_you_mean(name, STARTS)}", name
            )
    if config.blend and len(config.blend) != styles:
        raise ConfigError(
            f"--blend has {len(config.blend)} weights for {styles} styles: give one a style",
            config.blend,
        )


def _blended(styles: Sequence[Picture], config: Config) -> list[Example]:
    """The styles by weight."""
    weights = config.blend or (1.0,) * len(styles)
    return [
        Example(each, weight / sum(weights)) for each, weight in zip(styles, weights, strict=True)
    ]


def _by_layer(given: list[Example], config: Config, find: Find) -> list[Example]:
    """The styles, where `fine` or `coarse` names one, by layer."""
    if not (config.fine or config.coarse):
        return given
    if given and config.fine and config.coarse:
        name = given[0].picture.name
        raise ConfigError(f"{name} paints nothing: --fine and --coarse take all layers", name)
    found: list[Example] = []
    which: list[tuple[Layers, str]] = [("fine", config.fine), ("coarse", config.coarse)]
    for layers, path in which:
        found += (
            [Example(find(path), layers=layers)]
            if path
            else [each._replace(layers=layers) for each in given]
        )
    if {each.layers for each in found} < {"fine", "coarse"}:
        raise ConfigError(
            "no style picture for the other layers: give one, or both --fine and --coarse"
        )
    return found


def _regions(
    content: Picture, given: list[Example], config: Config, find: Find, notes: list[str]
) -> list[Part]:
    """The masked parts; first what is left of the picture, which falls to the first style."""
    parts = [_masked(text, content, config, find, notes) for text in config.mask]
    if not parts:
        if not given:
            raise ConfigError("no style picture: give at least one")
        return [Part("", None, given)]
    masks = [part.mask for part in parts if part.mask is not None]
    total = torch.stack(masks).sum(0)
    parts = [
        part._replace(mask=mask / total.clamp_min(1))
        for part, mask in zip(parts, masks, strict=True)
    ]  # where masks overlap they share
    parts = _named_apart(parts)
    rest = 1 - total.clamp_max(1)
    if float(rest.mean()) >= NOTHING:
        return [Part(REST, rest, given or parts[0].examples), *parts]
    if given:
        name = given[0].picture.name
        raise ConfigError(f"{name} paints nothing: the masks cover the whole picture", name)
    return parts


def _named_apart(parts: list[Part]) -> list[Part]:
    """The parts with names that tell them from one another: their terms are known by them."""
    taken, found = {REST}, []
    for part in parts:
        numbered = (f"{part.name}-{k}" for k in count(2))
        name = (
            part.name
            if part.name not in taken
            else next(each for each in numbered if each not in taken)
        )
        taken.add(name)
        found.append(part._replace(name=name))
    return found


def _masked(text: str, content: Picture, config: Config, find: Find, notes: list[str]) -> Part:
    """The part of one `mask`, its mask at the painting's size."""
    name, style, of_style = mask_parts(text)
    if name == ALPHA and content.alpha is None:
        raise PictureError(f"{content.name} has no transparency to use as a mask", content.name)
    mask = read_mask(content if name == ALPHA else find(name))
    picture = find(style)
    notes.append(shape_note(mask, content))
    shown = None
    if of_style:
        found = read_mask(find(of_style))
        notes.append(shape_note(found, picture))
        shown = found.alpha
    assert mask.alpha is not None
    return Part(
        Path(name).stem,
        resize(mask.alpha, *painted_size(content, config)),
        [Example(picture, mask=shown)],
    )


def _colours_for(content: Picture, config: Config, find: Find) -> Callable[[Picture], Picture]:
    """What is done to the colours of a style before the run."""
    if config.colour == "luminance":
        return lambda style: style._replace(pixels=match_lightness(style.pixels, content.pixels))
    if config.colour == "content" or config.palette:
        target = find(config.palette).pixels if config.palette else content.pixels
        return lambda style: style._replace(
            pixels=match_moments(style.pixels, target, config.colour_match)
        )
    return lambda style: style


def at_level(
    mask: torch.Tensor | None, level: Level, device: torch.device | str
) -> torch.Tensor | None:
    """A mask at a level's size."""
    return None if mask is None else resize(mask, level.height, level.width).to(device)


def regions_at(
    problem: Problem, level: Level, config: Config, device: torch.device | str = "cpu"
) -> list[Region]:
    """The regions of a problem at the size of a level, as its objective takes them."""
    masks = [at_level(part.mask, level, device) for part in problem.parts]
    # 1, but for what scaling each of them alone rounds off
    total = sum(mask for mask in masks if mask is not None)
    regions = []
    for part, mask_of_part in zip(problem.parts, masks, strict=True):
        patterns = []
        for example in part.examples:
            height, width = style_size(level, example.picture, config, problem.levels[-1])
            mask = None if example.mask is None else resize(example.mask, height, width).to(device)
            pixels = resize(example.picture.pixels, height, width).to(device)
            patterns.append(Pattern(pixels, example.share, mask, example.layers))
        regions.append(
            Region(part.name, None if mask_of_part is None else mask_of_part / total, patterns)
        )
    return regions
