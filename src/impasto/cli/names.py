"""Default names of output files: short enough for the file system, and not yet in use."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from impasto.cli.streams import STREAM

LONGEST = 110  # bytes of a picture's name in another; two, a step and a suffix are under 255


def joined_name(*parts: str) -> str:
    """Join the names of pictures to one of a PNG file, as "photo-painting.png".

    Args:
        parts: paths of pictures, or words. Long ones are shortened.
    """
    return "-".join(_shortened(part) for part in parts) + ".png"


def _shortened(path: str) -> str:
    name = "stdin" if path == STREAM else Path(path).stem
    encoded = os.fsencode(name)
    # "ignore": the last character may have been cut through
    return name if len(encoded) <= LONGEST else encoded[:LONGEST].decode("utf-8", "ignore")


def default_name(name: str, overwrite: bool) -> str:
    """Return the name of an output file that the user has not named.

    Args:
        name: the usual name.
        overwrite: return it although there is such a file; else a number is added: "grid-2.png".
    """
    path = Path(name)
    numbered = (path.with_name(f"{path.stem}-{k}{path.suffix}") for k in itertools.count(2))
    candidates = itertools.chain([path], numbered)
    return str(next(each for each in candidates if overwrite or not os.path.lexists(each)))
