"""Table 4: start-up: `impasto --help`, import, and the first step of a painting; each in a new
process."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import record

FIRST = """
from impasto import Config
from impasto.painting import paint_steps
from impasto.images.samples import sample_photograph, sample_style
next(paint_steps(sample_photograph(), sample_style("strokes"), Config()))
"""
COMMANDS = {
    "impasto --help": [str(Path(sys.executable).with_name("impasto")), "--help"],
    "import impasto": [sys.executable, "-c", "import impasto"],
    "import torch (most of the next line)": [sys.executable, "-c", "import torch"],
    "the first step at the first level, from nothing": [sys.executable, "-c", FIRST],
}


def seconds(command: list[str]) -> float:
    """By the clock."""
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure, print, record."""
    rows = []
    for name, command in COMMANDS.items():
        seconds(command)  # its files are in memory from here on
        taken = sorted(seconds(command) for _ in range(7))
        rows.append(
            {
                "what": name,
                "seconds": statistics.median(taken),
                "least": taken[0],
                "most": taken[-1],
            }
        )
        print(rows[-1], flush=True)
    record("startup", rows)


if __name__ == "__main__":
    main()
