"""The documents as a site: every page is in its navigation, what is generated is up to date."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import options

ROOT = Path(__file__).parents[1]
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
MADE = {"reference.md"}  # by mkdocs_hooks.py


def pages(nav: object) -> list[str]:
    """The pages that a navigation names."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages(part)]


def test_the_navigation_names_every_page_once():
    hooks = (ROOT / "mkdocs_hooks.py").read_text(encoding="utf-8")
    elsewhere = dict(re.findall(r'^    "([\w/]+\.md)": "(\w+\.md)",$', hooks, re.MULTILINE))
    assert all((ROOT / source).exists() for source in elsewhere)
    written = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert sorted(pages(SITE["nav"])) == sorted(written | set(elsewhere.values()) | MADE)


def test_the_page_of_options_is_up_to_date():
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == options.text(), (
        "python examples/options.py"
    )


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")))
def test_a_workflow_is_read(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            # what an action can do with its version unsaid is anybody's guess
            assert "run" in step or re.fullmatch(r"[\w./-]+@[\w./]+", step["uses"])


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{citation["version"]}"\n' in project
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")  # the extra docs: make docs
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    built = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
    assert {page.replace(".md", ".html") for page in pages(SITE["nav"])} <= built
    reference = (tmp_path / "reference.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in reference for name in ("impasto.painting.run.paint",))
    assert (tmp_path / "search" / "search_index.json").stat().st_size > 100_000
    for page in tmp_path.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        # what a browser loads by itself; links to other sites are nothing of the kind
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)"', html)
        loaded += re.findall(
            r'<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(http[^"]+)"', html
        )
        assert not loaded, (page.name, loaded)
