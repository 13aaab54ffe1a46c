"""How long OpenMP's threads spin while they wait for work. For entry points: the library never
changes its host."""

from __future__ import annotations

import os

__all__ = ["SPIN", "spin_briefly"]

# libgomp's own 300,000 rounds are best on a quiet machine. Beside other work a spinning thread
# takes the processor from the one that it waits for. benchmarks/spinning.py measures both.
SPIN = {"GOMP_SPINCOUNT": "20000"}


def spin_briefly() -> None:
    """Have waiting threads spin briefly and then sleep, unless the environment says how.

    To be called before torch is imported: libgomp reads its environment when it is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in SPIN.items():
            os.environ.setdefault(name, value)
