"""The two teachers, and the student that becomes `compact`.

Teachers: Oxford's VGG-19 for stages 1 to 3 (Simonyan & Zisserman, CC BY 4.0) and, for stages 4 and
5, the reduced VGG-19 of Wang et al., "Collaborative Distillation", CVPR 2020 (MIT), with its heads
back to VGG-19's channels.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

DEPTH = (2, 2, 4, 4, 2)
CHANNELS = (16, 32, 96, 128, 128)
MEAN, STD = 0.45, 0.226  # the student's input: (RGB in [0, 1] - MEAN) / STD
LAYERS = tuple(f"{stage}_{k}" for stage, depth in enumerate(DEPTH, 1) for k in range(1, depth + 1))

Features = dict[str, torch.Tensor]


def _pad_first(x: torch.Tensor) -> torch.Tensor:
    """Replicate padding in the first convolution only, for teacher and student alike: no black
    frame is learned."""
    return F.pad(x, (1, 1, 1, 1), mode="replicate")


class Teacher:
    """Frozen target features (after ReLU) by layer name, "1_1" to "5_1"; "5_2" is 5_1 averaged with
    its 3 x 3 mean."""

    def __init__(self, folder: Path):
        oxford = load_file(Path(folder) / "vgg19_oxford_conv1_1-conv3_4.safetensors")
        reduced = load_file(Path(folder) / "vgg19_student16x.safetensors")
        self.oxford = {
            k: v.bfloat16().contiguous(memory_format=_layout(v)) for k, v in oxford.items()
        }
        self.reduced = {
            k: v.bfloat16().contiguous(memory_format=_layout(v)) for k, v in reduced.items()
        }

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, first: int, last: int) -> Features:
        """Targets of stages `first` to `last` for x (B, 3, H, W) in [0, 1]."""
        out: Features = {}
        if first <= 3:
            out |= self._stages_1_to_3(x, min(last, 3))
        if last >= 4:
            out |= self._stages_4_and_5(x, last)
        return {name: value for name, value in out.items() if first <= int(name[0]) <= last}

    def _stages_1_to_3(self, x: torch.Tensor, last: int) -> Features:
        out: Features = {}
        mean = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
        y = (
            _pad_first(x.flip(1) * 255 - mean)
            .bfloat16()
            .contiguous(memory_format=torch.channels_last)
        )
        for stage in range(1, last + 1):
            for k in range(1, DEPTH[stage - 1] + 1):
                name = f"conv{stage}_{k}"
                padding = 0 if name == "conv1_1" else 1
                y = F.conv2d(
                    y, self.oxford[f"{name}.weight"], self.oxford[f"{name}.bias"], padding=padding
                ).relu_()
                out[f"{stage}_{k}"] = y
            y = F.max_pool2d(y, 2)
        return out

    def _stages_4_and_5(self, x: torch.Tensor, last: int) -> Features:
        out: Features = {}
        w = self.reduced
        y = x.bfloat16().contiguous(memory_format=torch.channels_last)
        y = F.conv2d(y, w["conv0.weight"], w["conv0.bias"])
        for stage, depth in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 1)):
            for k in range(1, depth + 1):
                name = f"{stage}_{k}"
                y = F.pad(y, (1, 1, 1, 1), mode="reflect")
                y = F.conv2d(y, w[f"conv{name}.weight"], w[f"conv{name}.bias"]).relu_()
                headed = name in ("4_1", "5_1")
                out[name] = (
                    F.conv2d(y, w[f"head{name}.weight"], w[f"head{name}.bias"]).relu_()
                    if headed
                    else y
                )
            if stage == last:
                break
            y = F.max_pool2d(y, 2)
        if last == 5:
            around = F.avg_pool2d(out["5_1"], 3, 1, 1, count_include_pad=False)
            out["5_2"] = (out["5_1"] + around) / 2
        return {name: value for name, value in out.items() if name >= "4"}


def _layout(weight: torch.Tensor) -> torch.memory_format:
    return torch.channels_last if weight.ndim == 4 else torch.contiguous_format


class Student(nn.Module):
    """VGG-19's shape with fewer channels, and batch normalization while training."""

    def __init__(self):
        super().__init__()
        self.convs, self.norms = nn.ModuleDict(), nn.ModuleDict()
        before = 3
        for name in LAYERS:
            width = CHANNELS[int(name[0]) - 1]
            padding = 0 if name == "1_1" else 1
            self.convs[name] = nn.Conv2d(before, width, 3, padding=padding, bias=False)
            nn.init.kaiming_normal_(self.convs[name].weight)
            self.norms[name] = nn.BatchNorm2d(width)
            before = width
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor, last: int) -> Features:
        """Features after ReLU by layer name, up to stage `last`, for x (B, 3, H, W) in [0, 1]."""
        out: Features = {}
        y = _pad_first((x - MEAN) / STD)
        for name in LAYERS:
            stage = int(name[0])
            if stage > last:
                break
            if name.endswith("_1") and stage > 1:
                y = F.max_pool2d(y, 2)
            y = F.relu(self.norms[name](self.convs[name](y)))
            out[name] = y
        return out

    def stage_modules(self, first: int, last: int) -> nn.ModuleList:
        """Convolutions and norms of stages `first` to `last`: what a phase trains."""
        names = [name for name in LAYERS if first <= int(name[0]) <= last]
        return nn.ModuleList(part[name] for name in names for part in (self.convs, self.norms))


@torch.no_grad()
def fold(student: Student) -> dict[str, torch.Tensor]:
    """The plain network: conv{name}.weight and .bias, batch normalization folded in."""
    out = {}
    for name in LAYERS:
        conv, norm = student.convs[name], student.norms[name]
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        out[f"conv{name}.weight"] = (conv.weight * scale.view(-1, 1, 1, 1)).contiguous()
        out[f"conv{name}.bias"] = norm.bias - norm.running_mean * scale
    return out
