"""What is published: built, complete and without stray files, installed elsewhere and run there."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "impasto"
MOST_BYTES = 12_000_000  # of each file; 9.8 MB are the network
LIBRARY = """
from pathlib import Path
import impasto
from impasto.images.samples import sample_photograph, sample_style

assert "site-packages" in impasto.__file__, impasto.__file__
impasto.paint(sample_photograph(), sample_style("strokes"), size=64, steps=2).save("library.png")
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    # without isolation, which would fetch hatchling
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


def call(*command: object, cwd: Path = ROOT, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_index_would_take_it(built):
    call(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir())
    assert all(path.stat().st_size < MOST_BYTES for path in built.iterdir())
    assert len(list(built.iterdir())) == 2


def test_the_wheel_is_the_package_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
    there = {
        f"impasto/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == there
    assert {
        "impasto/py.typed",
        "impasto/backbone/compact.safetensors",
        "impasto/samples/lake.jpg",
        "impasto/samples/strokes.jpg",
        "impasto/web/page/page.css",
    } <= names
    kinds = {name.rpartition(".")[2] for name in names}
    assert kinds == {"py", "typed", "safetensors", "jpg", "css", "js"}


def test_the_source_distribution_is_what_is_committed(built):
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    committed = set(call("git", "ls-files", "--cached", "--others", "--exclude-standard").split())
    left_out = {name for name in committed - names if not name.startswith("docs/gallery/")}
    assert names - committed == {"PKG-INFO"}
    assert not left_out
    assert not [name for name in names if re.search(r"\.(pyc|part|orig|log)$|^shared/", name)]


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The programs of an environment with the wheel; torch and the rest are this environment's."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder, with_pip=False, symlinks=True)
    here = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", here))
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    programs = Path(sysconfig.get_path("scripts", "venv", here))
    (wheel,) = built.glob("*.whl")
    command = (sys.executable, "-m", "pip", "--python", programs / "python", "install")
    call(*command, "--quiet", "--no-deps", "--no-index", "--force-reinstall", wheel)
    return programs


def test_installed_elsewhere_the_library_paints(installed, tmp_path):
    call(installed / "python", "-c", LIBRARY, cwd=tmp_path)
    assert (tmp_path / "library.png").exists()


def test_installed_elsewhere_the_command_runs(installed, tmp_path):
    program = installed / "impasto"
    samples = next(installed.parent.rglob("impasto/samples"))
    pictures = (samples / "lake.jpg", samples / "strokes.jpg")
    size = ("--size", "64", "--steps", "2", "--quiet")
    call(program, "paint", *pictures, *size, "-o", "painting.png", cwd=tmp_path)
    assert (tmp_path / "painting.png").exists()
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert call(program, "--version", cwd=tmp_path) == f"impasto, version {version[1]}\n"
    assert "--max-upload" in call(program, "serve", "--help", cwd=tmp_path)
    source = call(program, cwd=tmp_path, _IMPASTO_COMPLETE="bash_source")
    assert "_impasto_completion" in source


def test_the_demo_runs_elsewhere(installed, tmp_path):
    call(installed / "impasto", "demo", cwd=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "impasto-demo.png",
        "impasto-demo-sheet.png",
    }


def test_every_command_has_a_man_page(tmp_path):
    call(sys.executable, ROOT / "examples" / "man_pages.py", tmp_path, PYTHONPATH=str(ROOT / "src"))
    names = {path.stem for path in tmp_path.iterdir()}
    assert {"impasto", "impasto-paint", "impasto-serve", "impasto-weights-fetch"} <= names
    assert "\\-\\-strength" in (tmp_path / "impasto-paint.1").read_text()
