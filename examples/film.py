"""Make the picture of docs/film.md: a clip of the sample photograph, painted, as a contact sheet.

python examples/film.py [--clip clip.mp4]: minutes on two cores; nothing is downloaded. --clip only
makes the clip.
"""

import argparse
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from impasto.figures.contact_sheet import contact_sheet
from impasto.film.clip import open_clip
from impasto.images.samples import sample_style
from impasto.images.write import to_image, write

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))
from films import MadeFilm, photograph  # noqa: E402
from movies import write_clip  # noqa: E402

SIZE = (144, 192)
SHOWN = (1, 4, 8, 12)  # frames
COUNT = 12
STYLES = ("strokes", "woodcut")


def make_clip(path: Path) -> Path:
    """A camera that pans and zooms over the photograph; a disc moves in front of it."""
    film = MadeFilm(photograph(*SIZE), pan=1.2, zoom=-0.01, disc=2.3)
    frames = [np.asarray(to_image(film.frame(t))) for t in range(COUNT)]
    return write_clip(path, frames, [40 * t for t in range(COUNT)], sound="aac")


def main() -> None:
    """Make the clip, paint it in two styles, and draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip")
    parser.add_argument("--out", default=str(ROOT / "docs" / "gallery" / "film.jpg"))
    arguments = parser.parse_args()
    if arguments.clip:
        make_clip(Path(arguments.clip))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = make_clip(folder / "clip.mp4")
        shown = [f for f in open_clip(str(clip), Fraction(25)).frames(print) if f.number in SHOWN]
        rows = [[(Image.fromarray(f.pixels), f"frame {f.number}") for f in shown]]
        for style in STYLES:
            out = folder / style
            words = ["film", clip, sample_style(style), "-o", f"{out}/", "--size", SIZE[1]]
            words += ["--look", "subtle", "--check"]  # the face is to stay one
            command = [sys.executable, "-m", "impasto", *map(str, words)]
            subprocess.run(command, check=True)
            files = [out / f"{f.number:06d}.png" for f in shown]
            rows.append([(Image.open(file).convert("RGB"), style) for file in files])
        write(contact_sheet(rows, height=SIZE[0]), arguments.out)


if __name__ == "__main__":
    main()
