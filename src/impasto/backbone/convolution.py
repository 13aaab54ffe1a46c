"""One 3 x 3 convolution of a frozen network, and the way back through it."""

from __future__ import annotations

from functools import cache, cached_property

import torch
import torch.nn.functional as F

from impasto.backbone.winograd import TILE, WinogradConvolution, pays

__all__ = ["Convolution", "has_fused"]


class Convolution:
    """A 3 x 3 convolution with fixed numbers: forward, with or without ReLU, and the gradient to
    its input.

    With stride 1 the gradient to the input is itself a convolution, with the kernel turned around
    and its channels exchanged: both ways run the same fast code. On a CPU that is oneDNN's, through
    the operator that torch's own compiler uses: it takes a kernel that lies in the library's own
    order (turned into it once, not at every call) and applies ReLU while the values are still in
    the processor, for nothing.

    winograd: use Winograd's algorithm where the picture is large enough for it to pay, on a CPU in
    float32. It changes the result by rounding only.
    """

    def __init__(
        self,
        kernel: torch.Tensor,
        bias: torch.Tensor,
        device: torch.device,
        dtype: torch.dtype,
        *,
        winograd: bool = False,
    ):
        """kernel (O, I, 3, 3), bias (O,), float32."""
        self._device, self._dtype = device, dtype
        self._fused = device.type == "cpu" and has_fused(dtype)
        self._may_winograd = winograd and device.type == "cpu" and dtype == torch.float32
        self._kernel, self._bias = kernel.detach(), bias.detach().to(device, dtype)
        self._cudnn = device.type == "cuda" and has_cudnn_relu(device, dtype)

    # Each is made when it is first needed: a large picture needs the one, a small one the others.

    @cached_property
    def _winograd(self) -> WinogradConvolution:
        return WinogradConvolution(self._kernel, self._bias)

    @cached_property
    def _straight(self) -> torch.Tensor:
        return self._laid_out(self._kernel)

    @cached_property
    def _turned(self) -> torch.Tensor:
        return self._laid_out(self._kernel.flip(2, 3).transpose(0, 1))

    def _laid_out(self, kernel: torch.Tensor) -> torch.Tensor:
        kernel = kernel.to(self._device, self._dtype).contiguous(memory_format=torch.channels_last)
        if not self._fused:
            return kernel
        packed: torch.Tensor = torch.ops.mkldnn._reorder_convolution_weight(
            kernel, [1, 1], [1, 1], [1, 1], 1, None
        )
        return packed

    def forget_layouts(self) -> None:
        """Free the kernel in all orders but its own."""
        for name in ("_winograd", "_straight", "_turned"):
            self.__dict__.pop(name, None)

    @property
    def winograd_bytes(self) -> int:
        """Bytes of the kernel as Winograd's algorithm takes it, if a large picture makes it pay."""
        outward, inward = self._kernel.shape[:2]
        large = pays(inward, outward, 10_000, 10_000)
        return TILE**2 * inward * outward * 4 if self._may_winograd and large else 0

    def forward(self, y: torch.Tensor, *, relu: bool, padding: int = 1) -> torch.Tensor:
        """(B, I, H, W) channels last -> (B, O, H, W), after ReLU if `relu`; H and W less 2 with
        padding 0."""
        if self._winograd_pays(y, padding, backward=False):
            return self._winograd.forward(y, relu=relu)
        if self._fused:
            return _fused(y, self._straight, self._bias, padding, "relu" if relu else "none")
        if self._cudnn and relu:
            return _cudnn_relu(y, self._straight, self._bias, padding)
        z = F.conv2d(y, self._straight, self._bias, padding=padding)
        return z.relu_() if relu else z

    def backward(self, gradient: torch.Tensor, *, padding: int = 1) -> torch.Tensor:
        """The gradient to the input from that to the output (without ReLU); `padding` is the
        forward pass's."""
        if self._winograd_pays(gradient, padding, backward=True):
            return self._winograd.backward(gradient)
        padding = 2 - padding
        if self._fused:
            return _fused(gradient, self._turned, None, padding, "none")
        return F.conv2d(gradient, self._turned, padding=padding)

    def _winograd_pays(self, y: torch.Tensor, padding: int, *, backward: bool) -> bool:
        outward, inward = self._kernel.shape[:2]
        rows, columns = y.shape[2:]
        fits = self._may_winograd and padding == 1
        return fits and pays(inward, outward, rows, columns, backward=backward)


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
