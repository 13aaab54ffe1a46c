"""The sum that a painting minimises, and its gradient: over the whole picture at once, or exactly
over tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from impasto.backbone.vgg import Backbone, Features, Tape
from impasto.config import Config
from impasto.objective.targets import Build, Region, regions_of
from impasto.objective.terms import Term
from impasto.objective.tiles import UNSHARDED, Share, Tile

__all__ = ["Objective", "Value", "evaluate_batched"]


class Value(NamedTuple):
    """The objective at one picture: the sum, (), and its weighted terms, (n,), with their names; on
    its device."""

    total: torch.Tensor
    parts: torch.Tensor
    names: tuple[str, ...]

    @property
    def terms(self) -> dict[str, torch.Tensor]:
        """Each weighted term by name; 0-d tensors."""
        return dict(zip(self.names, self.parts.unbind(), strict=True))


class Objective:
    """Content, style, grain and total variation of a picture against fixed targets: the sum that a
    painting minimises.

    With `normalize="energy"` a term is its squared distance over its target's sum of squares:

        content  |F(x) - F(c)|^2 / |F(c)|^2    style, grain  |G(x) - G(s)|^2 / |G(s)|^2    tv  TV(x)
        / TV(s)

    so that 1 means "as far away as nothing at all", at every size and with every network. Else the
    reductions and divisors of the config apply, to features in the config's `feature_units`. Layer
    weights multiply; `strength` multiplies the style and grain terms. With regions there is a style
    and a grain term for each; together they weigh as much as those of one.
    """

    def __init__(
        self,
        config: Config,
        backbone: Backbone,
        content: torch.Tensor,
        styles: Sequence[torch.Tensor] | Sequence[Region],
        side: int | None = None,
        protect: torch.Tensor | None = None,
        share: Share = UNSHARDED,
    ):
        """content (1, 3, H, W) and each style (1, 3, h, w) float32 in [0, 1], on the backbone's
        device.

        styles: pictures, which share the whole content equally, or regions, each with its own.
        side: pictures larger than side x side are cut into tiles no larger; the objective is the
        same. protect (1, 1, H, W) in [0, 1]: where the content weighs more. share: of the tiles,
        where others have the rest (see `evaluate_crops`).
        """
        self.backbone, self._share = backbone, share
        self.layers = tuple(dict.fromkeys([*config.content_layers, *config.style_layers]))
        build = Build(config, backbone, side, content, self.layers, share)
        self.tiles = share.of(build.tiles)
        with torch.no_grad():
            self.terms: list[Term] = list(build.terms(content, regions_of(styles), protect))
        self.names = tuple(term.name for term in self.terms)

    @torch.no_grad()
    def evaluate(self, pixels: torch.Tensor) -> tuple[Value, torch.Tensor]:
        """The objective at `pixels` (1, 3, H, W) float32 in [0, 1], H and W the content's, and its
        gradient there.

        One forward and one backward pass. Over tiles the first pass adds up what the terms are
        functions of; only then is the gradient known that a second, forward and backward, hands to
        each tile: one more forward pass in all.
        """
        if self.tiles[0].whole:
            return evaluate_batched([self], pixels)[0]
        value, parts = self.evaluate_crops(self._crops(pixels))
        gradient = torch.zeros_like(pixels)
        for tile, part in zip(self.tiles, parts, strict=True):
            gradient[(..., *tile.crop)] += part
        return value, gradient

    @torch.no_grad()
    def evaluate_crops(self, crops: Sequence[torch.Tensor]) -> tuple[Value, Iterator[torch.Tensor]]:
        """The objective at the picture of which these are the crops of `tiles`, and the gradient to
        each in turn.

        All that the tiles of others must tell goes through the share's `all_reduce`.
        """
        totals = self._totals(crops)
        gradients = (
            self._gradient(crop, tile, totals) for crop, tile in zip(crops, self.tiles, strict=True)
        )
        return self._value(totals), gradients

    def _crops(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        return [pixels[(..., *tile.crop)] for tile in self.tiles]

    @torch.no_grad()
    def __call__(self, pixels: torch.Tensor) -> Value:
        """The objective at `pixels`, as in `evaluate`, without the gradient."""
        return self._value(self._totals(self._crops(pixels)))

    def _totals(self, crops: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        pairs = zip(crops, self.tiles, strict=True)
        return self._share.all_reduce(
            self._measure(crop, self.backbone(crop, self.layers), tile) for crop, tile in pairs
        )

    def _measure(self, crop: torch.Tensor, features: Features, tile: Tile) -> list[torch.Tensor]:
        return [
            term.measure(features[term.layer] if term.layer else crop, tile) for term in self.terms
        ]

    def _value(self, totals: list[torch.Tensor]) -> Value:
        parts = torch.stack(
            [term.value(total) for term, total in zip(self.terms, totals, strict=True)]
        )
        return Value(parts.sum(), parts, self.names)

    @torch.no_grad()
    def _gradient(self, crop: torch.Tensor, tile: Tile, totals: list[torch.Tensor]) -> torch.Tensor:
        """The gradient to the tile's crop."""
        features, tape = self.backbone.record(crop, self.layers)
        return _back([self], crop, features, tape, tile, [totals])

    def _add(
        self,
        layer: str,
        g: torch.Tensor | None,
        x: torch.Tensor,
        tile: Tile,
        totals: list[torch.Tensor],
    ) -> torch.Tensor | None:
        """g plus the gradient of all terms of a layer to x; its memory may be used."""
        for term, total in zip(self.terms, totals, strict=True):
            if term.layer == layer:
                g = term.add_gradient(g, x, tile, total)
        return g


@torch.no_grad()
def evaluate_batched(
    objectives: Sequence[Objective], pixels: torch.Tensor
) -> list[tuple[Value, torch.Tensor]]:
    """What `evaluate` gives for each of some objectives at its picture of `pixels` (B, 3, H, W), in
    one pass.

    They share a network, its layers and a size, and are not in tiles.
    """
    first, tile = objectives[0], objectives[0].tiles[0]
    features, tape = first.backbone.record(pixels, first.layers)
    totals = [
        each._measure(
            pixels[k : k + 1], {layer: x[k : k + 1] for layer, x in features.items()}, tile
        )
        for k, each in enumerate(objectives)
    ]
    gradient = _back(objectives, pixels, features, tape, tile, totals)
    return [
        (each._value(of_each), gradient[k : k + 1])
        for k, (each, of_each) in enumerate(zip(objectives, totals, strict=True))
    ]


def _back(
    objectives: Sequence[Objective],
    crops: torch.Tensor,
    features: Features,
    tape: Tape,
    tile: Tile,
    totals: Sequence[list[torch.Tensor]],
) -> torch.Tensor:
    """The gradient of each objective to its picture of `crops`; uses up `features` and `tape`."""

    def add(layer: str, g: torch.Tensor | None) -> torch.Tensor | None:
        x = features.pop(layer) if layer else crops
        parts = [
            each._add(layer, None if g is None else g[k : k + 1], x[k : k + 1], tile, of_each)
            for k, (each, of_each) in enumerate(zip(objectives, totals, strict=True))
        ]
        if len(parts) == 1 or all(part is None for part in parts):
            return parts[0]
        return torch.cat([torch.zeros_like(x[:1]) if part is None else part for part in parts])

    gradient = add("", tape.gradient(add))
    assert gradient is not None
    return gradient
