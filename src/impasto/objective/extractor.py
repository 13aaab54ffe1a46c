"""The features of images, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from impasto.backbone.architecture import layer_stride
from impasto.backbone.vgg import Backbone, Features
from impasto.backbone.weight_files import IMAGENET
from impasto.config import Config
from impasto.objective.frame import frame_of
from impasto.objective.pixel_terms import EDGE_REACH
from impasto.objective.tiles import UNSHARDED, Shard, Tile, cut

__all__ = ["FeatureExtractor"]


@dataclass(frozen=True)
class FeatureExtractor:
    """Run images through a network, in tiles where they are large.

    config: the layers, and the terms that decide the halo.
    tile_size: larger images are cut into tiles of at most so many pixels a side; None: none are.
    shard: the tiles that are this process's, where others evaluate the rest.
    """

    config: Config
    backbone: Backbone
    tile_size: int | None = None
    shard: Shard = UNSHARDED

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers of the objective, each once."""
        return tuple(dict.fromkeys([*self.config.content_layers, *self.config.style_layers]))

    @property
    def unit_factor(self) -> float:
        """What the network's features are multiplied by to be in `Config.feature_units`.

        Weights of a published setting hold for features of one size: those of pixels from 0 to 255
        (Oxford's VGG-19) are about 57 times those of pixels divided by their deviation
        (torchvision's, `compact`). As ReLU keeps a factor, so do the features, but for the biases;
        a content term grows with its square, a Gram term with its fourth power.
        """
        own = sum(self.backbone.weights.scale) / 3
        units = {"own": own, "normalized": sum(IMAGENET[2]) / 3, "0-255": 255.0}
        return units[self.config.feature_units] / own

    def metric(self, layer: str) -> torch.Tensor | None:
        """The metric of a layer (C, C) float32, on the network's device; None: it has none.

        A network that another has taught measures distances as that one does, where it knows how.
        """
        metric = self.backbone.weights.metrics.get(layer.replace("relu", "conv"))
        if metric is None or not layer.startswith("relu"):
            return None
        return metric.to(self.backbone.device)

    def tiles(self, image: torch.Tensor, layers: Sequence[str] = ()) -> list[Tile]:
        """All tiles of an image (1, 3, H, W), for features of `layers`, or of all layers."""
        height, width = image.shape[2:]
        tile_size = self.tile_size or max(height, width)
        min_halo = EDGE_REACH if self.config.edge_weight else 0
        return cut(height, width, tile_size, layers or self.layers, min_halo)

    def crops(
        self, image: torch.Tensor, layers: Sequence[str] = (), shard: Shard = UNSHARDED
    ) -> Iterator[tuple[Tile, torch.Tensor, Features]]:
        """Each tile of an image (of the shard), its crop, and the crop's features at `layers`.

        Without layers there are no features, and the network is not run. The network sees the
        image framed.
        """
        height, width = image.shape[2:]
        frame = frame_of(height, width, self.backbone)
        framed = frame.add(image) if layers else image
        for tile in shard.select(self.tiles(image, layers)):
            features: Features = {}
            if layers:
                for layer, x in self.backbone(framed[(..., *frame.crop(tile))], layers).items():
                    features[layer] = x[(..., *frame.inner(tile, layer_stride(layer)))]
            yield tile, image[(..., *tile.crop)], features
