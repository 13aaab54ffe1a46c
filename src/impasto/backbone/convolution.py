"""One 3 x 3 convolution of a frozen network, and the way back through it."""

from __future__ import annotations

import threading
from functools import cache, cached_property
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F

from impasto.backbone.architecture import STRIDE
from impasto.backbone.int8 import Int8Convolution
from impasto.backbone.weight_files import Kernel
from impasto.backbone.winograd import TILE, WinogradConvolution, pays

__all__ = ["Convolution", "Method", "Way", "has_fused", "through_relu", "unpadded"]

# Positions of the shorter side of a map: below it oneDNN takes kernels in orders of their own, and
# one in another order is turned at every call, which took 30 times as long as the convolution.
SMALL = 16
# Channels on either side from which on bytes are used: with fewer, rounding takes as long as it
# saves.
LEAST_OF_INT8 = 32
# Stride up to which features are not rounded to bytes on the way forward: most of the error would
# come from stages 1 and 2, which are a quarter of the products.
EXACT = 2

Way = Literal["direct", "winograd", "int8"]


class _Layouts(threading.local):
    """The kernel in the orders that oneDNN takes, by whether it is turned around for the way back,
    each with the size that it is for. Each thread has its own: another's pictures have other
    sizes."""

    def __init__(self) -> None:
        self.held: dict[bool, tuple[list[int] | None, torch.Tensor]] = {}


class Method(NamedTuple):
    """How a network computes: the name of its dtype, and how it convolves."""

    precision: str
    convolution: Way = "direct"

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the name."""
        dtype: torch.dtype = getattr(torch, self.precision)
        return dtype


class Convolution:
    """A 3 x 3 convolution with fixed numbers: forward, with or without ReLU, and the gradient to
    its input.

    With stride 1 the gradient to the input is itself a convolution, with the kernel turned around
    and its channels exchanged: both ways run the same fast code. On a CPU that is oneDNN's, through
    the operator that torch's own compiler uses: it takes a kernel that lies in the library's own
    order (turned into it once, not at every call) and applies ReLU while the values are still in
    the processor, for nothing.

    convolution: "winograd" for Winograd's algorithm where the picture is large enough for it to
    pay, on a CPU in float32, which changes the result by rounding only; "int8" for products of
    bytes, on a CPU that has them, and Winograd's algorithm for what is exact.
    """

    def __init__(
        self,
        kernel: Kernel,
        bias: torch.Tensor,
        device: torch.device,
        dtype: torch.dtype,
        convolution: Way = "direct",
        *,
        stride: int = STRIDE,
    ):
        """kernel (O, I, 3, 3), bias (O,). stride: pixels from one position to the next."""
        self._device, self._dtype = device, dtype
        on_cpu = device.type == "cpu"
        self._fused = on_cpu and has_fused(dtype)
        self._int8_back = (
            on_cpu and convolution == "int8" and min(kernel.shape[:2]) >= LEAST_OF_INT8
        )
        self._int8 = self._int8_back and stride > EXACT
        winograd = convolution != "direct" and not self._int8
        self._may_winograd = winograd and on_cpu and dtype == torch.float32
        self._kernel, self._bias = kernel, bias.detach().to(device, dtype)
        self._layouts = _Layouts()
        self._cudnn = device.type == "cuda" and has_cudnn_relu(device, dtype)

    @property
    def _numbers(self) -> torch.Tensor:
        return self._kernel.float().detach()

    # Each is made when it is first needed: a large picture needs the one, a small one the others.

    @cached_property
    def _winograd(self) -> WinogradConvolution:
        return WinogradConvolution(self._numbers, self._bias)

    @cached_property
    def _of_bytes(self) -> Int8Convolution:
        return Int8Convolution(self._numbers, self._bias.float())

    @cached_property
    def _of_bytes_back(self) -> Int8Convolution:
        return Int8Convolution(self._turned, None)

    @property
    def _turned(self) -> torch.Tensor:
        """The kernel of the way back."""
        return self._numbers.flip(2, 3).transpose(0, 1)

    def _laid_out(self, y: torch.Tensor, *, turned: bool) -> torch.Tensor:
        """The kernel, or that of the way back, in the order in which oneDNN takes it for y."""
        size = list(y.shape) if self._fused and min(y.shape[2:]) < SMALL else None
        held = self._layouts.held.get(turned)
        if held is None or held[0] != size:
            kernel = (self._turned if turned else self._numbers).to(self._device, self._dtype)
            kernel = kernel.contiguous(memory_format=torch.channels_last)
            if self._fused:
                kernel = torch.ops.mkldnn._reorder_convolution_weight(
                    kernel, [1, 1], [1, 1], [1, 1], 1, size
                )
            held = self._layouts.held[turned] = size, kernel
        return held[1]

    def prepare(self, rows: int, columns: int) -> None:
        """Make the kernel's forms for bytes, or for Winograd's algorithm if maps of this size make
        it pay."""
        if self._int8:
            _ = self._of_bytes
        if self._int8_back:
            _ = self._of_bytes_back
        if any(self._pays(rows, columns, backward=backward) for backward in (False, True)):
            _ = self._winograd

    def forget_layouts(self) -> None:
        """Free the kernel in all orders of this thread but its own."""
        for form in ("_winograd", "_of_bytes", "_of_bytes_back"):
            self.__dict__.pop(form, None)
        self._layouts.held.clear()

    @property
    def layout_bytes(self) -> int:
        """Bytes of the kernel in all forms that the two ways may come to take, size after size."""
        outward, inward = self._kernel.shape[:2]
        numbers = self._kernel.shape.numel()
        direct = sum(
            numbers if as_bytes else numbers * self._dtype.itemsize
            for as_bytes in (self._int8, self._int8_back)
        )
        winograd = self._may_winograd and pays(inward, outward, 10_000, 10_000)
        return direct + (TILE**2 * inward * outward * 4 if winograd else 0)

    def forward(self, y: torch.Tensor, *, relu: bool, padding: int = 1) -> torch.Tensor:
        """(B, I, H, W) channels last -> (B, O, H, W), after ReLU if `relu`; H and W less 2 with
        padding 0."""
        if self._int8 and _several(y):
            return self._of_bytes(y, relu=relu)
        if self._winograd_pays(y, padding, backward=False):
            return self._winograd.forward(y, relu=relu)
        kernel = self._laid_out(y, turned=False)
        if self._fused:
            return _fused(y, kernel, self._bias, padding, "relu" if relu else "none")
        if self._cudnn and relu:
            return _cudnn_relu(y, kernel, self._bias, padding)
        z = F.conv2d(y, kernel, self._bias, padding=padding)
        return z.relu_() if relu else z

    def backward(self, gradient: torch.Tensor, *, padding: int = 1) -> torch.Tensor:
        """The gradient to the input from that to the output (without ReLU); `padding` is the
        forward pass's."""
        if self._int8_back and _several(gradient):
            return self._of_bytes_back(gradient)
        if self._winograd_pays(gradient, padding, backward=True):
            return self._winograd.backward(gradient)
        padding, kernel = 2 - padding, self._laid_out(gradient, turned=True)
        if self._fused:
            return _fused(gradient, kernel, None, padding, "none")
        return F.conv2d(gradient, kernel, padding=padding)

    def _winograd_pays(self, y: torch.Tensor, padding: int, *, backward: bool) -> bool:
        return padding == 1 and self._pays(*y.shape[2:], backward=backward)

    def _pays(self, rows: int, columns: int, *, backward: bool) -> bool:
        outward, inward = self._kernel.shape[:2]
        return self._may_winograd and pays(inward, outward, rows, columns, backward=backward)


