"""Tune the process for one painting: its threads, and the C library's allocator.

For entry points: it changes the whole process, which the library never does.
"""

from __future__ import annotations

import torch

from impasto.backbone.vgg import Backbone
from impasto.config import Machine
from impasto.painting.allocator import MOST, has_huge_pages, keep_big_blocks
from impasto.painting.memory import Plan

__all__ = ["MOST_THREADS", "tune_allocator", "use_threads"]

# Bytes of the largest block that is kept in float32 where pages are huge: larger ones cost a tenth
# of a step when they come anew, and a fifth of the memory, in gaps, when they are kept. In bfloat16
# all are half as large, and steps on matrix units too short for that (docs/speed.md).
KEPT_IN_FLOAT32 = 6 << 20
MOST_THREADS = torch.get_num_threads()  # of torch's own choice, which the environment limits


def use_threads(machine: Machine, most: int = MOST_THREADS) -> None:
    """Have this thread compute a painting with the number of threads that `machine` asks for.

    Another number adds up sums in another order, and so changes the last bits of the painting: it
    is in the record.

    Args:
        machine: its `threads`.
        most: the number for `auto`: even a painting of 32 pixels gains by a second thread.
    """
    torch.set_num_threads(most if machine.threads == "auto" else machine.threads)


def tune_allocator(plan: Plan, backbone: Backbone) -> None:
    """Make the process's allocator keep the blocks that a painting frees at every step."""
    if backbone.device.type != "cpu":
        return
    up_to = MOST if plan.tile_size is None else plan.block
    if backbone.dtype == torch.float32 and has_huge_pages():
        up_to = min(up_to, KEPT_IN_FLOAT32)
    keep_big_blocks(up_to)
