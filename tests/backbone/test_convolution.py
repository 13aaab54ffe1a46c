"""One convolution, forward and back, against torch and autograd: plain in float64, fused where
there is oneDNN."""

import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from impasto.backbone import winograd
from impasto.backbone.convolution import Convolution
from impasto.backbone.winograd import WinogradConvolution

CPU = torch.device("cpu")
# relative and absolute; bfloat16 is one rounding of 2^-9 of what the sum of rounded numbers gives
TOLERANCE = {
    torch.float64: (1e-12, 1e-12),
    torch.float32: (1e-5, 1e-5),
    torch.bfloat16: (2**-8, 1e-3),
}
DTYPES = list(TOLERANCE)
SIZES = [(1, 1), (1, 7), (2, 3), (5, 4), (17, 33)]
PADDED = [(1, size) for size in SIZES] + [(0, size) for size in [(3, 3), (3, 8), (17, 33)]]


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(inward: int, outward: int) -> tuple[torch.Tensor, torch.Tensor]:
    return numbers(1, outward, inward, 3, 3) / (9 * inward) ** 0.5, 0.2 * numbers(2, outward)


def features(dtype: torch.dtype, *shape: int, seed: int = 3) -> torch.Tensor:
    return numbers(seed, *shape).to(dtype).contiguous(memory_format=torch.channels_last)


def exactly(
    kernel: torch.Tensor, bias: torch.Tensor, y: torch.Tensor, relu: bool, padding: int
) -> torch.Tensor:
    """In float64, of the numbers as they were rounded to y's dtype."""
    z = F.conv2d(
        y.double(), kernel.to(y.dtype).double(), bias.to(y.dtype).double(), padding=padding
    )
    return z.relu() if relu else z


def assert_near(found: torch.Tensor, expected: torch.Tensor) -> None:
    rtol, atol = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("inward", "outward"), [(3, 16), (16, 3), (5, 7), (16, 32)])
@pytest.mark.parametrize(("padding", "size"), PADDED)
@pytest.mark.parametrize("relu", [False, True])
def test_forward_is_torchs(
    dtype: torch.dtype, inward: int, outward: int, padding: int, size: tuple[int, int], relu: bool
) -> None:
    kernel, bias = layer(inward, outward)
    y = features(dtype, 1, inward, *size)
    found = Convolution(kernel, bias, CPU, dtype).forward(y, relu=relu, padding=padding)
    assert found.dtype == dtype
    assert_near(found, exactly(kernel, bias, y, relu, padding))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("inward", "outward"), [(3, 16), (16, 3), (5, 7), (16, 32)])
