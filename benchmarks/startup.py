"""Table 4: start-up of `impasto --help`, import and the first step, each in a new process."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import record, users_environment

FIRST = """
from impasto import Config, paint_steps
from impasto.images.samples import sample_portrait, sample_style
next(paint_steps(sample_portrait(), sample_style("strokes"), Config()))
"""
COMMANDS = {
    "impasto --help": [str(Path(sys.executable).with_name("impasto")), "--help"],
    "import impasto": [sys.executable, "-c", "import impasto"],
    "import torch (most of the next line)": [sys.executable, "-c", "import torch"],
    "the first step at the first level, from nothing": [sys.executable, "-c", FIRST],
}


def seconds(command: list[str]) -> float:
    """Seconds that a command takes."""
    environment = users_environment()
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, env=environment)
    return time.perf_counter() - began


def main() -> None:
    """Measure, print, record."""
    rows = []
    for name, command in COMMANDS.items():
        seconds(command)  # not counted: afterwards its files are in the page cache
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
