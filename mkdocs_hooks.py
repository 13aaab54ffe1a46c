"""What mkdocs.yml adds to docs/: documents that lie elsewhere, and the reference of Python."""

import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files

import impasto

ROOT = Path(__file__).parent
ELSEWHERE = {  # their pages
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/RESULTS.md": "results.md",
    "integrations/comfyui/README.md": "comfyui.md",
    "integrations/gimp/README.md": "gimp.md",
    "integrations/krita/README.md": "krita.md",
    "integrations/space/README.md": "space.md",
    "training/MODEL_CARD.md": "model_card.md",
}
LINK = re.compile(r"\]\(([^)#\s:]+\.md)(#[^)\s]*)?\)")
REFERENCE = """# Python, name by name

What `import impasto` gives, from the code. With words around it: [the API](api.md); all settings:
[options](options.md).
"""

EXAMPLE = re.compile(r"^Example:\n((?:    .*\n?|\n)+)", re.MULTILINE)


class ExamplesAreCode(griffe.Extension):
    """Shows the "Example:" of a docstring as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put a fence around it."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(
                lambda found: f"Example:\n    ```python\n{found[1].rstrip()}\n    ```\n",
                obj.docstring.value,
            )


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    for source, place in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    # functions first, the module last
    names = sorted(impasto.HOMES, key=lambda name: (name == "callbacks", name[0].isupper(), name))
    names = [f"::: {impasto.HOMES[name]}.{name}" for name in names]
    text = "\n\n".join([REFERENCE, *names]) + "\n"
    files.append(File.generated(config, "reference.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links between documents lead to their pages."""
    del config, files
    pages = {place: source for source, place in ELSEWHERE.items()}
    source = pages.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        place = ELSEWHERE.get(target, target.removeprefix("docs/"))
        return f"]({place}{found[2] or ''})"

    return LINK.sub(link, markdown)
