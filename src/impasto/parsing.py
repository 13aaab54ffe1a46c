"""Parse command-line text into Config values, and format values as such text."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from typing import Any

__all__ = [
    "ALPHA",
    "AUTO",
    "FrozenDict",
    "check_mask",
    "format_value",
    "mask_parts",
    "parse_bytes",
    "parse_numbers",
    "parse_texts",
    "parse_weights",
]


AUTO = "auto"  # in place of the mask of `protect`: the subject, found in the content
ALPHA = "alpha"  # in place of a mask's file: the content's own transparency
MOST_PIECES = 20  # of a text, between its =: the ways to join them are tried


class FrozenDict(dict[str, float]):
    """An immutable, hashable dict of weights by name."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> Any:
        return FrozenDict, (dict(self),)  # a dict's own way sets item by item, which is refused

    def _refuse(self, *_: object, **__: object) -> Any:
        raise TypeError("a config is immutable: config.changed(...) returns a changed copy")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse


def parse_weights(value: Any) -> Any:
    """Parse "a=1,b=0.5" or a list of names into a dict of weights; a name alone weighs 1.

    The path of an existing file is a name, whatever is in it. Other values are returned unchanged,
    for pydantic to check.
    """
    if isinstance(value, str):
        pairs = [
            part.rpartition("=") if "=" in part and not os.path.exists(part) else (part, "=", "1")
            for part in ([value] if os.path.exists(value) else value.split(","))
            if part
        ]
        return {name.strip(): weight for name, _, weight in pairs}
    if isinstance(value, (list, tuple, set)) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value, 1.0)
    return value


def parse_numbers(value: Any) -> Any:
    """Split "1,2" at its commas; other values are returned unchanged."""
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


def parse_texts(value: Any) -> Any:
    """Wrap a single text in a tuple; "" alone means no texts."""
    texts = (value,) if isinstance(value, str) else value
    return () if texts in (("",), [""]) else texts


def check_mask(mask: str) -> str:
    """Return `mask` with every = inside a name doubled, which `mask_parts` understands.

    Where several ways to split it are possible, it is the one whose files all exist; if there is
    none, the text is returned as it is.

    Raises:
        ValueError: its syntax is wrong.
    """
    for names in _splits(mask):
        if all(os.path.exists(name) or name == ALPHA for name in names):
            return "=".join(name.replace("=", "==") for name in names)
    mask_parts(mask)
    return mask


def _splits(text: str) -> Iterator[list[str]]:
    """Yield the ways to split a text with more than one = into two or three names.

    The first are those without any = in a name.
    """
    pieces = text.split("=")
    if not 3 <= len(pieces) <= MOST_PIECES:
        return
    inside = range(1, len(pieces))
    for cuts in (*itertools.combinations(inside, 2), *itertools.combinations(inside, 1)):
        ends = (0, *cuts, len(pieces))
        yield ["=".join(pieces[a:b]).strip() for a, b in itertools.pairwise(ends)]


def mask_parts(text: str) -> tuple[str, str, str]:
    """Split "MASK=STYLE=STYLE_MASK" into its three names; the last is "" if left out.

    "==" is an = inside a name. Raises ValueError.
    """
    parts = [part.replace("\0", "=").strip() for part in text.replace("==", "\0").split("=")]
    if len(parts) not in (2, 3) or not all(parts):
        raise ValueError("no mask")
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""


def parse_bytes(value: Any) -> Any:
    """Convert "4GB", "800 MB" or "1.5 GiB" to bytes; other values are returned unchanged."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([\d.]+)\s*(?:([kmgt])(i?))?b?", value.strip().lower())
    if match is None:
        return value
    number, prefix, binary = match.groups()
    try:
        return round(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix or " "))
    except (ValueError, OverflowError):  # two points in the number, or too many digits
        return value


def format_value(value: Any) -> str:
    """Format a setting's value as on the command line."""
    if isinstance(value, dict):
        return ",".join(
            name if weight == 1 and "=" not in name else f"{name}={_digits(weight)}"
            for name, weight in value.items()
        )
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _digits(number: float) -> str:
    """Format a float with as few digits as restore it exactly."""
    return repr(number).removesuffix(".0")
