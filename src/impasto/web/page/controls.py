"""The page's controls, made from Config's fields: names, help, ranges and defaults live there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import gradio as gr
from gradio.components import Component

from impasto.config import STARTS, Config
from impasto.errors import ConfigError
from impasto.fields import allowed, marked
from impasto.fields import by_group as fields_by_group
from impasto.parsing import format_value
from impasto.web.page.html import as_labels, label

FIRST = marked(Config, "control", "first")  # what stands in sight
# and what has a slider there, beside its exact control among the others
SLIDERS = marked(Config, "control", "slider")
# fields that are a picture: the page takes them as uploads
PICTURES = marked(Config, "control", "picture")
# fields that the sliders of the styles, and the brush on the content, stand for
DRAWN = marked(Config, "control", "drawn")
SCHEMAS = Config.model_json_schema()["properties"]
# Words for the controls in sight that can be understood without a guide: label, help, choices.
# All others have the field's name and help, as on the command line.
IN_SIGHT = ("look", "strength", "style_scale", "color", "size")  # in the order of need
WORDS = {
    "look": ("Look", ""),
    "strength": ("Strength", "above 1 more of the painting, below 1 more of the photograph"),
    "style_scale": ("Brush", "size of the strokes"),
    "color": ("Colors", ""),
    "size": ("Size", "pixels on the long side"),
}
CHOICES = {
    "look": {"subtle": "Subtle", "painted": "Painted", "bold": "Bold"},
    "color": {
        "style": "of the painting",
        "content": "of the photo",
        "luminance": "only light and dark",
    },
}
# for events of the page alone
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
ABOUT = {"compact": "compact (in the box)"}


def by_group() -> dict[str, list[str]]:
    """The fields that have a control, by group, without those in sight."""
    elsewhere = {*FIRST, *PICTURES, *DRAWN}
    found = {
        group: [name for name, _ in fields if name not in elsewhere]
        for group, fields in fields_by_group(Config)
    }
    return {group: names for group, names in found.items() if names}


def control(
    name: str, networks: Sequence[str], defaults: Mapping[str, Any] = MappingProxyType({})
) -> Component:
    """The control of a field. networks: to choose from. defaults: in place of Config's."""
    schema = SCHEMAS[name]
    usual = schema["usual"]
    default = value_of(name, defaults.get(name, Config.model_fields[name].default))
    kinds = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    text, help = (label(name), as_labels(schema["description"]))
    if name in FIRST:
        text, help = WORDS[name]
    common: dict[str, Any] = {
        "label": text,
        "info": help or None,
        "elem_id": f"setting-{name}",
        "interactive": True,
    }
    if name in CHOICES:
        pairs = [(words, value) for value, words in CHOICES[name].items()]
        return gr.Radio(pairs, value=default, **common)
    if name == "backbone":
        choices: list[Any] = [(ABOUT.get(network, network), network) for network in networks]
        return gr.Dropdown(choices, value=networks[0], **common)
    if len(kinds) > 1 and usual:  # a number or a word
        words = [str(part["const"]) for part in kinds if "const" in part]
        return gr.Dropdown(
            [*map(str, usual), *words], value=default, allow_custom_value=True, **common
        )
    if "enum" in kinds[0]:
        return gr.Dropdown(kinds[0]["enum"], value=default, **common)
    return _typed(name, default, kinds[0]["type"], common)


def _typed(name: str, default: Any, kind: str, common: dict[str, Any]) -> Component:
    """The control of a field that is a truth value, a number or text."""
    schema = SCHEMAS[name]
    if schema.get("type") == "boolean":
        return gr.Checkbox(value=default, **common)
    # only numbers that cannot be None: gradio would make a 0 of it
    if "type" in schema and kind in ("number", "integer"):
        low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
        precision = 0 if kind == "integer" else None
        return gr.Number(value=default, minimum=low, maximum=high, precision=precision, **common)
    return gr.Textbox(value=default, placeholder=allowed(Config, name), max_lines=3, **common)


def slider(name: str, exact: Component) -> None:
    """A slider over a field's usual values, bound to its exact control, whose value is used and
    whose range is wider."""
    schema = SCHEMAS[name]
    low, high = schema["usual"]
    text, help = WORDS[name]
    common: dict[str, Any] = {"info": help, "elem_id": f"slider-{name}"}
    shown = gr.Slider(low, high, Config.model_fields[name].default, step=0.05, label=text, **common)
    shown.input(None, shown, exact, js="(value) => value", queue=False, **QUIET)
    within = f"(value) => Math.min({high}, Math.max({low}, value))"
    exact.change(None, exact, shown, js=within, queue=False, **QUIET)  # type: ignore[attr-defined]


def value_of(name: str, value: Any) -> Any:
    """A setting as its control shows it: a number, a choice or a tick, or else text to type."""
    schema = SCHEMAS[name]
    plain = isinstance(value, (bool, int, float)) or value is None
    return value if plain and "const" not in str(schema.get("anyOf", "")) else format_value(value)


def values_of(config: Config, names: Sequence[str], networks: Sequence[str]) -> list[Any]:
    """Updates that make the controls of these fields show a config; a network that is not on this
    server is left as it is.

    Raises ConfigError if the config starts from a picture, which is not in the file.
    """
    if "start" in names and not set(config.start) <= set(STARTS):
        raise ConfigError(
            "it began from another picture; drop that one too, and choose the settings by hand"
        )
    updates = {name: gr.update(value=value_of(name, getattr(config, name))) for name in names}
    if config.backbone not in networks:
        updates["backbone"] = gr.skip()
    return [updates[name] for name in names]
