"""Pictures to features."""

from impasto.backbone.make import make_backbone
from impasto.backbone.vgg import STRIDE, Backbone, Features, Tape, layer_stride, reach
from impasto.backbone.weights import Weights, cached, fetch, known, load, verify

__all__ = [
    "STRIDE",
    "Backbone",
    "Features",
    "Tape",
    "Weights",
    "cached",
    "fetch",
    "known",
    "layer_stride",
    "load",
    "make_backbone",
    "reach",
    "verify",
]
