"""impasto paints any picture in the style of any other, by optimization (Gatys et al. 2016)."""

from importlib import import_module
from typing import TYPE_CHECKING

from impasto.version import __version__ as __version__

if TYPE_CHECKING:
    from impasto.backbone.load import load_backbone as load_backbone
    from impasto.backbone.vgg import Backbone as Backbone
    from impasto.config import Config as Config
    from impasto.config import Machine as Machine
    from impasto.errors import CheckpointError as CheckpointError
    from impasto.errors import ClusterError as ClusterError
    from impasto.errors import ConfigError as ConfigError
    from impasto.errors import ImpastoError as ImpastoError
    from impasto.errors import OutputError as OutputError
    from impasto.errors import PictureError as PictureError
    from impasto.errors import SolverError as SolverError
    from impasto.errors import WeightsError as WeightsError
    from impasto.painting import callbacks as callbacks
    from impasto.painting.experiments import texture as texture
    from impasto.painting.outcome import Painting as Painting
    from impasto.painting.run import Run as Run
    from impasto.painting.run import paint as paint
    from impasto.painting.run import paint_steps as paint_steps
    from impasto.painting.step import Step as Step
    from impasto.presets import PRESETS as PRESETS

# The one list of public names: where each is defined. Type checkers read the imports above; a test
# compares the two.
HOMES = {
    "PRESETS": "impasto.presets",
    "Backbone": "impasto.backbone.vgg",
    "CheckpointError": "impasto.errors",
    "ClusterError": "impasto.errors",
    "Config": "impasto.config",
    "ConfigError": "impasto.errors",
    "ImpastoError": "impasto.errors",
    "Machine": "impasto.config",
    "OutputError": "impasto.errors",
    "Painting": "impasto.painting.outcome",
    "PictureError": "impasto.errors",
    "Run": "impasto.painting.run",
    "SolverError": "impasto.errors",
    "Step": "impasto.painting.step",
    "WeightsError": "impasto.errors",
    "callbacks": "impasto.painting",
    "load_backbone": "impasto.backbone.load",
    "paint": "impasto.painting.run",
    "paint_steps": "impasto.painting.run",
    "texture": "impasto.painting.experiments",
}
__all__ = list(HOMES)


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `import impasto` alone does not load torch."""
    if name not in HOMES:
        raise AttributeError(f"module 'impasto' has no attribute {name!r}")
    home = HOMES[name]
    if name == "callbacks":
        return import_module(f"{home}.{name}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
