"""Write docs/options.md from the fields of Config and Machine: python examples/options.py"""

from pathlib import Path

from impasto.config import Config, Machine
from impasto.fields import allowed, option_name
from impasto.parsing import format_value

PAGE = Path(__file__).resolve().parent.parent / "docs" / "options.md"
HEAD = """# Options

Every setting of a painting, in its groups. The option is for the command line; in Python and
over HTTP the same name has underscores (`style_layers`). `impasto COMMAND --help` says the same,
and what else a command takes.
"""


def text() -> str:
    """The page."""
    lines, group = [HEAD], ""
    for model in (Config, Machine):
        for name, field in model.model_fields.items():
            extra = field.json_schema_extra
            assert isinstance(extra, dict)
            if extra["group"] != group:
                group = str(extra["group"])
                lines.append(f"\n## {group}\n| option | default | takes | |\n|---|---|---|---|")
            cells = (
                f"`{option_name(name)}`",
                shown(field.default),
                allowed(model, name),
                field.description,
            )
            lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def shown(default: object) -> str:
    """A default as it would be typed; nothing if there is none."""
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{format_value(default)}`" if format_value(default) else ""


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
