"""Paint the published recipes with the samples in the package: python examples/recipes.py

Each at its published size, with as many of its steps as STEPS and KERAS say, which takes long.
Paintings are kept in --work, and not painted again if the script is called again. Ctrl-C ends the
painting that is made, which is shown as far as it got.
"""

import argparse
from pathlib import Path

from PIL import Image

from impasto.process import prepare_process

prepare_process()  # before torch is imported: beside other work its threads would spin

from figures import ROOT, impasto  # noqa: E402
from impasto.figures.contact_sheet import Cell, contact_sheet  # noqa: E402
from impasto.images.read import read_settings  # noqa: E402
from impasto.images.samples import sample_photograph, sample_style  # noqa: E402
from impasto.images.write import write  # noqa: E402
from impasto.presets import preset  # noqa: E402

PHOTO, STROKES = sample_photograph(), sample_style("strokes")
STEPS = {"gatys-lbfgs": 300, "noise-start": 500, "lbfgs-tv": 1000, "layered": 2000}
KERAS = (100, 300, 1000)  # steps of keras-tv; its author shows 3,000 to 30,000
LAYERS = ";".join(
    ",".join(f"conv{stage}_1" for stage in range(1, deepest + 1)) for deepest in range(1, 6)
)


def painted(name: str, steps: int, work: Path, more: str = "") -> Path:
    """The painting of a preset after so many steps; painted if it is not there."""
    file = work / f"{name}.png"
    if not file.exists():
        impasto(f"paint {PHOTO} {STROKES} -o {file} --preset {name} --steps {steps} --quiet {more}")
    return file


def cell(file: Path, caption: str) -> Cell:
    """A picture file with a caption."""
    return Image.open(file).convert("RGB"), caption


def of_preset(name: str, file: Path) -> str:
    """A preset and the steps that were made, with those that were published if they are more."""
    steps, published = read_settings(file)["steps_done"], preset(name).config.steps
    return f"{name}\n{steps:,} steps" + (f" of {published:,}" if steps < published else "")


def results(work: Path) -> Image.Image:
    """Content and style, and what the recipes make of them."""
    cells = [cell(PHOTO, "content"), cell(STROKES, "style")]
    for name, steps in STEPS.items():
        file = painted(name, steps, work)
        cells.append(cell(file, of_preset(name, file)))
    return contact_sheet([cells[:3], cells[3:]], height=300)


def adam_with_tv(work: Path) -> Image.Image:
    """The grid of keras-tv: its painting after more and more steps."""
    save_at = ",".join(map(str, KERAS))
    last = painted("keras-tv", KERAS[-1], work, f"--save-at {save_at}")
    files = [*(last.with_stem(f"{last.stem}-{steps:05d}") for steps in KERAS[:-1]), last]
    cells = [cell(file, f"{read_settings(file)['steps_done']:,} steps") for file in files]
    return contact_sheet([cells], height=300)


def main() -> None:
    """Paint, and make the figures, into --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gallery")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "recipes")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    vary = f"compare {PHOTO} {STROKES} --preset gatys-lbfgs --size 256 --quiet --overwrite --vary"
    impasto(f"{vary} style-weight=1e4,1e5,1e6,1e7 -o {args.out}/recipe_ratio.jpg")
    impasto(f"{vary} 'style-layers={LAYERS}' -o {args.out}/recipe_layers.jpg")
    impasto(
        f"{vary} optimizer=lbfgs,adam --vary steps=30,100,300 -o {args.out}/recipe_optimizers.jpg"
    )
    write(results(args.work), args.out / "recipes.jpg")
    write(adam_with_tv(args.work), args.out / "recipe_keras_tv.jpg")


if __name__ == "__main__":
    main()
