"""A VGG network: one forward pass to a dict of features by layer, and the gradient to the
pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from impasto.backbone.architecture import convolution_of, layer_name, layer_stride
from impasto.backbone.convolution import Convolution, Method, Way, through_relu, unpadded
from impasto.backbone.pooling import (
    average_pool,
    average_unpool,
    max_pool,
    max_unpool,
    pooling_kernels,
)
from impasto.backbone.weight_files import Weights
from impasto.errors import ConfigError, WeightsError

__all__ = ["Backbone", "Features", "Tape"]

Features = dict[str, torch.Tensor]
AddGradient = Callable[[str, torch.Tensor | None], torch.Tensor | None]


class _Trace(NamedTuple):
    """What the way back needs of one convolution.

    y: where ReLU let something through, y > 0. If a pooling followed, `size` is what it took, and
    `indices` where its maxima were. masked: ReLU is passed on the way through the pooling: of what
    was pooled only the maxima matter, and with `indices` y is the pooled one.
    """

    name: str
    y: torch.Tensor
    size: torch.Size | None = None
    indices: torch.Tensor | None = None
    masked: bool = False


class Backbone:
    """A frozen VGG network on one device, in one precision.

    finisher: the network that makes a painting's last steps, or None.

    Args:
        weights: from `impasto.backbone.weights.load`.
        pooling: "average" is scaled so that the features keep their energy.
        padding: of the first convolution; the later ones are padded with zeros, as trained.
        convolution: on a CPU "winograd" for Winograd's algorithm where it pays, in float32, or
            "int8" for products of bytes.

    Example:
        backbone = load_backbone("vgg19")
        features = backbone(pixels, ["relu4_2"])["relu4_2"]
    """

    def __init__(
        self,
        weights: Weights,
        *,
        pooling: Literal["max", "average"] = "max",
        padding: Literal["zeros", "replicate"] = "zeros",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        convolution: Way = "direct",
    ):
        self.weights, self.pooling, self.padding = weights, pooling, padding
        self.device, self.dtype = torch.device(device), dtype
        self.method = Method(str(dtype).removeprefix("torch."), convolution)
        self.architecture = weights.architecture
        self.finisher: Backbone | None = None
        if weights.finisher is not None:
            self.finisher = Backbone(
                weights.finisher,
                pooling=pooling,
                padding=padding,
                device=device,
                dtype=dtype,
                convolution=convolution,
            )
        self._convolutions = {
            name: Convolution(
                kernel, bias, self.device, dtype, convolution, stride=layer_stride(name)
            )
            for name, (kernel, bias) in weights.kernels.items()
        }
        self._kernels = pooling_kernels(self.device) if pooling == "max" else None
        self._mean, self._scale = (
            torch.tensor(values, device=device).view(1, 3, 1, 1)
            for values in (weights.mean, weights.scale)
        )

    def __repr__(self) -> str:
        return f"<Backbone {self.weights.name} on {self.device}, {self.method.precision}>"

    def __call__(self, pixels: torch.Tensor, layers: Iterable[str]) -> Features:
        """Features of `pixels` at `layers`, each (B, C, H / 2^(stage-1), W / 2^(stage-1)), in this
        backbone's dtype.

        pixels: (B, 3, H, W) float32 sRGB in [0, 1], at least 16 x 16 for stage 5. The pass ends
        with the last layer asked for. The features carry gradients to the pixels. Raises
        ConfigError for an unknown layer, WeightsError for one that these weights do not reach.
        """
        asked = {name: layer_name(name) for name in layers}
        wanted = tuple(dict.fromkeys(asked.values()))
        if torch.is_grad_enabled() and pixels.requires_grad:
            found = dict(zip(wanted, _Pass.apply(pixels, self, wanted), strict=True))  # type: ignore[no-untyped-call]
        else:
            found = self._forward(pixels, wanted, None)
        return {name: found[plain] for name, plain in asked.items()}

    def record(self, pixels: torch.Tensor, layers: Iterable[str]) -> tuple[Features, Tape]:
        """The features at `layers` (as the package names them) and the tape that leads back;
        without autograd."""
        wanted = tuple(dict.fromkeys(layers))
        tape = Tape(self, [], frozenset(wanted))
        with torch.no_grad():
            return self._forward(pixels.detach(), wanted, tape.traces), tape

    def deepest(self, layers: Iterable[str]) -> int:
        """Index of the deepest convolution that `layers` need.

        Raises ConfigError for none at all, WeightsError for one that these weights do not hold.
        """
        names = [convolution_of(name) for name in layers]
        if not names:
            raise ConfigError("no layers asked for: name at least one, as conv4_2")
        for name in names:
            if name not in self._convolutions:
                have = list(self._convolutions)
                raise WeightsError(
                    f"layer {name} is not in {self.weights.name}, which holds {have[0]} to "
                    f"{have[-1]}",
                    name,
                    have,
                )
        return max(self.architecture.convolutions.index(name) for name in names)

    def cost(self, layers: Iterable[str]) -> float:
        """Multiplications a pixel of a forward pass to the deepest of `layers`."""
        names = self.architecture.convolutions[: self.deepest(layers) + 1]
        kernels = self.weights.kernels
        return sum(kernels[name][0].shape.numel() / layer_stride(name) ** 2 for name in names)

    def prepare(self, height: int, width: int, layers: Iterable[str]) -> None:
        """Make the forms of the kernels that pictures of height x width need.

        Made at their first use they would lie among features, whose memory would be in pieces.
        """
        for name in self.architecture.convolutions[: self.deepest(layers) + 1]:
            stride = layer_stride(name)
            self._convolutions[name].prepare(height // stride, width // stride)

    def forget_layouts(self) -> None:
        """Free the kernels in the orders that convolutions take; they are made again when
        needed."""
        for convolution in self._convolutions.values():
            convolution.forget_layouts()

    def layout_bytes(self, layers: Iterable[str]) -> int:
        """Bytes of the kernels in the forms that convolutions take, up to the deepest of
        `layers`, and of one while it is made."""
        names = self.architecture.convolutions[: self.deepest(layers) + 1]
        largest = max(self.weights.kernels[name][0].shape.numel() for name in names)
        made = 3 * 4 * largest  # its numbers in float32, turned around, rounded
        return made + sum(self._convolutions[name].layout_bytes for name in names)

    def _forward(
        self, pixels: torch.Tensor, wanted: Sequence[str], traces: list[_Trace] | None
    ) -> Features:
        """The features at `wanted`; `traces`, if it is a list, receives what the way back needs."""
        names = self.architecture.convolutions[: self.deepest(wanted) + 1]
        found: Features = {}
        y = pixels.flip(1) if self.weights.order == "BGR" else pixels
        y = (
            ((y - self._mean) * self._scale)
            .to(self.dtype)
            .contiguous(memory_format=torch.channels_last)
        )
        if self.padding == "replicate":
            y = F.pad(y, (1, 1, 1, 1), mode="replicate")
        for name in names:
            relu = name.replace("conv", "relu")
            y = self._convolutions[name].forward(
                y, relu=name not in wanted, padding=self._padding(name)
            )
            if name in wanted:
                found[name] = y
                y = F.relu(y)
            if relu in wanted:
                found[relu] = y
            pooled = name in self.architecture.before_pooling and name != names[-1]
            if traces is None:
                y = self._pool(y) if pooled else y
                continue
            # what is kept anyway tells where ReLU let through
            traces.append(_Trace(name, found.get(name, y)))
            if pooled:
                y, traces[-1] = self._pool_traced(y, traces[-1], relu in wanted)
        return found

    def _padding(self, name: str) -> int:
        return 0 if name == "conv1_1" and self.padding == "replicate" else 1

    def _pool(self, y: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(y, 2) if self.pooling == "max" else average_pool(y)

    def _pool_traced(
        self, y: torch.Tensor, trace: _Trace, wanted: bool
    ) -> tuple[torch.Tensor, _Trace]:
        """y halved, and its trace. Where ReLU let nothing through no maximum is positive: the
        pooled y tells it too."""
        if self.pooling == "average":
            return average_pool(y), trace._replace(size=y.shape)
        if self._kernels:
            pooled: torch.Tensor = self._kernels.pool(y)
            return pooled, trace._replace(y=y, size=y.shape, masked=not wanted)
        pooled, indices = max_pool(y)
        trace = trace._replace(size=y.shape, indices=indices)
        return pooled, trace if wanted else trace._replace(y=pooled, masked=True)

    def _unpool(self, g: torch.Tensor, trace: _Trace) -> torch.Tensor:
        """The gradient to what was pooled."""
        assert trace.size is not None
        if self.pooling == "average":
            return average_unpool(g, trace.size)
        if trace.indices is None:
            assert self._kernels is not None
            gradient: torch.Tensor = self._kernels.unpool(g, trace.y)
            return gradient
        g = through_relu(g, trace.y) if trace.masked else g
        return max_unpool(g, trace.indices, trace.size)


class Tape(NamedTuple):
    """The way back from the features of one picture to its pixels; it is used up on the way, and
    memory freed.

    Written out by hand: autograd would keep twice as much, and add up and mask in passes of its
    own.
    """

    backbone: Backbone
    traces: list[_Trace]
    wanted: frozenset[str]

    @torch.no_grad()
    def gradient(self, add: AddGradient) -> torch.Tensor:
        """The gradient to the pixels, (B, 3, H, W) float32, of a function of the features.

        add(layer, g) is called for each layer wanted, the deepest first: it returns g, the gradient
        of that function to the layer's features as far as it comes from deeper ones (None: nothing
        yet), plus what comes from the layer itself. g may be changed in place.
        """
        g: torch.Tensor | None = None
        while self.traces:
            name, g = self._before(self.traces.pop(), g, add)
            if g is not None:
                g = self.backbone._convolutions[name].backward(
                    g, padding=self.backbone._padding(name)
                )
        if g is None:
            raise RuntimeError("a tape leads back once: evaluate the network again")
        if self.backbone.padding == "replicate":
            g = unpadded(g)
        g = g.contiguous() * self.backbone._scale  # float32 again, and as pixels lie
        return g.flip(1) if self.backbone.weights.order == "BGR" else g

    def _before(
        self, trace: _Trace, g: torch.Tensor | None, add: AddGradient
    ) -> tuple[str, torch.Tensor | None]:
        """From what follows a convolution back to its output; the trace ends here, before the
        largest step."""
        relu = trace.name.replace("conv", "relu")
        if g is not None and trace.size is not None:
            g = self.backbone._unpool(g, trace)
        if relu in self.wanted:
            g = add(relu, g)
        if g is not None and not trace.masked:
            g = through_relu(g, trace.y)
        if trace.name in self.wanted:
            g = add(trace.name, g)
        return trace.name, g


class _Pass(torch.autograd.Function):
    """The network as one node of autograd's graph."""

    @staticmethod
    def forward(
        ctx: Any, pixels: torch.Tensor, backbone: Backbone, wanted: tuple[str, ...]
    ) -> tuple[torch.Tensor, ...]:
        ctx.set_materialize_grads(False)
        found, ctx.tape = backbone.record(pixels, wanted)
        ctx.wanted = wanted
        # what is returned is given a node, and must not be held by it
        ctx.tape.traces[:] = [trace._replace(y=trace.y.detach()) for trace in ctx.tape.traces]
        return tuple(found[name] for name in wanted)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, *gradients: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, None, None]:
        given = dict(zip(ctx.wanted, gradients, strict=True))
        if all(g is None for g in gradients):
            return None, None, None

        def add(layer: str, g: torch.Tensor | None) -> torch.Tensor | None:
            more = given[layer]
            return more if g is None else g if more is None else g.add_(more)

        tape = ctx.tape._replace(traces=list(ctx.tape.traces))  # autograd may come again
        return tape.gradient(add), None, None
