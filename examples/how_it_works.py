"""Make the pictures of docs/how-it-works.md: python examples/how_it_works.py

With the samples in the package, small: some minutes on two cores; nothing is downloaded.
"""

import argparse
from pathlib import Path

from PIL import Image

import impasto
from impasto.figures.contact_sheet import Cell, contact_sheet
from impasto.images.samples import sample_photograph, sample_style
from impasto.images.write import write

ROOT = Path(__file__).resolve().parent.parent
PHOTO, STROKES, WOODCUT = sample_photograph(), sample_style("strokes"), sample_style("woodcut")
SIZE = 192


def shown(path: Path, role: str) -> Cell:
    """A sample, as small as the paintings beside it."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((SIZE, SIZE))
    return image, f"{role}\n{path.name}"


def statistics() -> Image.Image:
    """What the Gram matrix and the Wasserstein distance keep of two styles: textures from noise."""
    rows: list[list[Cell]] = []
    for path in (STROKES, WOODCUT):
        row = [shown(path, "style")]
        for term in ("gram", "moments", "wasserstein"):
            texture = impasto.texture(
                path, (SIZE, 128), style_term=term, grain_weight=0, finish=0, steps=70
            )
            row.append((texture.image, f"texture\n{term}"))
        rows.append(row)
    return contact_sheet(rows, height=200)


def student_and_teacher() -> Image.Image:
    """The same painting by the network in the package, by VGG-19, and as the defaults do it."""
    ways = {
        "compact alone\n--finish 0": {"finish": 0},
        "compact, then VGG-19\nthe default": {},
        "VGG-19 alone\n--backbone vgg19": {"backbone": "vgg19"},
    }
    row = [shown(PHOTO, "content"), shown(STROKES, "style")]
    for caption, settings in ways.items():
        row.append((impasto.paint(PHOTO, STROKES, size=SIZE, **settings).image, caption))
    return contact_sheet([row], height=200)


def main() -> None:
    """Make the figures, into --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gallery")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    write(statistics(), out / "statistics.jpg")
    write(student_and_teacher(), out / "student_teacher.jpg")


if __name__ == "__main__":
    main()
