"""The sample pictures: a drawn landscape, still life and styles, a portrait from matplotlib."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from impasto.errors import ConfigError, PictureError, did_you_mean
from impasto.extras import needs_extra

__all__ = [
    "STYLES",
    "matplotlib_data",
    "sample_painting",
    "sample_photograph",
    "sample_portrait",
    "sample_still_life",
    "sample_style",
]

# drawn by examples/draw_styles.py
STYLES = ("strokes", "woodcut", "glass", "points", "watercolor", "facets")


def matplotlib_data() -> Path | None:
    """The folder of fonts and pictures that matplotlib ships; None without the extra `plots`."""
    found = find_spec("matplotlib")  # only its files are needed: importing it takes half a second
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "mpl-data"


def sample_photograph() -> Path:
    """A mountain lake at evening, drawn by examples/draw_scene.py to look like a photograph."""
    return _sample("lake")


def sample_still_life() -> Path:
    """Fruit and a jug beside a window, drawn by examples/draw_still_life.py to look like a
    photograph."""
    return _sample("still-life")


def sample_painting() -> Path:
    """The sample photograph in the first sample style, painted by examples/studio.py."""
    return _sample("lake-strokes")


def sample_portrait() -> Path:
    """Rear Admiral Grace Hopper, 1984, by the U.S. Navy (public domain), from matplotlib's sample
    data."""
    data = matplotlib_data()
    if data is None:
        raise PictureError(needs_extra("the sample portrait", "plots"))
    return data / "sample_data" / "grace_hopper.jpg"


def sample_style(name: str) -> Path:
    """The file of a sample style, one of STYLES. Raises ConfigError for another name."""
    if name not in STYLES:
        raise ConfigError(f"no sample style {name!r}: {did_you_mean(name, STYLES)}", name, STYLES)
    return _sample(name)


def _sample(name: str) -> Path:
    return Path(str(files("impasto") / "samples" / f"{name}.jpg"))
