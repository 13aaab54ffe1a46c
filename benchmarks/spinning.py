"""Table 8: how long waiting OpenMP threads should spin, alone and beside a busy loop on every
processor."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import record

from impasto.images.samples import sample_portrait, sample_style

# None: libgomp's own, 300,000; 0: passive waiting
COUNTS = (None, 20_000, 10_000, 5_000, 1_000, 0)
ROUNDS, BUSY_ROUNDS = 5, 2
OPTIONS = ["--draft", "--size", "256", "--json"]


def seconds(count: int | None) -> float:
    """The seconds that one painting in a new process reports."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME")
    }
    environment["GOMP_SPINCOUNT"] = str(300_000 if count is None else count)
    with tempfile.TemporaryDirectory() as folder:
        pictures = [
            str(sample_portrait()),
            str(sample_style("strokes")),
            "-o",
            str(Path(folder) / "out.png"),
        ]
        command = [str(Path(sys.executable).with_name("impasto")), "paint", *pictures, *OPTIONS]
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
    return float(json.loads(done.stdout)["seconds"])


@contextmanager
def busy_loops() -> Iterator[None]:
    """Run a busy loop for every processor."""
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()


def rounds(count: int) -> dict[int | None, float]:
    """Medians by spin count; the counts alternate, so that other load affects all of them."""
    taken: dict[int | None, list[float]] = {each: [] for each in COUNTS}
    for _ in range(count):
        for each in COUNTS:
            taken[each].append(seconds(each))
    return {each: statistics.median(values) for each, values in taken.items()}


def main() -> None:
    """Measure, print, record."""
    quiet = rounds(ROUNDS)
    with busy_loops():
        busy = rounds(BUSY_ROUNDS)
    rows = [
        {
            "spin count": each or (0 if each == 0 else 300_000),
            "quiet": quiet[each],
            "quiet, against 300,000": quiet[each] / quiet[None],
            "busy": busy[each],
            "busy against quiet": busy[each] / quiet[each],
        }
        for each in COUNTS
    ]
    for row in rows:
        print(row, flush=True)
    record("spinning", rows)


if __name__ == "__main__":
    main()
