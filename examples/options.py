"""Write docs/options.md from the fields of Config and Machine: python examples/options.py"""

from pathlib import Path

from pydantic.fields import FieldInfo

from impasto.config import Config, Machine
from impasto.fields import allowed, by_group, option_name
from impasto.parsing import format_value

PAGE = Path(__file__).resolve().parent.parent / "docs" / "options.md"
HEAD = """# Options

Every setting of a painting, in its groups. The option is for the command line; in Python and
over HTTP the same name has underscores (`style_layers`). `impasto COMMAND --help` says the same,
and what else a command takes.
"""


def text() -> str:
    """The page."""
    lines = [HEAD]
    for model in (Config, Machine):
        for group, fields in by_group(model):
            lines.append(f"\n## {group}\n| option | default | takes | |\n|---|---|---|---|")
            lines += [row(model, name, field) for name, field in fields]
    return "\n".join(lines) + "\n"


def row(model: type[Config] | type[Machine], name: str, field: FieldInfo) -> str:
    """The row of one option."""
    takes, default = allowed(model, name), shown(field.default)
    cells = (f"`{option_name(name)}`", default, takes, field.description)
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def shown(default: object) -> str:
    """A default as it would be typed; nothing if there is none."""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{format_value(default)}`" if format_value(default) else ""


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
