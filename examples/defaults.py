"""How the defaults were chosen: paint five pairs with other settings, score them, make a sheet:
python examples/defaults.py

Needs the pictures and the referee in ../shared. Writes docs/gallery/defaults.jpg, paintings only.
"""

import argparse
import datetime
import statistics
import tempfile
from pathlib import Path

from gallery import ROOT, five_pairs, league_pairs, paint_pairs
from impasto import Config
from impasto.config import DRAFT
from impasto.figures.contact_sheet import contact_sheet
from impasto.images.write import write

LEAN = "relu1_1,relu2_1,relu3_1,relu4_1=0.5,relu5_1=0.1"
SETTINGS: dict[str, dict[str, object]] = {
    "default": {},
    "--draft": DRAFT,
    "--look subtle": {"look": "subtle"},
    "--look bold": {"look": "bold"},
    "shallow layers weigh more": {"style_layers": LEAN, "style_weight": 3},
    "Gram matrices": {"style_term": "gram", "style_weight": 3.5},
    "VGG-19 alone, 260 steps": {"backbone": "vgg19", "finish": 0, "steps": 260},
}
SHOWN = 3  # of the pairs


def main() -> None:
    """Paint, print the table, write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--only", action="append", choices=SETTINGS, metavar="SETTING")
    parser.add_argument("--league", action="store_true", help="sixteen other pairs; no sheet")
    args = parser.parse_args()
    pairs = league_pairs(args.shared) if args.league else five_pairs(args.shared)
    print(f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, {args.size} pixels, means")
    print(f"{'':28} {'w2':>8} {'content':>8} {'noise':>14} {'seconds':>8}")
    rows = []
    for name in args.only or SETTINGS:
        config = Config(size=args.size).changed(**SETTINGS[name])
        with tempfile.TemporaryDirectory() as folder:
            painted = list(paint_pairs(pairs, config, args.shared, Path(folder)))
        paintings, scores = zip(*painted, strict=True)
        w2, content = (statistics.mean(row[key] for row in scores) for key in ("w2", "content"))
        noises = [row["noise"] for row in scores]
        noise = f"{min(noises):.2f} to {max(noises):.2f}"
        seconds = statistics.mean(painting.seconds for painting in paintings)
        print(f"{name:28} {w2:8.3f} {content:8.2f} {noise:>14} {seconds:8.1f}", flush=True)
        shown = paintings[:SHOWN]
        rows.append([(painting.image, name if not k else "") for k, painting in enumerate(shown)])
    if not args.only and not args.league:
        write(contact_sheet(rows, height=240), ROOT / "docs" / "gallery" / "defaults.jpg")


if __name__ == "__main__":
    main()
