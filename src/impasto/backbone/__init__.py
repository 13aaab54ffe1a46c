"""Pictures to features."""

from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import Weights, cached, fetch, known, load, verify

__all__ = ["Backbone", "Weights", "cached", "fetch", "known", "load", "verify"]
