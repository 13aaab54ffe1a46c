"""The tree of errors: what counts as too little memory, and how values are shown."""

import pytest
import torch

from impasto.errors import out_of_memory, shortened


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate "
            "memory: you tried ..."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_what_an_allocator_says_is_too_little_memory(error) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("Expected all tensors to share the memory format"),
        ValueError("out of memory"),
    ],
)
def test_other_errors_that_mention_memory_are_not(error) -> None:
    assert not out_of_memory(error)


def test_values_that_cannot_be_shown_are_named() -> None:
    assert shortened(10**5000) == "of type int, and too long to be shown"
    assert shortened("x" * 500).endswith("...")
