"""Paint the five pairs with the defaults, score them, and make their sheet: python
examples/gallery.py

Needs the pictures and the referee in ../shared. The sheet shows paintings only: the pictures that
they were painted from are not ours to copy. --set field=value tries other settings, for example
--set strength=2.
"""

import argparse
import datetime
import importlib.util
import platform
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from impasto.process import prepare_process

prepare_process()  # before torch is imported: beside other work its threads would spin

from impasto import Config, Painting, paint  # noqa: E402
from impasto.backbone.load import load_backbone  # noqa: E402
from impasto.figures.contact_sheet import contact_sheet  # noqa: E402
from impasto.images.write import write  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
PAIRS = (
    "tiger+starry_night",
    "tubingen+starry_night",
    "lion+great_wave",
    "chicago+composition_vii",
    "face+mosaic",
)

SHEETS = {False: "five_pairs.jpg", True: "sixteen_pairs.jpg"}


def load_referee(shared: Path):
    """Load ../shared/tools/referee.py as a module."""
    spec = importlib.util.spec_from_file_location("referee", shared / "tools" / "referee.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find(folder: Path, name: str) -> Path:
    """The picture `name` in `folder`, whatever its suffix."""
    return next(path for path in sorted(folder.iterdir()) if path.stem == name)


def five_pairs(shared: Path) -> list[tuple[Path, Path]]:
    """The files of PAIRS."""
    images = shared / "images"
    return [
        (find(images / "content", content), find(images / "style", style))
        for content, style in (pair.split("+") for pair in PAIRS)
    ]


def league_pairs(shared: Path) -> list[tuple[Path, Path]]:
    """Sixteen other pairs: each of eight photographs in two paintings."""
    league = shared / "league"
    return [
        (league / "content" / f"{k // 2:02}.jpg", league / "style" / f"{k:02}.jpg")
        for k in range(16)
    ]


def as_painted(content: Path, style: Path, folder: Path) -> Path:
    """A copy of a style whose long side is the content's: as large as it is painted.

    The referee scales a style by the content's factor, so that a file of twice as many pixels has
    strokes of twice the size; impasto gives both the same long side.
    """
    file = folder / f"{style.stem}_as_painted.png"
    with Image.open(content) as photograph, Image.open(style) as picture:
        scale = max(photograph.size) / max(picture.size)
        size = [max(1, round(side * scale)) for side in picture.size]
        picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(file)
    return file


def paint_pairs(
    pairs: Sequence[tuple[Path, Path]],
    config: Config,
    shared: Path,
    folder: Path,
    resized: bool = False,
) -> Iterator[tuple[Painting, dict]]:
    """Yield each painting and its scores; its file is in `folder` only while it is scored.

    resized: score it against the style as large as it was painted.
    """
    referee, backbone = load_referee(shared), load_backbone(config)
    for content, style in pairs:
        painting = paint(content, style, config, backbone=backbone)
        file = painting.save(folder / f"{content.stem}_{style.stem}.png")
        scored = as_painted(content, style, folder) if resized else style
        yield painting, referee.score(content, scored, [file], config.size)[0]
        file.unlink()
        if resized:
            scored.unlink()


def main() -> None:
    """Paint, score, print the table, write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gallery")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--league", action="store_true", help="sixteen other pairs")
    parser.add_argument(
        "--as-painted",
        action="store_true",
        help="score against the style as large as it is painted; the referee scales it as the "
        "content",
    )
    args = parser.parse_args()
    config = Config().changed(**dict(setting.split("=", 1) for setting in args.set))
    pairs = league_pairs(args.shared) if args.league else five_pairs(args.shared)
    args.out.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    print(f"{now:%Y-%m-%d}, {platform.processor() or platform.machine()}, {config.backbone}")
    scored = "w2", "style", "content", "noise"
    print(f"{'':28} " + " ".join(f"{column:>8}" for column in (*scored, "seconds")))
    cells, rows = [], []
    names = [f"{content.stem} + {style.stem}" for content, style in pairs]
    for name, (painting, row) in zip(
        names,
        paint_pairs(pairs, config, args.shared, args.out, args.as_painted),
        strict=True,
    ):
        scores = " ".join(f"{row[column]:8.4f}" for column in scored)
        print(f"{name:28} {scores} {painting.seconds:8.1f}", flush=True)
        rows.append(row)
        cells.append((painting.image, name.replace(" +", ",").replace("_", " ")))
    means = (statistics.mean(row[column] for row in rows) for column in scored)
    print(f"{'mean':28} " + " ".join(f"{mean:8.4f}" for mean in means))
    columns, height = (4, 240) if args.league else (3, 400)
    sheet = [cells[k : k + columns] for k in range(0, len(cells), columns)]
    write(contact_sheet(sheet, height=height), args.out / SHEETS[args.league])


if __name__ == "__main__":
    main()
