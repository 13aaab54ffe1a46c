"""A stand-in for torch's CUDA graphs on the CPU: operations are recorded, undone, and replayed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["RecordedGraph", "record"]


class _Recorder(TorchDispatchMode):
    """Keeps every operation with its arguments and results, and what tensors held before they were
    written to. Reading a number back fails, as it does on a GPU during a capture."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple] = []
        self.before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if "local_scalar" in str(operation):
            raise RuntimeError("a number was read back")
        arguments = operation._schema.arguments
        given = [*zip(arguments, args, strict=False)]
        given += [(each, kwargs[each.name]) for each in arguments if each.name in kwargs]
        for argument, value in given:
            if argument.alias_info and argument.alias_info.is_write:
                whole = value if value._base is None else value._base
                self.before.setdefault(id(whole), (whole, whole.clone()))
        result = operation(*args, **kwargs)
        self.operations.append((operation, args, kwargs, result))
        return result


class RecordedGraph:
    """Replays what `record` saw, into the same memory."""

    recorder: _Recorder

    def replay(self) -> None:
        for operation, args, kwargs, result in self.recorder.operations:
            new = operation(*args, **kwargs)
            for old, other in zip(tree_leaves(result), tree_leaves(new), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != other.data_ptr():
                    old.copy_(other)


@contextmanager
def record(graph: RecordedGraph, capture_error_mode: str) -> Iterator[None]:
    """Stand in for `torch.cuda.graph`: nothing has changed when it ends."""
    graph.recorder = _Recorder()
    with graph.recorder:
        yield
    for tensor, before in graph.recorder.before.values():
        tensor.copy_(before)
