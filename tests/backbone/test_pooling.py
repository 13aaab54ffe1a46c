"""Pooling: maxima, where they were, and the gradient back to there."""

import pytest
import torch
import torch.nn.functional as F

from impasto.backbone.pooling import max_pool, max_unpool


@pytest.mark.parametrize("size", [(1, 8, 16, 32), (2, 3, 7, 9), (1, 2, 2, 40_000)])
def test_a_gradient_goes_back_to_the_maxima(size: tuple[int, int, int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    y = torch.rand(size, generator=generator).contiguous(memory_format=torch.channels_last)
    y.requires_grad_()
    expected = F.max_pool2d(y, 2)
    g = torch.rand(expected.shape, generator=generator)
    g = g.contiguous(memory_format=torch.channels_last)
    pooled, within = max_pool(y.detach())
    assert torch.equal(pooled, expected)
    assert within.element_size() == (2 if size[3] < 30_000 else 4)  # where torch has 8
    assert torch.equal(max_unpool(g, within, y.shape), torch.autograd.grad(expected, y, g)[0])
