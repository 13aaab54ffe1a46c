"""Make the command line's options from the fields of Config and Machine."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from impasto.backbone.architecture import layer_name
from impasto.config import GROUPS, Config, Machine
from impasto.errors import ConfigError
from impasto.fields import allowed, marked, marks_of, option_name
from impasto.parsing import format_value

if TYPE_CHECKING:
    from collections.abc import Mapping

MODELS = (Config, Machine)
FIRST = ("look", "strength", "color", "size")  # in the help: what one tries first


class ConfigOption(click.Option):
    """The option of a field of Config or Machine, which parses and checks its text."""

    def __init__(self, field: str, default: Any = None):
        """default: for the help, of a command that has its own; None: the field's."""
        model = next(model for model in MODELS if field in model.model_fields)
        info = model.model_fields[field]
        marks = marks_of(info)
        self.group = marks["group"]
        on_or_off = info.annotation is bool
        name = option_name(field)
        default = info.default if default is None else default
        help = f"{info.description}{_hint(allowed(model, field), default)}"
        super().__init__(
            [f"{name}/{flag(field, False)}" if on_or_off else name, *marks["aliases"]],
            default=None,
            multiple=marks["repeated"],
            help=help,
            metavar=None if on_or_off else "TEXT",
            is_flag=on_or_off,
            type=None if on_or_off else str,
        )

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Return the names and the help, without click's TEXT: the help has the allowed values."""
        name = " / ".join([*self.opts, *self.secondary_opts])
        return name, self.help or ""


def _hint(choices: str, default: Any) -> str:
    """The allowed values and the default of an option, for its help: " [a or b; default: a]"."""
    parts = []
    if not isinstance(default, bool) and (" or " in choices or "number" in choices):
        parts.append(choices)
    if default not in (None, (), ""):  # without one: the help says what then happens
        parts.append(f"default: {_shown(default)}")
    return f" [{'; '.join(parts)}]" if parts else ""


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else format_value(default)


class GroupedCommand(click.Command):
    """A command whose help lists what is tried first, its own options, and settings by group."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the section of each group."""
        own: list[tuple[str, str]] = []
        first: dict[str, tuple[str, str]] = {}
        groups: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and parameter.name in FIRST and isinstance(parameter, ConfigOption):
                first[parameter.name] = record
            elif record:
                section = groups[parameter.group] if isinstance(parameter, ConfigOption) else own
                section.append(record)
        tried = [first[name] for name in FIRST if name in first]
        for title, records in [("Tried first", tried), ("Options", own), *groups.items()]:
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def add_settings(
    command: click.Command,
    *fields: str,
    without: tuple[str, ...] = (),
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Add settings to a command as options.

    Args:
        command: the command.
        fields: the settings; none: all but those marked as not for this command.
        without: those of them that are left out.
        defaults: the command's own, for its help.
    """
    if not fields:
        excluded = {name for model in MODELS for name in marked(model, "not_for", command.name)}
        names = [name for model in MODELS for name in model.model_fields]
        fields = tuple(name for name in names if name not in (*excluded, *without))
    command.params.extend(ConfigOption(field, defaults.get(field)) for field in fields)


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Select the settings that were given on the command line."""
    return {
        name: value
        for name, value in values.items()
        if any(name in model.model_fields for model in MODELS) and value not in (None, ())
    }


def as_options(settings: Mapping[str, Any]) -> list[str]:
    """Return the words that set these settings on a command line, without those of defaults.

    Args:
        settings: values by field, of Config and Machine, as in a painting's file.
    """
    words: list[str] = []
    for model in MODELS:
        default = model().model_dump(mode="json")
        repeated = marked(model, "repeated")
        for field, value in settings.items():
            if field not in default or value == default[field]:
                continue
            name = option_name(field)
            if isinstance(value, bool):
                words.append(flag(field, value))
            elif field in repeated and isinstance(value, (list, tuple)):
                words += [f"{name}={each}" for each in value]
            else:
                text = format_value(value)
                words += [f"{name}={text}"] if text.startswith("-") else [name, text]
    return words


def flag(field: str, value: bool) -> str:
    """Return the word that sets a setting that is on or off: --clamp or --no-clamp."""
    name = option_name(field)
    return name if value else f"--no-{name[2:]}"


# Options that several commands have.
depth = click.option(
    "--depth",
    type=click.Choice(["8", "16"]),
    default="8",
    callback=lambda context, parameter, value: int(value),
    help="bits a sample of the painting's file; 16: .png and .tif [default: 8]",
)
preset = click.option(  # None: it was not given
    "--preset",
    "preset_name",
    metavar="NAME",
    help="a preset by name; see `impasto presets` [default: default]",
)
quiet = click.option("--quiet", is_flag=True, help="print errors only")
json_output = click.option(
    "--json", "as_json", is_flag=True, help="print the result as one line of JSON"
)
overwrite = click.option(
    "--overwrite",
    is_flag=True,
    help="without -o: write over a file of the default name [default: add a number to the name]",
)
styles = click.option(
    "--style",
    "styles",
    multiple=True,
    metavar="STYLE",
    help="a STYLE picture; may be given again: several styles are blended",
)
metadata = click.option(
    "--metadata",
    type=click.Choice(["basic", "all", "none"]),
    default="basic",
    help="what is kept of the content's file: date, author, copyright, resolution and color "
    "profile; its whole EXIF, also where it was taken; or nothing [default: basic]",
)
engine = click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="paint in this process, or on the devices of a Ray cluster (extra: cluster) "
    "[default: local]",
)
address = click.option(
    "--address",
    metavar="ADDRESS",
    help="the Ray cluster to join, as auto or 10.0.0.1:6379 [default: one of its own]",
)


def check_engine(engine: str, address: str | None) -> None:
    """Check that an address is given with `--engine ray` only. Raises ConfigError."""
    if address and engine != "ray":
        raise ConfigError(
            f"--address {address} is of a Ray cluster: give --engine ray with it", address
        )


def parse_layers(text: str) -> list[str]:
    """Parse `--layers`, as "relu1_1,relu4_2", without duplicates. Raises ConfigError."""
    names = list(dict.fromkeys(layer_name(part) for part in text.split(",") if part.strip()))
    if not names:
        raise ConfigError("--layers is empty: name at least one, as conv4_2")
    return names
