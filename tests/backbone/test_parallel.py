"""Work shared between threads: the same numbers, whichever thread computes them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
import torch

from impasto.backbone.parallel import as_they_come

ODD = 13

SHARED = """
import threading
import torch

torch.set_num_threads(2)
from impasto.backbone.parallel import share

products = torch.randn(1, 96, 96, dtype=torch.float64)
matrix = products @ products.mT
seen, threads = [], set()

def work(pieces):
    for _ in pieces:
        seen.append(torch.linalg.eigh(matrix)[1])
        threads.add((threading.current_thread().name, torch.get_num_threads()))

for _ in range(20):
    share(range(6), work)
assert all(torch.equal(seen[0], each) for each in seen)
assert {number for _, number in threads} == {1}, threads
assert torch.get_num_threads() == 2
"""


def test_every_thread_computes_alone_and_alike() -> None:
    """In a process of its own: threads keep the number that was set before their first use."""
    subprocess.run([sys.executable, "-c", SHARED], check=True, timeout=120)


def halves(piece: int) -> Iterator[tuple[int, str]]:
    for part in ("first", "second"):
        if piece == ODD:
            raise ValueError("odd")
        yield piece, part


@pytest.fixture(params=[1, 2])
def threads(request) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_from_all_pieces_each_in_its_order(threads) -> None:
    found = list(as_they_come(range(5), halves))
    assert sorted(found) == [(k, part) for k in range(5) for part in ("first", "second")]
    assert list(as_they_come([], halves)) == []
    assert torch.get_num_threads() == threads


def test_an_error_reaches_the_reader(threads) -> None:
    with pytest.raises(ValueError, match="odd"):
        list(as_they_come([1, ODD, 2], halves))


def test_threads_end_with_the_reader(threads) -> None:
    begun = set()

    def endless(piece: int) -> Iterator[int]:
        begun.add(piece)
        while True:
            yield piece

    with closing(as_they_come(range(20), endless)) as results:
        next(results)
    assert len(begun) <= threads
