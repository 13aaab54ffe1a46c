"""The library works without the extras; what needs one says in one line how to install it."""

import subprocess
import sys
from pathlib import Path

import pytest

from impasto.backbone.weight_files import load_file
from impasto.errors import PictureError, WeightsError
from impasto.extras import EXTRAS, needs_extra
from impasto.images.samples import sample_portrait

ROOT = Path(__file__).parents[1]
BLOCKED = f"""
import sys
for name in {sorted(name for modules in EXTRAS.values() for name in modules)}:
    sys.modules[name] = None  # `import name` raises ModuleNotFoundError
"""
PAINT = """
from pathlib import Path
from PIL import Image
import impasto
from impasto.figures.contact_sheet import contact_sheet

settings = dict(size=32, steps=2, backbone=sys.argv[1])
photo, style = (Image.open(path) for path in sys.argv[2:4])
painting = impasto.paint(photo, style, **settings)
painting.save("painting.png")
assert [step.number for step in impasto.paint_steps(photo, style, **settings)] == [1, 2]
impasto.texture(style, (32, 32), steps=2, backbone=sys.argv[1])
contact_sheet([[(painting.image, "painted")]])
try:
    import impasto.figures.plots
except impasto.OutputError as error:
    print(error)
"""


def python(code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def test_without_extras_the_library_paints_and_a_plot_says_what_it_needs(
    tiny_weights, photo, style, tmp_path
):
    done = python(PAINT, tiny_weights, photo, style, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "painting.png").exists()
    assert done.stdout == needs_extra("a plot", "plots") + "\n"


def test_without_its_extra_the_command_line_says_how_to_install_it(tmp_path):
    done = python("import runpy; runpy.run_module('impasto', run_name='__main__')", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "impasto: the command line needs an extra: pip install 'impasto[cli]' "
        "(in a checkout: pip install -e '.[cli]')\n"
    )


def test_a_file_of_keras_says_how_to_install_h5py(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsError) as error:
        load_file(Path("vgg19.h5"))
    assert str(error.value) == needs_extra("vgg19.h5 is a file of Keras, which", "keras")


def test_the_portrait_says_how_to_install_matplotlib(monkeypatch):
    monkeypatch.setattr("impasto.images.samples.find_spec", lambda name: None)
    with pytest.raises(PictureError, match=r"pip install 'impasto\[plots\]'"):
        sample_portrait()


def test_the_extras_are_those_of_the_project():
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert extras.keys() - EXTRAS.keys() == {"all", "dev", "docs"}
    (everything,) = extras["all"]
    assert set(everything.removeprefix("impasto[").removesuffix("]").split(",")) == EXTRAS.keys()
