"""Time and scores of the style terms on three pairs: python benchmarks/style_terms.py.

Needs ../shared. Two cores take about half an hour, most of it for `sliced` and `neighbors`.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from common import PAIRS, SHARED, load_referee, machine, pictures, record

from impasto import Config, paint
from impasto.backbone.load import load_backbone

TERMS = ("gram", "wasserstein", "moments", "sliced", "neighbors")


def main() -> None:
    """Paint, score, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", nargs="*", default=PAIRS[:3])
    parser.add_argument("--terms", nargs="*", default=TERMS)
    parser.add_argument("--size", type=int, default=512)
    args = parser.parse_args()
    referee, backbone = load_referee(SHARED), load_backbone(Config())
    print(f"{machine()}, {args.size} pixels, {', '.join(args.pairs)}")
    print(f"{'':12} {'style':>7} {'content':>8} {'noise':>6} {'seconds':>8}")
    rows = []
    for term in args.terms:
        scores, seconds = [], []
        for pair in args.pairs:
            content, style = pictures(pair)
            painting = paint(
                content, style, Config(size=args.size, style_term=term), backbone=backbone
            )
            seconds.append(painting.seconds)
            with tempfile.TemporaryDirectory() as folder:
                file = painting.save(Path(folder) / "painting.png")
                scores.append(referee.score(content, style, [file])[0])
        row = {
            key: statistics.mean(score[key] for score in scores)
            for key in ("style", "content", "noise")
        }
        rows.append({"term": term, **row, "seconds": statistics.median(seconds)})
        line = (
            f"{row['style']:7.4f} {row['content']:8.3f} {row['noise']:6.2f} "
            f"{rows[-1]['seconds']:8.1f}"
        )
        print(f"{term:12} {line}", flush=True)
    record("style_terms", rows, size=args.size, pairs=args.pairs)


if __name__ == "__main__":
    main()
