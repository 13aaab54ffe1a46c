"""Work shared between threads: the same numbers, whichever thread computes them."""

import subprocess
import sys

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
