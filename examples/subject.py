"""Draw docs/gallery/subject.jpg: two paintings without and with --protect auto.

    python examples/subject.py

Needs the pictures in ../shared. The sheet shows paintings only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import impasto
from impasto.figures.contact_sheet import contact_sheet
from impasto.images.write import write

ROOT = Path(__file__).resolve().parent.parent
CONTENTS = ("tiger", "face")
STYLE = "starry_night"


def main() -> None:
    """Paint, and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/gallery/subject.jpg")
    parser.add_argument("--size", type=int, default=288)
    args = parser.parse_args()
    images = args.shared / "images"
    cells = []
    for content in CONTENTS:
        for protect, caption in (("", "as it is"), ("auto", "--protect auto")):
            painting = impasto.paint(
                images / "content" / f"{content}.jpg",
                images / "style" / f"{STYLE}.jpg",
                size=args.size,
                steps=60,
                protect=protect,
            )
            print(content, caption, *painting.notes, flush=True)
            cells.append((painting.image, caption))
    write(contact_sheet([cells]), args.out)


if __name__ == "__main__":
    main()
