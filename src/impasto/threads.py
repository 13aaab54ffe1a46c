"""Set how long OpenMP's threads spin while they wait for work.

For entry points: it changes the whole process, which the library never does.
"""

from __future__ import annotations

import os

__all__ = ["SPIN", "spin_briefly"]

# libgomp's default of 300,000 rounds is best on an idle machine. On a busy one a spinning thread
# takes the processor from the thread that it waits for. benchmarks/spinning.py measures both.
SPIN = {"GOMP_SPINCOUNT": "20000"}


def spin_briefly() -> None:
    """Have waiting threads spin briefly and then sleep, unless the environment sets a policy.

    Call it before torch is imported: libgomp reads the environment when it is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in SPIN.items():
            os.environ.setdefault(name, value)
