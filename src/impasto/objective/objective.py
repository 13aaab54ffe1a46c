"""The objective that a painting minimizes, and its gradient: of the whole image, or over tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from impasto.backbone.architecture import layer_stride
from impasto.backbone.parallel import on_streams, share
from impasto.backbone.vgg import Backbone, Features, Tape
from impasto.config import Config
from impasto.objective.extractor import FeatureExtractor
from impasto.objective.frame import frame_of
from impasto.objective.make_terms import objective_terms
from impasto.objective.pixel_terms import Grain, Reference
from impasto.objective.regions import Region, regions_of
from impasto.objective.style_targets import StyleTargets, style_targets
from impasto.objective.terms import Style
from impasto.objective.tiles import UNSHARDED, Shard, Tile

__all__ = ["Loss", "Objective", "evaluate_batched"]


class Loss(NamedTuple):
    """The objective at one image: the sum, (), and its weighted terms, (n,), with their names.

    Tensors are on the network's device.
    """

    total: torch.Tensor
    term_values: torch.Tensor
    names: tuple[str, ...]

    @property
    def terms(self) -> dict[str, torch.Tensor]:
        """Each weighted term by name; 0-d tensors."""
        return dict(zip(self.names, self.term_values.unbind(), strict=True))


class Objective:
    """Content, style, grain, edges, total variation and time of an image, against fixed targets.

    With `normalize="energy"` a term is its squared distance over its target's sum of squares:

        content        |F(x) - F(c)|^2 / |F(c)|^2
        style          D(x, s) / (the style's own size): style_terms.py has each distance D
        grain          `grain_distance` of style_distances.py
        tv             TV(x) / TV(s)

    so that 1 means "as far away as nothing at all", at every size and with every network. Otherwise
    the reductions and divisors of the config apply, to features in the config's `feature_units`.
    Layer weights multiply; `strength` multiplies the style and grain terms. With regions there is a
    style and a grain term for each; together they weigh as much as those of one.

    The network sees pictures framed (frame.py); the terms are sums over positions within them.
    """

    def __init__(
        self,
        config: Config,
        backbone: Backbone,
        content: torch.Tensor,
        styles: Sequence[torch.Tensor] | Sequence[Region],
        tile_size: int | None = None,
        protect: torch.Tensor | None = None,
        shard: Shard = UNSHARDED,
        targets: StyleTargets | None = None,
        reference: Reference | None = None,
    ):
        """Measure the content and the styles.

        Args:
            config: the terms and their weights.
            backbone: the network.
            content: (1, 3, H, W) float32 in [0, 1], on the backbone's device, as all images.
            styles: images (1, 3, h, w), which share the whole content equally, or regions, each
                with its own.
            tile_size: images larger than this are cut into tiles no larger; the objective is the
                same.
            protect: where the content weighs more, (1, 1, H, W) in [0, 1].
            shard: the tiles that are this process's, where others have the rest (see
                `evaluate_crops`).
            targets: the `style_targets` of the regions, where they are known.
            reference: the earlier painting that a frame of a film is held to.

        Raises:
            ConfigError: the style term needs the whole image at once, and it is in tiles.
        """
        extractor = FeatureExtractor(config, backbone, tile_size, shard)
        height, width = content.shape[2:]
        self.frame = frame_of(height, width, backbone)
        backbone.prepare(*self.frame.size(height, width), extractor.layers)
        regions = regions_of(styles)
        targets = targets or style_targets(extractor, regions)
        self.backbone, self._shard, self.layers = backbone, shard, extractor.layers
        self.tiles = shard.select(extractor.tiles(content))
        self.terms = objective_terms(extractor, content, regions, protect, targets, reference)
        self.names = tuple(term.name for term in self.terms)

    @torch.no_grad()
    def evaluate(self, pixels: torch.Tensor) -> tuple[Loss, torch.Tensor]:
        """The objective at `pixels` and its gradient there.

        One forward and one backward pass. In tiles: a first pass runs all tiles forward and adds
        up their sums. A term's gradient depends on the sum of all, so a second pass runs each tile
        forward again, and back: one more forward pass in all.

        Args:
            pixels: (1, 3, H, W) float32 in [0, 1], of the content's size.

        Returns:
            The loss, and the gradient (1, 3, H, W).
        """
        if self.tiles[0].whole:
            return evaluate_batched([self], pixels)[0]
        framed = self.frame.add(pixels)
        loss, parts = self.evaluate_crops(self._crops(framed))
        gradient = torch.zeros_like(framed)
        for tile, part in zip(self.tiles, parts, strict=True):
            gradient[(..., *self.frame.crop(tile))] += part
        return loss, self.frame.fold(gradient)

    @torch.no_grad()
    def evaluate_crops(self, crops: Sequence[torch.Tensor]) -> tuple[Loss, Iterator[torch.Tensor]]:
        """The objective at the image with these framed crops of `tiles` (`Frame.crop`), and the
        gradient to each.

        The sums over the tiles of other workers come through the shard's `all_reduce`.
        """
        if self.tiles[0].whole:
            ((loss, gradient),) = _evaluate_framed([self], crops[0])
            return loss, iter([gradient])
        totals = self._totals(crops)
        _measure_styles([self], [totals])
        gradients = (
            self._gradient(crop, tile, totals) for crop, tile in zip(crops, self.tiles, strict=True)
        )
        return self._loss(totals), gradients

    def _crops(self, framed: torch.Tensor) -> list[torch.Tensor]:
        return [framed[(..., *self.frame.crop(tile))] for tile in self.tiles]

    @torch.no_grad()
    def __call__(self, pixels: torch.Tensor) -> Loss:
        """The objective at `pixels`, as `evaluate` returns it, without the gradient."""
        return self._loss(self._totals(self._crops(self.frame.add(pixels))))

    def _totals(self, crops: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What each term sums up, over all tiles."""
        pairs = zip(crops, self.tiles, strict=True)
        return self._shard.all_reduce(
            self._measure(crop, self.backbone(crop, self.layers), tile) for crop, tile in pairs
        )

    def _measure(self, crop: torch.Tensor, features: Features, tile: Tile) -> list[torch.Tensor]:
        """What each term sums up, over one tile; crop, features: framed."""
        return [
            term.measure(
                self._inner(term.layer, features[term.layer] if term.layer else crop, tile), tile
            )
            for term in self.terms
        ]

    def _inner(self, layer: str, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """What of a map of a tile's framed crop is within the image; layer "": of the pixels."""
        return x[(..., *self.frame.inner(tile, layer_stride(layer) if layer else 1))]

    def _loss(self, totals: list[torch.Tensor]) -> Loss:
        values = torch.stack(
            [term.value(total) for term, total in zip(self.terms, totals, strict=True)]
        )
        return Loss(values.sum(), values, self.names)

    @torch.no_grad()
    def _gradient(self, crop: torch.Tensor, tile: Tile, totals: list[torch.Tensor]) -> torch.Tensor:
        """The gradient to the tile's crop."""
        features, tape = self.backbone.record(crop, self.layers)
        return _backward([self], crop, features, tape, tile, [totals])

    def _add_gradients(
        self,
        layer: str,
        g: torch.Tensor | None,
        x: torch.Tensor,
        tile: Tile,
        totals: list[torch.Tensor],
    ) -> torch.Tensor | None:
        """g plus the gradient of all terms of a layer to x, in its memory; both are framed."""
        for term, total in zip(self.terms, totals, strict=True):
            if term.layer == layer:
                g = torch.zeros_like(x) if g is None else g
                inner = self._inner(layer, g, tile)
                term.add_gradient(inner, self._inner(layer, x, tile), tile, total)
        return g


@torch.no_grad()
def evaluate_batched(
    objectives: Sequence[Objective], pixels: torch.Tensor
) -> list[tuple[Loss, torch.Tensor]]:
    """Evaluate several objectives, each at its image of a batch, in one pass.

    Args:
        objectives: they share a network, its layers and a size, and are not in tiles.
        pixels: (B, 3, H, W), an image for each objective.

    Returns:
        What `Objective.evaluate` returns, for each.
    """
    frame = objectives[0].frame
    evaluated = _evaluate_framed(objectives, frame.add(pixels))
    return [(loss, frame.fold(gradient)) for loss, gradient in evaluated]


def _evaluate_framed(
    objectives: Sequence[Objective], framed: torch.Tensor
) -> list[tuple[Loss, torch.Tensor]]:
    """`evaluate_batched` at framed images, with the gradients to them."""
    first, tile = objectives[0], objectives[0].tiles[0]
    features, tape = first.backbone.record(framed, first.layers)
    totals = [
        objective._measure(
            framed[k : k + 1], {layer: x[k : k + 1] for layer, x in features.items()}, tile
        )
        for k, objective in enumerate(objectives)
    ]
    _measure_styles(objectives, totals)
    gradient = _backward(objectives, framed, features, tape, tile, totals)
    return [
        (objective._loss(own_totals), gradient[k : k + 1])
        for k, (objective, own_totals) in enumerate(zip(objectives, totals, strict=True))
    ]


def _backward(
    objectives: Sequence[Objective],
    crops: torch.Tensor,
    features: Features,
    tape: Tape,
    tile: Tile,
    totals: Sequence[list[torch.Tensor]],
) -> torch.Tensor:
    """The gradient of each objective to its image of `crops`; uses up `features` and `tape`."""

    def add(layer: str, g: torch.Tensor | None) -> torch.Tensor | None:
        x = features.pop(layer) if layer else crops
        gradients = [
            objective._add_gradients(
                layer, None if g is None else g[k : k + 1], x[k : k + 1], tile, own_totals
            )
            for k, (objective, own_totals) in enumerate(zip(objectives, totals, strict=True))
        ]
        if len(gradients) == 1 or all(gradient is None for gradient in gradients):
            return gradients[0]
        return torch.cat([torch.zeros_like(x[:1]) if part is None else part for part in gradients])

    from_layers = tape.gradient(add)
    gradient = add("", from_layers)  # the terms of the pixels come last
    assert gradient is not None
    return gradient


def _measure_styles(objectives: Sequence[Objective], totals: Sequence[list[torch.Tensor]]) -> None:
    """Compute the distances of all style terms side by side: on a CPU each in one thread, on a GPU
    each on one stream.

    A term keeps its last distance: `value` and `add_gradient` find it there.
    """
    device = objectives[0].backbone.device
    pairs = [
        (term, total)
        for objective, own_totals in zip(objectives, totals, strict=True)
        for term, total in zip(objective.terms, own_totals, strict=True)
        if isinstance(term, Style | Grain)
    ]

    def compute(pairs: Iterator[tuple[Style | Grain, torch.Tensor]]) -> None:
        for term, total in pairs:
            term.value(total)

    if device.type == "cpu":
        share(sorted(pairs, key=lambda pair: -pair[1].shape[1]), compute)
    elif device.type == "cuda":
        on_streams((partial(term.value, total) for term, total in pairs), device)
