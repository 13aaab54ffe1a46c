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

from impasto import Config, Painting, paint
from impasto.backbone.load import load_backbone
from impasto.figures.contact_sheet import contact_sheet
from impasto.images.write import write

ROOT = Path(__file__).resolve().parent.parent
PAIRS = (
    "tiger+starry_night",
    "tubingen+starry_night",
    "lion+great_wave",
    "chicago+composition_vii",
    "face+mosaic",
)
# Other pairs of the same pictures, for a look at settings that were chosen on PAIRS
# (docs/decisions.md).
OTHERS = (
    "lion+wheat_field",
    "chicago+the_scream",
    "figures+candy",
    "face+starry_night",
    "tubingen+mosaic",
)


def load_referee(shared: Path):
    """Load ../shared/tools/referee.py as a module."""
    spec = importlib.util.spec_from_file_location("referee", shared / "tools" / "referee.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find(folder: Path, name: str) -> Path:
    """The picture `name` in `folder`, whatever its suffix."""
    return next(path for path in sorted(folder.iterdir()) if path.stem == name)


def paint_pairs(
    pairs: Sequence[str], config: Config, shared: Path, folder: Path
) -> Iterator[tuple[Painting, dict]]:
    """Yield each painting and its scores; its file is in `folder` only while it is scored."""
    referee, backbone = load_referee(shared), load_backbone(config)
    for content_name, style_name in (pair.split("+") for pair in pairs):
        content = find(shared / "images" / "content", content_name)
        style = find(shared / "images" / "style", style_name)
        painting = paint(content, style, config, backbone=backbone)
        file = painting.save(folder / f"{content_name}_{style_name}.png")
        yield painting, referee.score(content, style, [file])[0]
        file.unlink()


def main() -> None:
    """Paint, score, print the table, write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gallery")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--others", action="store_true", help="score five other pairs; no sheet")
    args = parser.parse_args()
    config = Config().changed(**dict(setting.split("=", 1) for setting in args.set))
    pairs = OTHERS if args.others else PAIRS
    args.out.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    print(f"{now:%Y-%m-%d}, {platform.processor() or platform.machine()}, {config.backbone}")
    columns = "w2", "style", "content", "noise"
    print(f"{'':28} " + " ".join(f"{column:>8}" for column in (*columns, "seconds")))
    cells, rows = [], []
    for pair, (painting, row) in zip(
        pairs, paint_pairs(pairs, config, args.shared, args.out), strict=True
    ):
        scores = " ".join(f"{row[column]:8.4f}" for column in columns)
        print(f"{pair.replace('+', ' + '):28} {scores} {painting.seconds:8.1f}", flush=True)
        rows.append(row)
        cells.append((painting.image, pair.replace("+", ", ").replace("_", " ")))
    means = (statistics.mean(row[column] for row in rows) for column in columns)
    print(f"{'mean':28} " + " ".join(f"{mean:8.4f}" for mean in means))
    if not args.others:
        write(contact_sheet([cells[:3], cells[3:]], height=400), args.out / "five_pairs.jpg")


if __name__ == "__main__":
    main()
