"""Tune the process for one painting: its threads, and the C library's allocator.

For entry points: it changes the whole process, which the library never does.
"""

from __future__ import annotations

import torch

from impasto.backbone.vgg import Backbone
from impasto.config import Machine
from impasto.painting.allocator import MOST, keep_big_blocks, largest_kept
from impasto.painting.memory import Plan

__all__ = ["MOST_THREADS", "tune_allocator", "use_threads"]

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
    keep_big_blocks(min(up_to, largest_kept(backbone.dtype)))
