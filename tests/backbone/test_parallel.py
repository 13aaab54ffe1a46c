"""Threads that share work, each computing alone."""

import os
import threading

import torch

from impasto.backbone import parallel


def test_every_thread_computes_alone() -> None:
    """torch would give a thread the number that was set last anywhere, at its first operation."""
    before = torch.get_num_threads()
    try:
        pool = parallel._pool(3, os.getpid())
        assert torch.get_num_threads() == 3
        assert pool.submit(torch.get_num_threads).result(20) == 1
        together = threading.Barrier(3)

        def threads() -> int:
            together.wait(20)
            torch.ones(300, 300) @ torch.ones(300, 300)
            return torch.get_num_threads()

        assert [each.result(20) for each in [pool.submit(threads) for _ in range(3)]] == [1, 1, 1]
    finally:
        torch.set_num_threads(before)