def has_fused(dtype: torch.dtype) -> bool:
    """Whether this torch has oneDNN's fused convolution, and for this type on this processor."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


@cache
def has_cudnn_relu(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether cuDNN has convolution, bias and ReLU in one kernel for this type on this GPU."""
    try:
        y = torch.zeros(1, 8, 8, 8, device=device, dtype=dtype)
        y = y.contiguous(memory_format=torch.channels_last)
        kernel = torch.zeros(8, 8, 3, 3, device=device, dtype=dtype)
        _cudnn_relu(
            y,
            kernel.contiguous(memory_format=torch.channels_last),
            torch.zeros_like(kernel[:, 0, 0, 0]),
            1,
        )
    except (AttributeError, RuntimeError):  # another torch, or a type that it has not got
        return False
    return True


def _cudnn_relu(
    y: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor, padding: int
) -> torch.Tensor:
    found: torch.Tensor = torch.ops.aten.cudnn_convolution_relu(
        y, kernel, bias, [1, 1], [padding, padding], [1, 1], 1
    )
    return found


def _fused(
    y: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None, padding: int, after: str
) -> torch.Tensor:
    found: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
        y, kernel, bias, [padding, padding], [1, 1], [1, 1], 1, after, [], ""
    )
    return found


def _several(y: torch.Tensor) -> bool:
    """Whether maps have several positions. Of a single one oneDNN's sums of bytes may be wrong
    (torch 2.13)."""
    return y.shape[2] * y.shape[3] > 1


def through_relu(g: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The gradient before ReLU from that after it; y is ReLU's output. In g's own memory it would
    be slower."""
    return torch.ops.aten.threshold_backward(g, y, 0)  # type: ignore[no-any-return]


def unpadded(g: torch.Tensor) -> torch.Tensor:
    """Carry a gradient back through padding by one copied pixel on each side: (B, C, H + 2, W + 2)
    -> (B, C, H, W)."""
    g[:, :, 1] += g[:, :, 0]
    g[:, :, -2] += g[:, :, -1]
    g[:, :, :, 1] += g[:, :, :, 0]
    g[:, :, :, -2] += g[:, :, :, -1]
    return g[:, :, 1:-1, 1:-1]
