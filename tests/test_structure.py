"""The house rules of docs/design.md: who may import whom, what stays light, what is public."""

import ast
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest

import impasto

ROOT = Path(impasto.__file__).parent
MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.py"))
# The rooms of docs/design.md from the ground up: each may import those before it, and itself.
GROUND = (
    "version",
    "errors",
    "extras",
    "parsing",
    "records",
    "backbone/architecture",  # the network's shape: names and numbers
    "fields",
    "config",
    "presets",
    "cgroups",
    "process",
    "locking",
    "signing",
)
ROAD = (
    "images",
    "figures",
    "backbone",
    "objective",
    "solver",
    "painting",
    "film",
    "batch",
    "cluster",
    "web/jobs",
    "web/guard",
    "web/api",
    "web/page",
    "web",
    "cli",
)
ROOMS = (*GROUND, *ROAD, "__init__", "__main__")
APART = {
    *((room, other) for room in ROAD if room.startswith("web") for other in ("batch", "cluster")),
    ("web/page", "web/api"),
    ("batch", "film"),
    ("cluster", "film"),
    ("solver", "objective"),
    ("solver", "backbone"),
    ("solver", "images"),
}
# Libraries that only these modules may load.
ONLY = {
    "matplotlib": {"figures/plots"},
    "av": {"figures/timelapse", "film/clip"},
    "cv2": {"film/flow"},
    "gradio": {
        "web/server",
        "web/api/multipart",
        "web/guard/visitors",
        *(
            f"web/page/{each}"
            for each in (
                "controls",
                "drawings",
                "events",
                "film_form",
                "form",
                "form_layout",
                "page",
                "pictures",
                "quick_look_events",
            )
        ),
    },
    "ray": {
        f"cluster/{each}" for each in ("__init__", "ray_cluster", "ray_executor", "distributed")
    },
}


@cache
def nodes_of(module: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse((ROOT / f"{module}.py").read_text())))


@cache
def imported(module: str) -> set[str]:
    """Full names that a module imports, also inside functions and under TYPE_CHECKING."""
    names = set()
    for node in nodes_of(module):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def neighbors(module: str) -> set[str]:
    """The modules of the package that a module imports."""
    found = set()
    for name in imported(module):
        if name.split(".")[0] == "impasto":
            path = name.removeprefix("impasto").lstrip(".").replace(".", "/")
            above = path.rpartition("/")[0]
            places = (path, above, f"{path}/__init__", f"{above}/__init__")
            found.add(next((each for each in places if each in MODULES), "__init__"))
    return found - {module}


def room_of(module: str) -> str:
    """The innermost room that a module is in."""
    parts = module.split("/")
    paths = ("/".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next(path for path in paths if path in ROOMS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    mine = room_of(module)
    for other in neighbors(module):
        theirs = room_of(other)
        assert ROOMS.index(theirs) <= ROOMS.index(mine), f"{module} must not import {other}"
        assert (mine, theirs) not in APART, f"{module} must not import {other}"
    for name in imported(module):
        assert module in ONLY.get(name.split(".")[0], {module}), f"{module} must not import {name}"


def test_no_two_files_import_each_other_in_a_circle() -> None:
    graph = {module: neighbors(module) for module in MODULES}
    while leaves := [module for module, others in graph.items() if not others & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert not graph, f"in a circle, or leading to one: {sorted(graph)}"


@pytest.mark.parametrize("module", GROUND)
def test_torch_stays_out(module: str) -> None:
    assert not any(name.split(".")[0] == "torch" for name in imported(module))


def test_no_private_name_crosses_a_room() -> None:
    for module in MODULES:
        for node in nodes_of(module):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("impasto"):
                assert not [
                    a.name
                    for a in node.names
                    if a.name.startswith("_") and not a.name.endswith("__")
                ], module


def test_no_picture_is_opened_in_any_format_that_pillow_knows() -> None:
    """Some of them, as PostScript, are programs that would be run."""
    for module in MODULES:
        for node in nodes_of(module):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open":
                assert "formats" in {each.arg for each in node.keywords}, (
                    f"{module} line {node.lineno}"
                )


# The few files that are longer, and how long.
LONGER = {
    "config": 510,  # a table of fields
    "cluster/distributed": 335,
}


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_are_short(module: str) -> None:
    text = (ROOT / f"{module}.py").read_text()
    assert len(text.splitlines()) <= LONGER.get(module, 320), module
    for node in nodes_of(module):
        # most have at most 40 lines; the longest are commands, with their options
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, f"{module}.{node.name}"


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("__")])
def test_all_names_exist_and_are_documented(module: str) -> None:
    if module.endswith("triton_pooling"):
        pytest.importorskip("triton", reason="comes with torch for CUDA alone")
    loaded = import_module("impasto." + module.replace("/", ".").removesuffix(".__init__"))
    for name in getattr(loaded, "__all__", []):
        thing = getattr(loaded, name)
        assert not isinstance(thing, (type, FunctionType)) or thing.__doc__, f"{module}.{name}"


def test_the_lists_of_public_names_are_one() -> None:
    """What type checkers see, what is loaded, and every exception there is."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    seen = {
        alias.asname: node.module if alias.name != "callbacks" else "impasto.painting"
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == impasto.HOMES
    errors = import_module("impasto.errors")
    kinds = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, Exception)
    }
    assert kinds <= set(impasto.__all__)


def test_public_names_resolve() -> None:
    for name in impasto.__all__:
        assert getattr(impasto, name) is not None
    assert callable(impasto.paint)
    assert set(impasto.__all__) <= set(dir(impasto))
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = impasto.nothing_here


LIGHT = """
import sys, impasto
assert not {"torch", "numpy", "PIL", "click"} & set(sys.modules), "import impasto is heavy"
from impasto.cli.main import main
try:
    main(["paint", "--help"])
except SystemExit as stop:
    assert stop.code == 0
heavy = {"torch", "numpy", "PIL", "matplotlib", "h5py", "safetensors"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_does_not_load_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--style-layers" in done.stdout
