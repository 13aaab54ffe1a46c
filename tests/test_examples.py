"""The examples run: notebooks, and the scripts of a hobbyist, a student and a programmer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest
from PIL import Image

import notebooks
from impasto.images.samples import STYLES, sample_photograph, sample_style

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))


def test_the_notebooks_are_what_the_script_writes(tmp_path):
    notebooks.write(tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in NOTEBOOKS}
    for text in written.values():
        for cell in json.loads(text)["cells"]:
            if cell["cell_type"] == "code":
                compile("".join(cell["source"]), "cell", "exec")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    names = {"__name__": "__main__"}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), path.name, "exec"), names)


@pytest.fixture
def pictures(tmp_path):
    """A photograph, another, and a folder of paintings, in `tmp_path`."""
    for name in ("photo", "other"):
        Image.open(sample_photograph()).convert("RGB").resize((96, 80)).save(
            tmp_path / f"{name}.jpg"
        )
    (tmp_path / "paintings").mkdir()
    for name in STYLES:
        Image.open(sample_style(name)).resize((96, 80)).save(tmp_path / "paintings" / f"{name}.jpg")
    return tmp_path


def run(folder: Path, *command: object) -> str:
    """Run a command in a folder, with `impasto` on its path, small and quick."""
    scripts = folder / "bin"
    scripts.mkdir()
    program = scripts / "impasto"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m impasto "$@"\n')
    program.chmod(0o755)
    settings = {"SIZE": "64", "STEPS": "8", "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_hobbyist_s_commands(pictures):
    out = run(pictures, "sh", EXAMPLES / "hobbyist.sh", "photo.jpg", "paintings")
    assert "impasto paint photo.jpg" in out
    assert {"sheet.jpg", "looks.png", "painted.png", "again.png"} <= set(os.listdir(pictures))


@pytest.mark.slow
def test_the_student_s_figures(pictures):
    style = f"paintings/{STYLES[0]}.jpg"
    run(pictures, "sh", EXAMPLES / "student.sh", "photo.jpg", "other.jpg", style)
    for name in ("recipes.pdf", "curves.pdf"):
        assert (pictures / name).read_bytes().startswith(b"%PDF")
    first = (pictures / "losses.csv").read_text().splitlines()[0]
    assert first.startswith("run,step,level,objective,content")
    assert (pictures / "iterations.png").exists()


@pytest.mark.slow
def test_the_programmer_s_script(pictures):
    style = f"paintings/{STYLES[0]}.jpg"
    out = run(
        pictures, sys.executable, EXAMPLES / "programmer.py", "photo.jpg", style, 64
    ).splitlines()
    assert "size=7: it takes a whole number" in out[2]
    assert out[3] == "done (64, 53)"
    assert out[4] == "422 no field 'styles': did you mean style?"
