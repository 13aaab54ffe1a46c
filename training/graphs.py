"""Replay the kernels of a step as a CUDA graph: small networks compute faster than Python asks."""

import gc
from collections.abc import Callable, Hashable
from typing import Any

import torch

WARM_UPS = 3  # calls before a graph is made: libraries choose their kernels in the first


class Graphs:
    """Calls a function, and replays what it launched once it has been called some times.

    function: its tensors stay where they are in memory, and it reads nothing back. For each other
    value of its arguments there is a graph of its own; all share one memory, so a result is to be
    read before the next call. On a CPU the function is called as it is.
    """

    def __init__(self, function: Callable[..., Any], device: torch.device):
        self._function, self._device = function, device
        self._calls: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Any]] = {}
        self._refused = False  # one that cannot be made a graph
        self._memory = torch.cuda.graph_pool_handle() if device.type == "cuda" else None

    def __call__(self, *arguments: Hashable, kind: Hashable = None) -> Any:
        """Return what the function returns; the calls of each `kind` begin with warm-ups."""
        calls = self._calls[kind] = self._calls.get(kind, 0) + 1
        if self._device.type != "cuda" or calls <= WARM_UPS:
            return self._function(*arguments)
        key = kind, arguments
        if key not in self._graphs and not self._refused:
            self._capture(key)
        if self._refused:
            return self._function(*arguments)
        graph, found = self._graphs[key]
        graph.replay()
        return found

    def _capture(self, key: tuple[Hashable, tuple[Hashable, ...]]) -> None:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        gc.collect()
        try:
            with torch.cuda.stream(stream), torch.cuda.graph(graph, self._memory, stream):
                found = self._function(*key[1])
        except RuntimeError as error:
            self._refused = True
            print(f"no CUDA graph of {self._function.__name__}: {error}", flush=True)
        else:
            self._graphs[key] = graph, found
