"""Files that are no weights, or weights of another network: each gives one clear line, and runs
nothing."""

import io
import os
import pickle
import random
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from impasto.backbone.weights import load
from impasto.errors import WeightsError
from layouts import (
    GRAY,
    KERNELS,
    WRITERS,
    line_of,
    random_kernels,
    truncate,
    without,
    write,
    write_safetensors,
)


@pytest.fixture(params=WRITERS)
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    "content", [b"", b"hello, world\n" * 50, b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\0" * 100]
)
def test_a_file_of_something_else(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"network{suffix}"
    path.write_bytes(content)
    assert str(path) in line_of(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_a_truncated_file(tmp_path: Path, suffix: str, share: float) -> None:
    path = write(tmp_path, suffix)
    truncate(path, share)
    assert str(path) in line_of(path)


def test_random_damage_never_shows_another_kind_of_error(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, suffix, random_kernels("conv1_2"))
    whole, chance, lines = path.read_bytes(), random.Random(0), []
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(8):
            damaged[chance.randrange(min(len(damaged), 4000))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            load(str(path))  # damage to the numbers alone cannot be seen
        except WeightsError as error:
            lines.append(str(error))
    assert lines
    assert not any("\n" in line for line in lines)


@dataclass
class Sneaky:
    """Unpickled, this would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch sneaky-was-here",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain.pth").write_bytes(pickle.dumps({"features.0.weight": Sneaky()}, protocol=protocol))
    torch.save({"features.0.weight": Sneaky()}, "zipped.pth")
    for name in ("plain.pth", "zipped.pth"):
        line = line_of(name)
        assert "more than plain tensors" in line
        # torch's own message tells people to load it all the same
        assert "weights_only" not in line
    assert not Path("sneaky-was-here").exists()


@pytest.mark.parametrize(
    "held",
    [
        [1, 2],
        torch.zeros(3),
        {"features.0.weight": 3, "features.0.bias": 4},
        {"features.0.weight": [1.0]},
        {},
        None,
    ],
    ids=["list", "tensor", "number", "numbers", "empty", "none"],
)
def test_a_pth_that_holds_no_state_dict(tmp_path: Path, held: object) -> None:
    torch.save(held, tmp_path / "odd.pth")
    line_of(tmp_path / "odd.pth")


def test_a_zip_that_is_not_torchs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "odd.pth", "w") as archive:
        archive.writestr("hello.txt", "hello")
    line_of(tmp_path / "odd.pth")


def test_an_old_style_pth_is_read(tmp_path: Path) -> None:
    saved = torch.load(write(tmp_path, ".pth"))
    buffer = io.BytesIO()
    torch.save(saved, buffer, _use_new_zipfile_serialization=False)
    (tmp_path / "old.pth").write_bytes(buffer.getvalue())
    assert torch.equal(load(str(tmp_path / "old.pth")).kernels["conv5_4"][1], KERNELS["conv5_4"][1])


@pytest.mark.parametrize("odd", [np.float32(1), np.array(["a"], dtype=object), np.zeros((2, 2))])
def test_an_h5_with_odd_contents(tmp_path: Path, odd: np.ndarray) -> None:
    for name in ("block1_conv1", "block1_conv1/block1_conv1_W_1:0"):
        with h5py.File(tmp_path / "odd.h5", "w") as file:
            file.create_dataset(name, data=odd)
        line_of(tmp_path / "odd.h5")


# --- weights of another shape
# --------------------------------------------------------------------------------------


def test_a_missing_bias_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, ".pth")
    state = torch.load(path)
    del state["features.5.bias"]
    torch.save(state, path)
    assert "features.5.bias" in line_of(path)

    path = write(tmp_path, ".h5")
    with h5py.File(path, "a") as file:
        del file["block2_conv1/block2_conv1_b_1:0"]
    line = line_of(path)
    assert "block2_conv1" in line
    assert "bias" in line

    path = write(tmp_path, ".safetensors")
    tensors = load_file(path)
    del tensors["conv2_1.bias"]
    save_file(tensors, path, {"input": GRAY})
    assert "conv2_1.bias" in line_of(path)


@pytest.mark.parametrize("gap", ["conv1_1", "conv1_2", "conv4_3"])
def test_a_gap_is_named(tmp_path: Path, suffix: str, gap: str) -> None:
    assert gap in line_of(write(tmp_path, suffix, without(KERNELS, [gap])))


@pytest.mark.parametrize(
    ("kernel", "bias"),
    [
        ((5, 4, 5, 5), (5,)),
        ((5, 3, 3, 3), (5,)),
        ((5, 4, 3, 3), (4,)),
        ((5, 4, 3), (5,)),
        ((5, 4, 3, 3), (5, 1)),
    ],
    ids=["5x5", "inputs", "bias", "flat", "deep-bias"],
)
def test_a_wrong_shape_is_named(
    tmp_path: Path, suffix: str, kernel: tuple[int, ...], bias: tuple[int, ...]
) -> None:
    if suffix == ".h5" and len(kernel) != 4:
        pytest.skip("no HWIO kernel has three sides")
    wrong = random_kernels("conv2_1") | {"conv2_1": (torch.ones(kernel), torch.ones(bias))}
    line = line_of(write(tmp_path, suffix, wrong))
    assert "conv2_1" in line or "block2_conv1" in line


def test_no_convolutions_at_all(tmp_path: Path, suffix: str) -> None:
    assert "conv1_1" in line_of(write(tmp_path, suffix, {}))


@pytest.mark.parametrize("said", [None, "RGB, [0, 1]"])
def test_an_input_that_is_not_known_is_named(tmp_path: Path, said: str | None) -> None:
    line = line_of(write_safetensors(tmp_path / "network.safetensors", KERNELS, said))
    assert repr(said) in line
    assert GRAY in line
