"""The documents are true: their examples run, their commands, links and files exist."""

import inspect
import re
import shlex
from operator import attrgetter
from pathlib import Path

import click
import pytest
from PIL import Image

import impasto
from impasto.cli.main import cli
from impasto.cli.options import ConfigOption, given
from impasto.config import Config, changed_by
from impasto.painting import experiments

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for folder in (".", "docs", "benchmarks", "training", "integrations/*")
    for path in (ROOT / folder).glob("*.md")
)
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name: str, language: str) -> list[tuple[int, str]]:
    """The code blocks of a document in a language: the line before each, and its text."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start(2)), match[2])
        for match in BLOCK.finditer(text)
        if match[1] == language
    ]


# docs/studio.md's example needs a server, docs/design.md's is a sketch
EXAMPLES = [
    (name, line, code)
    for name in ("README.md", "docs/api.md", "docs/figures.md", "docs/formats.md")
    for line, code in blocks(name, "python")
]


@pytest.fixture
def small(monkeypatch, tiny_weights):
    """Make every painting tiny, whatever size, steps and network are asked for."""
    make, blank = Config.__init__, experiments.blank_content

    def make_small(self: Config, **settings: object) -> None:
        if isinstance(settings.get("size", 512), int):
            settings["size"] = 32
        settings["steps"] = min(settings.get("steps", 3), 3)
        make(self, **settings | {"backbone": str(tiny_weights)})

    monkeypatch.setattr(Config, "__init__", make_small)
    monkeypatch.setattr(experiments, "blank_content", lambda w, h: blank(w // 8, h // 8))
    monkeypatch.setattr(Image.Image, "show", lambda image: None)


@pytest.mark.parametrize(
    ("name", "line", "code"), EXAMPLES, ids=[f"{name}:{line}" for name, line, _ in EXAMPLES]
)
def test_an_example_runs(name, line, code, small, photo, style, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("photo.jpg", "mask.png"):
        Image.open(photo).save(file)
    for file in ("painting.jpg", "other.jpg", "one.jpg", "two.jpg"):
        Image.open(style).save(file)
    exec(compile("\n" * line + code, name, "exec"), {"__name__": "example"})


def test_the_signatures_in_the_api_are_the_code_s():
    """Each begins as the function's own: later arguments may be left out."""
    text = BLOCK.sub("", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"))
    checked = set()
    for name, arguments in re.findall(r"`([\w.]+)\(([^)`]+)\)`", text):
        first = name.partition(".")[0]
        home = next((home for home in (impasto, impasto.callbacks) if first in home.__all__), None)
        if home:
            signature = inspect.signature(attrgetter(name)(home))
            shown = [each.partition("=")[0].lstrip("*") for each in arguments.split(", ")]
            names = [each for each in shown if each not in ("", "...")]
            assert names == list(signature.parameters)[: len(names)], name
            checked.add(name)
    assert {"paint", "paint_steps", "texture", "Run.prepare", "snapshots"} <= checked


def commands(name: str) -> list[list[str]]:
    """The words after `impasto` of every command of a document's console blocks."""
    found = []
    for _, text in blocks(name, "console"):
        lines = text.splitlines()
        for line, printed in zip(lines, [*lines[1:], ""], strict=True):
            # what a command prints follows it: those that fail are tests/test_troubleshooting.py's
            if line.startswith("$ ") and not printed.startswith("impasto: "):
                words = shlex.split(line[2:], comments=True)
                program = next((k for k, word in enumerate(words) if word == "impasto"), None)
                named = words[0] == "pip" or words[:2] == ["docker", "build"]  # not called
                if program is not None and not named:
                    found.append(words[program + 1 :])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_in_a_document_are_understood(name):
    for words in commands(name):
        try:
            context = cli.make_context("impasto", list(words))
            command, rest = cli, words
            while isinstance(command, click.Group):
                _, command, rest = command.resolve_command(context, rest)
                context = command.make_context("", list(rest), parent=context)
            settings = [each.name for each in command.params if isinstance(each, ConfigOption)]
            changed_by(given({name: context.params[name] for name in settings}), Config())
        except click.exceptions.Exit:
            pass  # --help or --version
        except Exception as error:
            pytest.fail(f"impasto {shlex.join(words)}: {error}")


def options(command: click.Command) -> set[str]:
    """All options of a command and of those below it."""
    below = [command]
    if isinstance(command, click.Group):
        context = click.Context(command)
        below += [command.get_command(context, name) for name in command.list_commands(context)]
    return {
        option
        for each in below
        for parameter in each.get_params(click.Context(each))
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


# the change log names what is gone
@pytest.mark.parametrize("name", [name for name in NAMES if name != "CHANGELOG.md"])
def test_the_options_in_a_sentence_exist(name):
    text = BLOCK.sub("", (ROOT / name).read_text(encoding="utf-8"))
    context = click.Context(cli)
    for code in re.findall(r"`([^`\n]+)`", text):
        match = re.match(r"(?:impasto ([a-z]+) )?.*?(--[a-z-]+)", code)
        if match and (match[1] or code.startswith("--")):
            command = cli.get_command(context, match[1]) if match[1] else cli
            assert command, f"no command in `{code}`"
            assert match[2] in options(command), code


LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    document = ROOT / name
    for link in LINK.findall(BLOCK.sub("", document.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", link):
            target, _, anchor = link.partition("#")
            path = document.parent / target if target else document
            assert path.exists(), link
            assert not anchor or anchor in anchors(path), link


def test_the_tree_of_the_design_is_the_package():
    _, tree = next(block for block in blocks("docs/design.md", "") if "src/impasto/" in block[1])
    shown, room = set(), ""
    for line in tree[: tree.index("training/")].splitlines():
        if match := re.match(r"  ((?:\w+/)+|\w+\.py)", line):
            room = match[1] if match[1].endswith("/") else ""
        shown |= {room + file for file in re.findall(r"\w+\.py\b", line)}
    package = ROOT / "src" / "impasto"
    there = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert shown <= there, shown - there
    commands = {file for file in there if file.startswith("cli/commands/")}
    left_out = {file for file in there - shown - commands if not file.endswith("__init__.py")}
    assert not left_out
