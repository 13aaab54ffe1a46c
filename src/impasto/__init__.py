"""impasto paints any picture in the style of any other, by optimisation (Gatys et al. 2016)."""

from importlib import import_module
from typing import TYPE_CHECKING

from impasto.version import __version__ as __version__

if TYPE_CHECKING:
    from impasto.backbone.vgg import Backbone
    from impasto.config import Config
    from impasto.errors import ImpastoError
    from impasto.painting.experiments import texture
    from impasto.painting.run import Painting, paint, paint_steps
    from impasto.painting.step import Step
    from impasto.presets import PRESETS

__all__ = ["PRESETS", "Backbone", "Config", "ImpastoError", "Painting", "Step", "paint", "paint_steps", "texture"]

_HOME = {
    "Backbone": "impasto.backbone.vgg",
    "Config": "impasto.config",
    "ImpastoError": "impasto.errors",
    "PRESETS": "impasto.presets",
    "Painting": "impasto.painting.run",
    "Step": "impasto.painting.step",
    "paint": "impasto.painting.run",
    "paint_steps": "impasto.painting.run",
    "texture": "impasto.painting.experiments",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `import impasto` alone does not load torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'impasto' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
