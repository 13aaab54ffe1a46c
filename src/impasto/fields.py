"""Declare a setting in one place: type, default, range, help, and marks such as "is a path".

The options of the command line, the controls of the page and their error messages derive from it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from functools import lru_cache
from inspect import Parameter, Signature, cleandoc
from itertools import groupby
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo

from impasto.backbone.architecture import LAYERS
from impasto.errors import ConfigError, as_arguments, did_you_mean, shortened

__all__ = [
    "allowed",
    "as_keywords",
    "by_group",
    "changed_fields",
    "describe",
    "explain",
    "marked",
    "marks_of",
    "no_setting",
    "option_name",
    "setting",
]


def setting(
    default: Any,
    group: str,
    help: str,
    *,
    takes: str = "",
    usual: tuple[float, ...] = (),
    path: bool = False,
    network: bool = False,
    repeated: bool = False,
    aliases: tuple[str, ...] = (),
    not_for: tuple[str, ...] = (),
    control: str = "",
    **limits: Any,
) -> Any:
    """Declare a field of Config or Machine.

    Args:
        default: the value if none is given.
        group: the heading of its option in the help.
        help: a description in one line.
        takes: the allowed values in words; "": derived from the type.
        usual: the choices on the page, or the range of its slider.
        path: whether its value is the path of a picture.
        network: whether another value needs another network.
        repeated: whether its option may be repeated.
        aliases: other spellings of its option.
        not_for: the commands without this option.
        control: its control on the page: "first" and "slider" (always visible), "picture" (an
            upload), "drawn" (drawn on the content); "": under "more settings".
        limits: passed on to pydantic.Field.
    """
    extra: dict[str, Any] = {
        "group": group,
        "takes": takes,
        "usual": list(usual),
        "path": path,
        "network": network,
        "repeated": repeated,
        "aliases": list(aliases),
        "not_for": list(not_for),
        "control": control,
    }
    return Field(default, description=help, json_schema_extra=extra, **limits)


def marks_of(info: FieldInfo) -> dict[str, Any]:
    """Return the marks of a field: the arguments of `setting` that are not pydantic's."""
    extra = info.json_schema_extra
    assert isinstance(extra, dict)
    return extra


def marked(model: type[BaseModel], mark: str, value: Any = True) -> tuple[str, ...]:
    """List the fields whose mark (an argument of `setting`) is or contains `value`."""
    names = []
    for name, info in model.model_fields.items():
        found = marks_of(info)[mark]
        if value in found if isinstance(found, list) else found == value:
            names.append(name)
    return tuple(names)


def option_name(field: str) -> str:
    """Return the option of a field: "--style-layers" for "style_layers"."""
    return "--" + field.replace("_", "-")


def changed_fields(settings: BaseModel) -> list[tuple[str, Any]]:
    """List the fields of `settings` that differ from their defaults, with their values."""
    fields = type(settings).model_fields
    return [(name, value) for name, value in settings if value != fields[name].default]


def by_group(model: type[BaseModel]) -> Iterator[tuple[str, Iterator[tuple[str, FieldInfo]]]]:
    """Yield each group of the fields of `model`, in their order, with its fields by name."""
    return groupby(model.model_fields.items(), lambda field: str(marks_of(field[1])["group"]))


def describe(model: type[BaseModel]) -> None:
    """Give `model` a docstring and a signature for `help`: every field, its default and help."""
    lines = [cleandoc(model.__doc__ or "")]
    for group, fields in by_group(model):
        lines.append(f"\n{group}:")
        for name, info in fields:
            help = as_arguments(info.description or "")
            text = f"{name} = {_plain(info.default)!r}: {help} [{allowed(model, name)}]"
            lines += textwrap.wrap(text, 96, initial_indent="    ", subsequent_indent="        ")
    model.__doc__ = "\n".join(lines)
    model.__signature__ = as_keywords(model)


def as_keywords(model: type[BaseModel]) -> Signature:
    """Return a signature with the fields of `model` as keywords, with their defaults."""
    return Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, default=_plain(info.default))
            for name, info in model.model_fields.items()
        ]
    )


def _plain(default: Any) -> Any:
    return dict(default) if isinstance(default, dict) else default


@lru_cache(maxsize=4)  # it takes some milliseconds, and every error message needs it
def _schemas(model: type[BaseModel]) -> dict[str, Any]:
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return properties


def allowed(model: type[BaseModel], field: str) -> str:
    """Describe the allowed values of a field: "16 to 65536, or original"."""
    schema = _schemas(model)[field]
    if schema["takes"]:
        return str(schema["takes"])
    parts = [_allowed(part) for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    return ", or ".join(parts)


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        return " or ".join(schema.get("enum", [schema.get("const")]))
    kind = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": "a name or path",
    }
    text = kind.get(
        schema["type"],
        "weights from 0, as NAME=1,NAME=0.5"
        if schema["type"] == "object"
        else "weights, as 0.7,0.3",
    )
    above = "exclusiveMinimum" in schema
    low, high = (
        schema["exclusiveMinimum"] if above else schema.get("minimum"),
        schema.get("maximum"),
    )
    if high is not None:
        return (
            f"{text} above {low:,} up to {high:,}" if above else f"{text} from {low:,} to {high:,}"
        )
    return text if low is None else f"{text} from {low:,}"


def no_setting(name: str, known: list[str]) -> ConfigError:
    """The error of a setting that there is not."""
    if name == "preset":
        text = "it is a whole config: impasto.PRESETS[NAME].config, or an option of its own"
        return ConfigError(f"no setting 'preset': {text}", name, known)
    return ConfigError(f"no setting {shortened(name)}: {did_you_mean(name, known)}", name, known)


def explain(model: type[BaseModel], error: ValidationError) -> ConfigError:
    """Convert pydantic's first error to one line: the option, its value, the allowed values."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        given = shortened(first["input"])
        return ConfigError(
            f"settings are {given}: give a mapping of names to values", first["input"]
        )
    name, value = str(first["loc"][0]), first["input"]
    if name not in model.model_fields:
        return no_setting(name, list(model.model_fields))
    inside = [str(part) for part in first["loc"][1:] if str(part) in LAYERS]
    where = f"{option_name(name)} {' '.join(inside)}".strip()
    if first["type"] == "too_long":
        most = first["ctx"]["max_length"]
        return ConfigError(
            f"{where} lists {len(value):,} values: it takes at most {most:,}", value, most
        )
    return ConfigError(
        f"{where} is {shortened(value)}: it takes {allowed(model, name)}",
        value,
        allowed(model, name),
    )
