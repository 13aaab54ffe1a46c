"""Describe the API: the schema of the settings, and a page of documentation without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from impasto.config import Config
from impasto.errors import as_arguments
from impasto.fields import allowed, marks_of
from impasto.parsing import format_value

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff; }
code, pre { font-family: ui-monospace, monospace; background: #f3f1ec; border-radius: 4px; }
code { padding: .1em .3em; } pre { padding: 1rem; overflow-x: auto; }
h3 { margin-top: 2rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; }
td { border-top: 1px solid #ddd; }
td code { overflow-wrap: anywhere; } table { border-collapse: collapse; }
"""
EXAMPLE = """curl -F content=@photo.jpg -F style=@painting.jpg -F look=bold \\
     -F 'settings={"size": 768}' {base}/api/paintings
curl {base}/api/paintings/ID            # its state
curl -o painting.png {base}/api/paintings/ID/picture"""


def add_documentation(app: FastAPI) -> None:
    """Put the settings into the schema of `app`, and add the page /docs."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        schema["components"]["schemas"]["Settings"] = _settings()
        return schema

    app.openapi = openapi  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """The API in words."""
        return HTMLResponse(_page(app.openapi()))


def _settings() -> dict[str, Any]:
    """The JSON schema of the settings, in the words of the API."""
    schema = Config.model_json_schema()
    for name, part in schema["properties"].items():
        for mark in marks_of(Config.model_fields[name]):  # for the command line and the page
            part.pop(mark, None)
        part["description"] = as_arguments(part["description"])
    schema["description"] = "All settings of a painting; what is left out has its default."
    return schema


def _page(schema: dict[str, Any]) -> str:
    """The page of documentation."""
    operations = [
        _operation(method, path, operation, schema)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    rows = [
        (
            f"<code>{name}</code>",
            f"<code>{escape(format_value(info.default)) or '-'}</code>",
            escape(as_arguments(info.description or "")),
            escape(allowed(Config, name)),
        )
        for name, info in Config.model_fields.items()
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>impasto's API</title><style>{STYLE}</style></head><body><main>"
        f"<h1>impasto's API</h1><p>Version {escape(schema['info']['version'])}. For programs: "
        "<a href='api/openapi.json'>openapi.json</a>.</p>"
        f"<pre>{escape(EXAMPLE.replace('{base}', 'http://localhost:7860'))}</pre>"
        f"<h2>Requests</h2>{''.join(operations)}"
        "<h2 id='settings'>Settings</h2><p>The fields of the JSON object <code>settings</code>.</p>"
        f"{_table(('name', 'default', 'what it is', 'it takes'), rows)}</main></body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any], schema: dict[str, Any]) -> str:
    """One request: its fields and its answers."""
    text = escape(operation.get("description") or operation.get("summary", ""))
    fields = [
        (f"<code>{escape(each['name'])}</code>", escape(each.get("description", "")))
        for each in operation.get("parameters", [])
    ]
    for kind in operation.get("requestBody", {}).get("content", {}).values():
        name = kind["schema"].get("$ref", "").rpartition("/")[2]
        form = schema["components"]["schemas"].get(name, {})
        needed = form.get("required", [])
        fields += [
            (f"<code>{escape(field)}</code>", escape(part.get("description", "")))
            for field, part in sorted(
                form.get("properties", {}).items(), key=lambda item: item[0] not in needed
            )
        ]
    answers = [
        (f"<code>{code}</code>", escape(answer.get("description", "")))
        for code, answer in operation["responses"].items()
    ]
    title = f"<h3><code>{method.upper()} {escape(path)}</code></h3><p>{text}</p>"
    shown = _table(("field", ""), fields) if fields else ""
    return title + shown + _table(("answer", ""), answers)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of HTML."""
    head = "".join(f"<th scope='col'>{each}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
