"""Convolutions of bytes against exact ones: forward, back, alone and among others, and at the
limits."""

import pytest
import torch

from impasto.backbone import int8
from impasto.backbone.convolution import Convolution
from impasto.backbone.int8 import Int8Convolution, has_int8

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(not has_int8(), reason="this processor has no products of bytes")


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def maps(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return numbers(seed, *shape).to(dtype).contiguous(memory_format=torch.channels_last)


def convolutions(
    inward: int, outward: int, dtype: torch.dtype = torch.float32
) -> tuple[Convolution, Convolution]:
    """One of bytes, and the exact one."""
    kernel = numbers(1, outward, inward, 3, 3) / (9 * inward) ** 0.5
    bias = 0.2 * numbers(2, outward)
    return (
        Convolution(kernel, bias, CPU, dtype, convolution="int8"),
        Convolution(kernel, bias, CPU, torch.float32),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (16, 16), (33, 17)])
@pytest.mark.parametrize("channels", [(40, 32), (64, 48), (48, 128)])
def test_bytes_give_what_exact_numbers_give_but_for_rounding(
    channels: tuple[int, int], size: tuple[int, int], dtype: torch.dtype
) -> None:
    inward, outward = channels
    rough, exact = convolutions(inward, outward, dtype)
    y = maps(3, 1, inward, *size, dtype=dtype).relu()
    gradient = maps(4, 1, outward, *size, dtype=dtype)
    for ours, theirs in (
        (rough.forward(y, relu=True), exact.forward(y.float(), relu=True)),
        (rough.forward(y, relu=False), exact.forward(y.float(), relu=False)),
        (rough.backward(gradient), exact.backward(gradient.float())),
    ):
        assert ours.dtype == dtype
        assert ours.shape == theirs.shape
        assert ours.is_contiguous(memory_format=torch.channels_last)
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_a_picture_is_the_same_alone_and_among_others() -> None:
    rough, _ = convolutions(32, 32)
    y = torch.cat([scale * maps(seed, 1, 32, 9, 11) for seed, scale in ((3, 1.0), (4, 90.0))])
    y = y.contiguous(memory_format=torch.channels_last)
    for call in (lambda part: rough.forward(part.relu(), relu=True), rough.backward):
        together = call(y)
        for k in range(2):
            assert torch.equal(together[k : k + 1], call(y[k : k + 1]))


def test_numbers_are_rounded_in_pieces_to_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    rough, _ = convolutions(32, 32)
    y = maps(3, 1, 32, 13, 7)
    whole = rough.forward(y.relu(), relu=False), rough.backward(y)
    monkeypatch.setattr(int8, "CHUNK", 100)
    pieces = rough.forward(y.relu(), relu=False), rough.backward(y)
    assert all(torch.equal(a, b) for a, b in zip(whole, pieces, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_largest_magnitude_is_found_of_either_sign(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "CHUNK", 100)
    y = numbers(3, 1001).to(dtype)
    assert int8._largest(y) == float(y.abs().amax())
    assert int8._largest(-y.abs()) == float(y.abs().amax())
    for trouble in (float("nan"), -torch.tensor(float("nan"))):
        assert not int8._largest(torch.cat([y, torch.full((1,), trouble, dtype=dtype)])) < 1e9


def test_nothing_stays_nothing_and_trouble_is_not_hidden() -> None:
    rough, exact = convolutions(32, 32)
    nothing = torch.zeros(1, 32, 4, 4).contiguous(memory_format=torch.channels_last)
    assert torch.equal(rough.backward(nothing), nothing)
    expected = exact.forward(nothing, relu=False)
    torch.testing.assert_close(rough.forward(nothing, relu=False), expected)
    assert torch.equal(rough.backward(nothing + 1e-42), nothing)
    for trouble in (float("nan"), float("inf")):
        y = torch.ones(1, 32, 4, 4).contiguous(memory_format=torch.channels_last)
        y[0, 3, 2, 1] = trouble
        assert not rough.forward(y, relu=False).isfinite().all()
        assert not rough.backward(y).isfinite().all()


def test_a_channel_without_numbers_gives_its_bias() -> None:
    kernel = numbers(1, 16, 16, 3, 3)
    kernel[5] = 0
    found = Int8Convolution(kernel, torch.arange(16.0))(maps(3, 1, 16, 5, 5).relu())
    assert torch.equal(found[:, 5], torch.full((1, 5, 5), 5.0))


def test_few_channels_and_the_forward_pass_of_shallow_layers_stay_exact() -> None:
    kernel, bias = numbers(1, 32, 32, 3, 3), numbers(2, 32)
    shallow = Convolution(kernel, bias, CPU, torch.float32, convolution="int8", stride=2)
    exact = Convolution(kernel, bias, CPU, torch.float32)
    y = maps(3, 1, 32, 8, 8).relu()
    assert torch.equal(shallow.forward(y, relu=True), exact.forward(y, relu=True))
    assert not torch.equal(shallow.backward(y), exact.backward(y))
    first = [
        Convolution(kernel[:, :3], bias, CPU, torch.float32, convolution=way)
        for way in ("int8", "direct")
    ]
    pixels = maps(5, 1, 3, 8, 8)
    assert torch.equal(*(each.forward(pixels, relu=True) for each in first))
    assert torch.equal(*(each.backward(y) for each in first))


def test_a_processor_that_adds_up_wrongly_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Int8Convolution.__call__

    def saturating(self: Int8Convolution, y: torch.Tensor, *, relu: bool = False) -> torch.Tensor:
        return right(self, y, relu=relu).clamp_max(500)

    monkeypatch.setattr(Int8Convolution, "__call__", saturating)
    has_int8.cache_clear()
    try:
        assert not has_int8()
    finally:
        monkeypatch.undo()
        has_int8.cache_clear()
