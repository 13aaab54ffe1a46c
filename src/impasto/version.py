"""The version of the package that is running."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("impasto")
except PackageNotFoundError:  # a checkout that is used without being installed
    __version__ = "0+checkout"
