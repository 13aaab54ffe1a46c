"""Print the peak memory and seconds of `impasto paint`: python benchmarks/peak.py

Whole processes with the defaults, by ways to compute; without huge pages large blocks are kept.
"""

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import machine

from impasto.images.samples import sample_photograph, sample_style
from impasto.process import HUGE_PAGES

LOADED = "import torch, impasto, impasto.cli.main"
WINOGRAD = ("--precision", "float32", "--convolution", "winograd")
WAYS = {
    "the fastest": (),
    "bfloat16": ("--precision", "bfloat16"),
    "float32, winograd": WINOGRAD,
}


def measure(words: list[str], huge_pages: str = "1") -> tuple[float, float]:
    """The peak memory, in 2^20 bytes, and the seconds of a command."""
    began = time.perf_counter()
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, env={**os.environ, HUGE_PAGES: huge_pages}
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return used.ru_maxrss / 1024, time.perf_counter() - began


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pair", nargs=2, default=[sample_photograph(), sample_style("strokes")])
    parser.add_argument("--size", type=int, default=512, help="[default: 512]")
    args = parser.parse_args()
    print(f"{datetime.date.today()}  {machine()}, {args.size} pixels")
    peak, _ = measure([sys.executable, "-c", LOADED])
    print(f"{'interpreter, torch, impasto':36} {peak:6.0f} MB", flush=True)
    program = str(Path(sys.executable).with_name("impasto"))
    with tempfile.TemporaryDirectory() as folder:
        out = ("-o", str(Path(folder) / "out.png"), "--overwrite", "--quiet")
        paint = [program, "paint", *map(str, args.pair), "--size", str(args.size), *out]
        for name, options in WAYS.items():
            for huge_pages in ("1", "0"):
                peak, seconds = measure([*paint, *options], huge_pages)
                pages = "huge" if huge_pages == "1" else "usual"
                print(
                    f"{name + ', ' + pages + ' pages':36} {peak:6.0f} MB {seconds:6.1f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
