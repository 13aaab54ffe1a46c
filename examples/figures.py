"""Make one of each figure for docs/gallery, with the samples in the package: python
examples/figures.py

Every figure is one command, printed before it runs. Takes minutes on two cores; nothing is
downloaded.
"""

import argparse
import shlex
import tempfile
from pathlib import Path

from impasto.cli.main import cli
from impasto.images.samples import sample_photograph, sample_style

ROOT = Path(__file__).resolve().parent.parent


def impasto(command: str) -> None:
    """Run `impasto COMMAND`, as it would be typed."""
    print(f"$ impasto {command}", flush=True)
    code = cli.main(shlex.split(command), "impasto", standalone_mode=False)
    if code:
        raise SystemExit(code)


def main() -> None:
    """Make every figure, into --out; intermediate files are in a temporary folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gallery")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    photo, strokes = sample_photograph(), sample_style("strokes")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        steps = "1,4,10,20,40,70,100"
        impasto(
            f"paint {photo} {strokes} -o {run}/painting.png --quiet --save-at {steps} "
            f"--timelapse {out}/timelapse.webp --figure {out}/demo.jpg --trace {run}/L-BFGS.jsonl"
        )
        snapshots = " ".join(f"{run}/painting-{int(step):05d}.png" for step in steps.split(","))
        impasto(f"grid {snapshots} -o {out}/progress.jpg --columns 7")
        impasto(
            f"paint {photo} {strokes} -o {run}/adam.png --quiet --optimizer adam --trace "
            f"{run}/Adam.jsonl"
        )
        impasto(f"curves {run}/L-BFGS.jsonl -o {out}/curves.png")
        impasto(f"curves {run}/L-BFGS.jsonl {run}/Adam.jsonl -o {out}/optimizers.png")
    impasto(f"features {photo} -o {out}/features.jpg")
    impasto(f"features --network --preset layered -o {out}/network.png")
    impasto(f"reconstruct --content {photo} --style {strokes} -o {out}/reconstruct.jpg --quiet")
    impasto(f"texture {sample_style('glass')} --size 768x384 -o {out}/texture.jpg --quiet")
    impasto(
        f"compare {photo} {sample_style('woodcut')} --vary optimizer=lbfgs,adam --vary "
        "strength=0.3,1,3 "
        f"--size 384 -o {out}/compare.jpg --quiet"
    )


if __name__ == "__main__":
    main()
