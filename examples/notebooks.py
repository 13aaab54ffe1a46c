"""Write the notebooks in examples/notebooks: `python examples/notebooks.py`.

They are committed without outputs; tests/test_examples.py runs their code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "notebooks"
PICTURES = """from PIL import Image

import impasto
from impasto.images.samples import sample_photograph, sample_style

photo, painting = sample_photograph(), sample_style("strokes")  # or paths of your own
Image.open(photo)"""

# Cells: text begins with a #, code with anything else.
NOTEBOOKS = {
    "first_picture": [
        "# A first picture\n\nA photograph is painted in the style of another picture. The samples "
        "here come with impasto and matplotlib.",
        PICTURES,
        "Image.open(painting)",
        "## Paint\n\nSettings are keywords: `help(impasto.Config)` lists them. The painting shows "
        "itself. This one is small, to be done in seconds; leave `size` and `steps` out for the "
        "real one.",
        "painted = impasto.paint(photo, painting, size=192, steps=24)\npainted",
        "## More, or less\n\n`look` is how much is painted.",
        'impasto.paint(photo, painting, size=192, steps=24, look="bold")',
        "## Keep it\n\nThe settings are inside the file: `impasto show painted.png`.",
        'painted.save("painted.png")\nprint(painted, painted.terms)',
        "## Watch, and stop when it pleases",
        "for step in impasto.paint_steps(photo, painting, size=192, steps=24):\n"
        "    if step.number == 12:\n        break\nstep.image",
    ],
    "recipes_and_figures": [
        "# Recipes and figures\n\nA preset is a published recipe; its numbers name their sources.",
        PICTURES,
        'for name, preset in impasto.PRESETS.items():\n    print(f"{name:14} {preset.about}")',
        'recipe = impasto.PRESETS["gatys-lbfgs"]\nprint(recipe.config)\nrecipe.sources',
        "## Paint with two recipes\n\nTheir own steps take minutes; 20 steps by the small network "
        "show the way. Their objectives are different functions: their values do not compare.",
        'quick = {"size": 128, "steps": 20, "backbone": "compact"}\npainted = {\n'
        "    name: impasto.paint(photo, painting, impasto.PRESETS[name].config, **quick)\n"
        '    for name in ("gatys-lbfgs", "layered")\n}',
        "from impasto.figures.contact_sheet import contact_sheet\n\n"
        "contact_sheet([[(each.image, name) for name, each in painted.items()]])",
        "## How the loss falls",
        'import matplotlib.pyplot as plt\n\nfor optimizer in ("lbfgs", "adam"):\n'
        "    steps = impasto.paint_steps(\n"
        "        photo, painting, size=128, steps=30, levels=1, finish=0, optimizer=optimizer\n"
        "    )\n"
        "    plt.semilogy([float(step.value) for step in steps], label=optimizer)\n"
        'plt.xlabel("step")\nplt.ylabel("objective")\nplt.legend()\nplt.savefig("losses.pdf")',
        "## What the network sees",
        'backbone = impasto.load_backbone("compact")\n'
        'features = backbone(painted["layered"].pixels, ["relu1_1", "relu4_2"])\n'
        "{name: tuple(each.shape) for name, each in features.items()}",
    ],
    "masks_and_colors": [
        "# Masks and colors\n\nMasks are pictures: a path, or an array in memory. White is the "
        "region.",
        PICTURES,
        'import numpy as np\n\nother = sample_style("glass")\nmask = np.zeros((100, 100), '
        'np.uint8)\nmask[:50] = 255\nquick = {"size": 160, "steps": 20, "finish": 0}',
        "## Two styles, each in its region",
        "impasto.paint(photo, painting, mask=[(mask, other)], **quick)",
        "## Leave a region more as it is",
        "impasto.paint(photo, painting, protect=mask, protection=100, **quick)",
        "## Whose colors\n\nThe painting's (`style`), the photograph's (`content`), or only its "
        "lightness is painted (`luminance`).",
        "from impasto.figures.contact_sheet import contact_sheet\n\n"
        'colors = ("style", "content", "luminance")\n'
        "contact_sheet(\n    [[(impasto.paint(photo, painting, color=each, **quick).image, each) "
        "for each in colors]]\n)",
        "## The colors of a third picture",
        "impasto.paint(photo, painting, palette=other, **quick)",
    ],
}


def notebook(cells: list[str]) -> dict[str, Any]:
    """A notebook of cells, in version 4 of the format."""
    return {
        "cells": [_cell(k, text) for k, text in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(k: int, text: str) -> dict[str, Any]:
    cell = {"id": f"cell-{k}", "metadata": {}, "source": text.splitlines(keepends=True)}
    if text.startswith("#"):
        return {"cell_type": "markdown", **cell}
    return {"cell_type": "code", "execution_count": None, "outputs": [], **cell}


def write(folder: Path = FOLDER) -> None:
    """Write all notebooks."""
    folder.mkdir(exist_ok=True)
    for name, cells in NOTEBOOKS.items():
        text = json.dumps(notebook(cells), indent=1, ensure_ascii=False) + "\n"
        (folder / f"{name}.ipynb").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
