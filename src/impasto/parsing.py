"""What is typed, as what Config takes: names of layers, weights, lists, bytes, masks."""

from __future__ import annotations

import re
from typing import Any

__all__ = [
    "FrozenDict",
    "check_mask",
    "mask_parts",
    "parse_bytes",
    "parse_numbers",
    "parse_texts",
    "parse_weights",
    "typed",
]


class FrozenDict(dict[str, float]):
    """A dict of weights by name that cannot be changed, and can be hashed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> Any:
        return FrozenDict, (dict(self),)  # copies and pickles are made at once, not item by item

    def _refuse(self, *_: object, **__: object) -> Any:
        raise TypeError("a config does not change: config.changed(...) gives another one")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse


def parse_weights(value: Any) -> Any:
    """A mapping from "a=1,b=0.5" (a name alone weighs 1), from a list of names, or as it is."""
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
    """A list from "1,2", or as it is."""
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


def parse_texts(value: Any) -> Any:
    """A list from one text, or as it is; "" is none at all."""
    texts = (value,) if isinstance(value, str) else value
    return () if texts in (("",), [""]) else texts


def check_mask(mask: str) -> str:
    """`mask`, if it can be read. Raises ValueError."""
    mask_parts(mask)
    return mask


def mask_parts(text: str) -> tuple[str, str, str]:
    """ "MASK=STYLE=STYLE_MASK" as its three names, the last "" if it is not there. Raises
    ValueError."""
    parts = [each.strip() for each in text.split("=")]
    if len(parts) not in (2, 3) or not all(parts):
        raise ValueError("no mask")
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""


def parse_bytes(value: Any) -> Any:
    """Bytes from "4GB", "800 MB" or "1.5 GiB"; anything else as it is."""
    found = (
        re.fullmatch(r"([\d.]+)\s*(?:([kmgt])(i?))?b?", value.strip().lower())
        if isinstance(value, str)
        else None
    )
    try:
        return (
            value
            if found is None
            else round(
                float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2] or " ")
            )
        )
    except (ValueError, OverflowError):  # two points in the number, or too many digits
        return value


def typed(value: Any) -> str:
    """A setting as it is typed."""
    if isinstance(value, dict):
        return ",".join(
            name if weight == 1 else f"{name}={_digits(weight)}" for name, weight in value.items()
        )
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _digits(number: float) -> str:
    """All digits that make a difference, and no more."""
    return repr(number).removesuffix(".0")
