"""Parse command-line text into Config values, and format values as such text."""

from __future__ import annotations

import re
from typing import Any

__all__ = [
    "FrozenDict",
    "check_mask",
    "format_value",
    "mask_parts",
    "parse_bytes",
    "parse_numbers",
    "parse_texts",
    "parse_weights",
]


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

    Other values are returned unchanged, for pydantic to check.
    """
    if isinstance(value, str):
        pairs = [
            part.rpartition("=") if "=" in part else (part, "=", "1")
            for part in value.split(",")
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
    """Return `mask` if its syntax is right. Raises ValueError."""
    mask_parts(mask)
    return mask


def mask_parts(text: str) -> tuple[str, str, str]:
    """Split "MASK=STYLE=STYLE_MASK" into its three names; the last is "" if left out.

    Raises ValueError.
    """
    parts = [part.strip() for part in text.split("=")]
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
            name if weight == 1 else f"{name}={_digits(weight)}" for name, weight in value.items()
        )
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _digits(number: float) -> str:
    """Format a float with as few digits as restore it exactly."""
    return repr(number).removesuffix(".0")
