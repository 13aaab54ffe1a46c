"""What is to be quick: a sheet of 24 styles, and the quick look at one.

The sheet is the whole command, from its start to the written file; its styles are the samples, each
turned in four ways, or the pictures of a folder. The quick look is made in a process that has made
one before. Processor seconds hardly change when other programs run beside; seconds do.

    python benchmarks/quick.py
    python benchmarks/quick.py --photograph photo.jpg --styles paintings/
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from impasto.process import prepare_process

prepare_process()  # before torch is imported, as the command does

from common import machine, record  # noqa: E402
from PIL import Image  # noqa: E402

from impasto.backbone.load import load_backbone  # noqa: E402
from impasto.config import Config, Machine  # noqa: E402
from impasto.images.samples import STYLES, sample_photograph, sample_style  # noqa: E402
from impasto.painting.preview import preview, preview_config  # noqa: E402
from impasto.painting.tuning import use_threads  # noqa: E402


def turned(folder: Path) -> Path:
    """24 styles in a new folder: the samples, each turned in four ways."""
    folder.mkdir()
    for name in STYLES:
        with Image.open(sample_style(name)) as picture:
            for degrees in (0, 90, 180, 270):
                picture.rotate(degrees, expand=True).save(folder / f"{name}-{degrees}.jpg")
    return folder


def medians(call: Callable[[], object], runs: int) -> dict[str, float]:
    """Median seconds and processor seconds of `call`, those of its child processes included."""
    taken = []
    for _ in range(runs):
        began, before = time.perf_counter(), sum(os.times()[:4])
        call()
        taken.append((time.perf_counter() - began, sum(os.times()[:4]) - before))
    seconds, processor = (statistics.median(kind) for kind in zip(*taken, strict=True))
    return {"seconds": seconds, "processor seconds": processor}


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photograph", type=Path, default=sample_photograph())
    parser.add_argument("--styles", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    config, on = Config(), Machine()
    use_threads(on)
    network = load_backbone(preview_config(config), on)
    style = sample_style("strokes")

    def look() -> object:
        return preview(args.photograph, style, config, on, backbone=network)

    look()
    rows = [{"what": "quick look", **medians(look, 2 * args.runs + 1)}]
    with tempfile.TemporaryDirectory() as place:
        folder, out = args.styles or turned(Path(place) / "styles"), Path(place) / "sheet.jpg"
        command = [sys.executable, "-m", "impasto", "sheet", args.photograph, folder, "-o", out]

        def sheet() -> None:
            subprocess.run([*command, "--overwrite", "--quiet"], check=True, capture_output=True)

        count = len(list(folder.glob("*")))
        rows.append({"what": f"sheet of {count} styles", **medians(sheet, args.runs)})
    print(machine())
    for row in rows:
        taken = f"{row['seconds']:6.2f} s {row['processor seconds']:6.2f} s of processors"
        print(f"{row['what']:20} {taken}")
    record("quick", rows)


if __name__ == "__main__":
    main()
