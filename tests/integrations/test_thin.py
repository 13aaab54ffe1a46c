"""Integrations stay thin: each has a README, and under 200 lines of code."""

import ast
from pathlib import Path

import pytest

FOLDERS = sorted(
    path for path in (Path(__file__).parents[2] / "integrations").iterdir() if path.is_dir()
)


def lines_of_code(path: Path) -> int:
    """Lines with a statement or a part of one; docstrings, comments and blank lines are none."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not docstring and not hasattr(node, "body"):
            lines |= set(range(node.lineno, node.end_lineno + 1))
        elif hasattr(node, "body") and isinstance(node, ast.stmt):
            lines |= set(range(node.lineno, node.body[0].lineno))
    return len(lines)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_integration_is_thin_and_says_how_it_is_used(folder):
    assert (folder / "README.md").read_text().count("\n") > 10
    assert sum(lines_of_code(path) for path in folder.rglob("*.py")) < 200