@pytest.mark.parametrize(("padding", "size"), PADDED)
def test_backward_is_autograds(
    dtype: torch.dtype, inward: int, outward: int, padding: int, size: tuple[int, int]
) -> None:
    kernel, bias = layer(inward, outward)
    y = features(dtype, 1, inward, *size).double().requires_grad_()
    z = exactly(kernel.to(dtype).double(), bias, y, False, padding)
    gradient = features(dtype, *z.shape, seed=4)
    (expected,) = torch.autograd.grad(z, y, gradient.double())
    found = Convolution(kernel, bias, CPU, dtype).backward(gradient, padding=padding)
    assert found.dtype == dtype
    assert_near(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_onednn_the_values_are_the_same(dtype: torch.dtype, monkeypatch) -> None:
    y, gradient = features(dtype, 2, 6, 9, 11), features(dtype, 2, 8, 9, 11, seed=4)
    fused = Convolution(*layer(6, 8), CPU, dtype)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    plain = Convolution(*layer(6, 8), CPU, dtype)
    assert_near(plain.forward(y, relu=True), fused.forward(y, relu=True).double())
    assert_near(plain.backward(gradient), fused.backward(gradient).double())


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_picture_of_a_batch_is_convolved_alone(dtype: torch.dtype) -> None:
    convolution, y = Convolution(*layer(6, 8), CPU, dtype), features(dtype, 3, 6, 9, 11)
    both = convolution.forward(y, relu=True)
    for k in range(3):
        assert_near(both[k : k + 1], convolution.forward(y[k : k + 1], relu=True).double())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("relu", [False, True])
def test_what_goes_in_is_left_alone(dtype: torch.dtype, relu: bool) -> None:
    kernel, bias = layer(6, 6)
    y, before = features(dtype, 1, 6, 5, 5), features(dtype, 1, 6, 5, 5)
    convolution = Convolution(kernel, bias, CPU, dtype)
    convolution.forward(y, relu=relu)
    convolution.backward(y)
    assert torch.equal(y, before)
    assert torch.equal(kernel, layer(6, 6)[0])
    assert torch.equal(bias, layer(6, 6)[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_does_not_have_to_lie_channels_last(dtype: torch.dtype) -> None:
    convolution, y = Convolution(*layer(6, 8), CPU, dtype), numbers(3, 1, 6, 9, 11).to(dtype)
    last = y.contiguous(memory_format=torch.channels_last)
    assert_near(convolution.forward(y, relu=False), convolution.forward(last, relu=False).double())
    crop = features(dtype, 1, 6, 20, 20)[:, :, 3:12, 4:15]  # as a tile is cut out
    assert_near(
        convolution.forward(crop, relu=False),
        convolution.forward(crop.clone(), relu=False).double(),
    )


@pytest.mark.parametrize("size", [(2, 2), (5, 6), (8, 10), (16, 16)])
def test_a_small_map_finds_its_kernel_as_onednn_takes_it(size: tuple[int, int], capfd) -> None:
    # 48 and 384 channels: in another order below some ten positions, turned at every call
    for inward, outward in ((24, 48), (32, 384)):
        convolution = Convolution(*layer(inward, outward), CPU, torch.float32)
        x, g = (features(torch.float32, 1, n, *size) for n in (inward, outward))
        first = convolution.forward(x, relu=True), convolution.backward(g)
        convolution.forward(features(torch.float32, 1, inward, 20, 20), relu=True)
        again = convolution.forward(x, relu=True), convolution.backward(g)
        for one, other in zip(first, again, strict=True):
            assert torch.equal(one, other)
        with torch.backends.mkldnn.verbose(1):
            convolution.forward(x, relu=True)
            convolution.backward(g)
        assert ",reorder," not in capfd.readouterr().out


def test_a_kernel_that_is_trained_sends_no_gradient() -> None:
    kernel, bias = (each.requires_grad_() for each in layer(3, 4))
    assert (
        not Convolution(kernel, bias, CPU, torch.float64)
        .forward(numbers(3, 1, 3, 5, 5).double(), relu=True)
        .requires_grad
    )


# --- machines that are not this one
# --------------------------------------------------------------------------------


def test_a_torch_without_onednn_will_do(monkeypatch) -> None:
    # as torch's wheels for Apple's processors are: its operators are not even registered
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    spec = importlib.util.find_spec("impasto.backbone.convolution")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    y = features(torch.float32, 1, 6, 9, 11)
    found = module.Convolution(*layer(6, 8), CPU, torch.float32).forward(y, relu=True)
    assert_near(found, exactly(*layer(6, 8), y, True, 1))


@pytest.mark.slow
def test_bfloat16_works_on_a_processor_without_avx512() -> None:
    # oneDNN refuses bfloat16 there, torch itself does not; only a process that starts so can be
    # told
    code = """
import torch
from impasto.backbone import winograd
from impasto.backbone.convolution import Convolution
from impasto.backbone.winograd import WinogradConvolution
y = torch.ones(1, 6, 9, 11, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
z = Convolution(torch.ones(8, 6, 3, 3), torch.zeros(8), y.device, y.dtype).forward(y, relu=True)
print(float(z[0, 0, 4, 4]))
"""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.stdout.strip(), ran.returncode) == ("54.0", 0), ran.stderr.splitlines()[-1]


WINOGRAD_SIZES = [(1, 1), (3, 9), (16, 16), (17, 33), (70, 41)]


@pytest.mark.parametrize(("inward", "outward"), [(5, 7), (16, 32)])
@pytest.mark.parametrize("size", WINOGRAD_SIZES)
@pytest.mark.parametrize("relu", [False, True])
def test_winograds_forward_is_torchs(
    inward: int, outward: int, size: tuple[int, int], relu: bool
) -> None:
    kernel, bias = layer(inward, outward)
    y = features(torch.float32, 2, inward, *size)
    found = WinogradConvolution(kernel, bias).forward(y, relu=relu)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        found.double(), exactly(kernel, bias, y, relu, 1), rtol=1e-4, atol=2e-5
    )


@pytest.mark.parametrize(("inward", "outward"), [(5, 7), (16, 32)])
@pytest.mark.parametrize("size", WINOGRAD_SIZES)
@pytest.mark.parametrize("threads", [1, 2])
def test_winograds_backward_is_autograds_with_any_number_of_threads(
    inward: int, outward: int, size: tuple[int, int], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "STRIP", 200_000)  # several strips, that share rows
    kernel, bias = layer(inward, outward)
    y = features(torch.float32, 2, inward, *size).double().requires_grad_()
    z = exactly(kernel, bias, y.float(), False, 1)
    gradient = features(torch.float32, *z.shape, seed=4)
    z = F.conv2d(y, kernel.double(), bias.double(), padding=1)
    (expected,) = torch.autograd.grad(z, y, gradient.double())
    convolution = WinogradConvolution(kernel, bias)
    once = convolution.backward(gradient)
    torch.testing.assert_close(once.double(), expected, rtol=1e-4, atol=2e-5)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        again = convolution.backward(gradient)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(once, again)


def test_winograd_is_used_where_it_pays_and_changes_by_rounding() -> None:
    kernel, bias = layer(128, 128)
    y, small = features(torch.float32, 1, 128, 32, 32), features(torch.float32, 1, 128, 8, 8)
    direct = Convolution(kernel, bias, CPU, torch.float32)
    fast = Convolution(kernel, bias, CPU, torch.float32, convolution="winograd")
    for ours, theirs in (
        (fast.forward(y, relu=True), direct.forward(y, relu=True)),
        (fast.backward(y), direct.backward(y)),
    ):
        assert not torch.equal(ours, theirs)
        assert (ours - theirs).norm() < 1e-5 * theirs.norm()
    assert torch.equal(fast.forward(small, relu=True), direct.forward(small, relu=True))
