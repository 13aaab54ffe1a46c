"""The house rules of docs/design.md: who may import whom, what stays light, what is public."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest

import impasto

ROOT = Path(impasto.__file__).parent
MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.py"))
# Each room and what it may import besides itself.
MAY = {
    "errors": set(),
    "threads": set(),
    "parsing": {"errors"},
    "config": {"errors", "parsing"},
    "presets": {"config", "errors"},
    "records": {"errors"},
    "pictures": {"config", "errors", "records"},
    "backbone": {"config", "errors", "pictures"},
    "objective": {"config", "errors", "backbone"},
    "solver": {"config", "errors", "objective"},
    "inputs": {"config", "errors", "pictures", "backbone", "solver", "__init__"},
    "scene": {"config", "parsing", "errors", "pictures", "backbone", "solver", "inputs", "__init__"},
    "memory": {"config", "errors", "backbone"},
    "outcome": {"errors"},
    "painting": {
        "config",
        "errors",
        "outcome",
        "pictures",
        "backbone",
        "objective",
        "solver",
        "inputs",
        "scene",
        "memory",
    },
    "checkpoint": {"config", "errors", "records", "pictures", "backbone", "scene", "memory", "painting", "__init__"},
    "together": {"config", "backbone", "objective", "scene", "memory", "painting"},
    "experiments": {"config", "errors", "presets", "pictures", "backbone", "objective", "inputs", "painting"},
    "apps": {
        "config",
        "parsing",
        "errors",
        "presets",
        "records",
        "pictures",
        "backbone",
        "objective",
        "inputs",
        "scene",
        "memory",
        "outcome",
        "painting",
        "threads",
        "experiments",
        "checkpoint",
        "together",
        "__init__",
    },
}
# Libraries that only one place may load.
ONLY = {
    "matplotlib": {"pictures/plots"},
    "av": {"pictures/film"},
    "gradio": {f"apps/web/{each}" for each in ("controls", "form", "page", "server")},
    "ray": {"apps/batch/cluster", "apps/batch/crew", "apps/batch/spread"},
}


def imported(module: str) -> set[str]:
    """Full names that a module imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            names.add(node.module)
    return names


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("__")])
def test_imports_go_down(module: str) -> None:
    room = module.split("/", maxsplit=1)[0]
    for name in imported(module):
        if name.split(".")[0] == "impasto":
            other = ([*name.split("."), "__init__"])[1]
            assert other == room or other in MAY[room], f"{module} must not import {name}"
        assert module in ONLY.get(name.split(".")[0], {module}), f"{module} must not import {name}"


@pytest.mark.parametrize("module", ["errors", "parsing", "config", "presets", "records"])
def test_torch_stays_out(module: str) -> None:
    assert "torch" not in imported(module)


def test_no_private_name_crosses_a_room() -> None:
    for module in MODULES:
        for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("impasto"):
                assert not [a.name for a in node.names if a.name.startswith("_") and not a.name.endswith("__")], module


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_are_short(module: str) -> None:
    text = (ROOT / f"{module}.py").read_text()
    assert len(text.splitlines()) <= 320, module
    for node in ast.walk(ast.parse(text)):
        # a preset table and the loop's generator are the two that may be a little longer
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{module}.{node.name}"


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith("__")])
def test_all_names_exist_and_are_documented(module: str) -> None:
    loaded = import_module("impasto." + module.replace("/", ".").removesuffix(".__init__"))
    for name in getattr(loaded, "__all__", []):
        thing = getattr(loaded, name)
        assert not isinstance(thing, (type, FunctionType)) or thing.__doc__, f"{module}.{name}"


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
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--style-layers" in done.stdout
