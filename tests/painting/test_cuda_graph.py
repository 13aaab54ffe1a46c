"""CUDA graphs without a GPU: what is replayed, and what is done where there can be no graph."""

from contextlib import contextmanager, nullcontext

import pytest
import torch

from impasto.objective.objective import Loss
from impasto.painting.cuda_graph import WARM_UPS, CudaGraph


class FakeGraph:
    """Runs a function again at the same tensor, and leaves the results where they were."""

    function = given = found = None

    def replay(self) -> None:
        for (loss, gradient), (new, other) in zip(
            self.found, self.function(self.given), strict=True
        ):
            loss.total.copy_(new.total)
            loss.term_values.copy_(new.term_values)
            gradient.copy_(other)


def squares(pixels: torch.Tensor) -> list[tuple[Loss, torch.Tensor]]:
    """The sum of squares and its gradient."""
    values = pixels.square().sum()[None]
    return [(Loss(values.sum(), values, ("squares",)), 2 * pixels)]


@pytest.fixture(autouse=True)
def streams(monkeypatch):
    """Streams that do nothing, and no graph that was refused before."""
    monkeypatch.setattr("torch.cuda.current_stream", lambda: None)
    monkeypatch.setattr("torch.cuda.stream", nullcontext)
    monkeypatch.setattr("impasto.painting.cuda_graph._refused", [])


@pytest.fixture
def captured(monkeypatch):
    """Stand-ins for torch's graphs; returns the calls of the function while one was captured."""
    calls = []

    @contextmanager
    def capture(graph: FakeGraph, capture_error_mode: str):
        def function(pixels):
            calls.append(pixels)
            return squares(pixels)

        graph.function = function
        yield

    monkeypatch.setattr("torch.cuda.CUDAGraph", FakeGraph)
    monkeypatch.setattr("torch.cuda.graph", capture)
    return calls


def test_after_the_warm_ups_kernels_are_replayed(captured, monkeypatch) -> None:
    graph = CudaGraph(squares)
    given = [torch.full((2,), float(k)) for k in range(1, WARM_UPS + 4)]
    real = CudaGraph._capture

    def capture(self: CudaGraph, pixels: torch.Tensor) -> None:
        real(self, pixels)
        self._graph.given, self._graph.found = self._given, self._found

    monkeypatch.setattr(CudaGraph, "_capture", capture)
    results = [graph(pixels) for pixels in given]
    for pixels, [(loss, gradient)] in zip(given, results, strict=True):
        assert loss.total == pixels.square().sum()  # not overwritten by later replays
        assert torch.equal(gradient, 2 * pixels)
        assert loss.names == ("squares",)
    assert len(captured) == len(given) - WARM_UPS


def test_where_there_can_be_no_graph_it_is_said_and_computed(monkeypatch, caplog) -> None:
    @contextmanager
    def refuse(graph, capture_error_mode):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")
        yield

    monkeypatch.setattr("torch.cuda.CUDAGraph", FakeGraph)
    monkeypatch.setattr("torch.cuda.graph", refuse)
    graph = CudaGraph(squares)
    for k in range(WARM_UPS + 3):
        [(loss, _)] = graph(torch.full((2,), float(k)))
        assert loss.total == 2 * k**2
    other = CudaGraph(squares)  # is not even tried
    assert all(len(other(torch.ones(2))) == 1 for _ in range(WARM_UPS + 2))
    [record] = caplog.records
    assert record.message.endswith("operation not permitted when stream is capturing")
