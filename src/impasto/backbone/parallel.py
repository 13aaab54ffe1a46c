"""Share independent work between threads, each of which computes alone.

A core that other programs use too delays every step that waits for all threads. Here the threads
take pieces from one queue and wait once, at its end.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from queue import SimpleQueue
from typing import TypeVar

import torch

__all__ = ["alone", "as_they_come", "initialize_sqrt", "on_streams", "share"]

NAME = "impasto-share"
Piece = TypeVar("Piece")
Result = TypeVar("Result")


def share(pieces: Iterable[Piece], work: Callable[[Iterator[Piece]], None]) -> None:
    """Call `work` in as many threads as torch has here, each with some of the pieces.

    Args:
        pieces: of the work, independent of one another.
        work: receives an iterator, from which it takes pieces until there are no more.
    """
    queue = deque(pieces)
    if len(queue) == 1 or _is_shared():
        work(_taken(queue))  # with all threads in every step, or with none to share with
        return
    inference = torch.is_inference_mode_enabled()

    def compute() -> None:
        # both modes are a thread's own
        with torch.inference_mode(inference), torch.no_grad():
            work(_taken(queue))

    threads = torch.get_num_threads()
    pool = _pool(threads, os.getpid())
    running = [pool.submit(compute) for _ in range(min(threads, len(queue)))]
    try:
        for future in running:
            future.result()
    finally:
        queue.clear()


def as_they_come(
    pieces: Iterable[Piece], work: Callable[[Piece], Iterator[Result]]
) -> Generator[Result, None, None]:
    """Yield what `work` yields for every piece, in the order in which threads get there.

    As many threads as torch has here take the pieces one by one, and each computes without the help
    of others. When it is closed, each thread ends after its next result.

    Args:
        pieces: of the work, independent of one another.
        work: yields the results of a piece; the first error of any piece is raised.
    """
    queue, threads = deque(pieces), torch.get_num_threads()
    if threads == 1 or _is_shared():
        for piece in _taken(queue):
            yield from work(piece)
        return
    initialize_sqrt()
    results = SimpleQueue[Result | Future[None]]()
    stopped = threading.Event()

    def compute() -> None:
        with torch.no_grad():
            for piece in _taken(queue):
                for result in work(piece):
                    results.put(result)
                    if stopped.is_set():
                        return

    with _started(threads) as pool:
        running = {pool.submit(compute) for _ in range(min(threads, len(queue)))}
        for future in running:
            future.add_done_callback(results.put)
        try:
            while running:
                result = results.get()
                if isinstance(result, Future):
                    running.remove(result)
                    result.result()  # raises the thread's error
                else:
                    yield result
        finally:
            stopped.set()


def initialize_sqrt() -> None:
    """Compute one square root, so that all later ones are equally precise.

    If several threads make MKL's first call in a process at once, some of them get less precise
    results: one painting in ten came out different.
    """
    torch.ones(1).sqrt()


def alone(function: Callable[[], Result]) -> Result:
    """Call a function in a thread that computes without the help of others."""
    if _is_shared():
        return function()
    return _pool(torch.get_num_threads(), os.getpid()).submit(function).result()


def on_streams(works: Iterable[Callable[[], object]], device: torch.device) -> None:
    """Call functions that launch kernels on a GPU, each on a CUDA stream of its own.

    Small kernels leave most of a GPU idle: those of several streams run side by side.
    """
    current = torch.cuda.current_stream(device)
    used = []
    for place, work in enumerate(works):
        stream = _stream(place, device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            work()
        used.append(stream)
    for stream in used:
        current.wait_stream(stream)


_of_thread = threading.local()  # a CUDA graph must not hold the work of other threads


def _stream(place: int, device: torch.device) -> torch.cuda.Stream:
    streams: dict[tuple[int, torch.device], torch.cuda.Stream]
    streams = _of_thread.__dict__.setdefault("streams", {})
    if (place, device) not in streams:
        streams[place, device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return streams[place, device]


def _is_shared() -> bool:
    """Whether this thread is one of those that share work: it must not wait for the others."""
    return threading.current_thread().name.startswith(NAME)


def _taken(queue: deque[Piece]) -> Iterator[Piece]:
    while True:
        try:
            yield queue.popleft()
        except IndexError:
            return


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """The threads of a process: a fork does not take them along."""
    return _started(threads)


def _started(threads: int) -> ThreadPoolExecutor:
    """Start threads, each of which has its own number of threads, 1.

    To set it for each piece of work instead would end and start the threads of OpenMP every time.
    """
    pool = ThreadPoolExecutor(threads, NAME, initializer=_use_one_thread)
    begun = threading.Barrier(threads)  # a pool starts no thread while another has nothing to do
    for future in [pool.submit(begun.wait) for _ in range(threads)]:
        future.result()
    torch.set_num_threads(threads)  # what threads that start later take over
    return pool


def _use_one_thread() -> None:
    # at its first use in a thread torch takes over the number that was set last in any thread: now,
    # and not after it is set here
    torch.get_num_threads()
    torch.set_num_threads(1)
