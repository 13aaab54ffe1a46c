"""Threads that share work: each computes alone, and all compute the same."""

import threading
from collections.abc import Iterator

import pytest
import torch

from impasto.backbone import parallel
from impasto.backbone.parallel import alone, share


@pytest.fixture(autouse=True)
def two_new_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    parallel._pool.cache_clear()
    yield
    torch.set_num_threads(before)
    parallel._pool.cache_clear()


def computed() -> int:
    """The threads with which torch computes here, asked after a sum large enough for two."""
    torch.ones(1_000_000).sum()
    return torch.get_num_threads()


def test_a_thread_that_computes_alone_has_no_help() -> None:
    # torch gives a thread the number of the process at its first work, whatever was set before
    assert [alone(computed) for _ in range(3)] == [1, 1, 1]
    assert computed() == 2


def test_all_threads_that_share_work_compute_alone() -> None:
    together, found = threading.Barrier(2), []

    def work(pieces: Iterator[int]) -> None:
        for _ in pieces:
            together.wait(60)  # no thread takes both
            found.append(computed())

    share(range(2), work)
    assert found == [1, 1]
    assert computed() == 2


def test_eigenvectors_are_the_same_in_every_thread() -> None:
    x = torch.randn(128, 300, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    together, found = threading.Barrier(2), []

    def work(pieces: Iterator[int]) -> None:
        for _ in pieces:
            found.append(torch.linalg.eigh(x @ x.T))
            together.wait(60)

    share(range(4), work)
    for values, vectors in found[1:]:
        assert torch.equal(values, found[0][0])
        assert torch.equal(vectors, found[0][1])
