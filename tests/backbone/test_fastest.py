"""The choice of a convolution for a machine: measured once, remembered, overruled by settings."""

import json
from pathlib import Path

import pytest
import torch

from impasto.backbone import fastest as module
from impasto.backbone.convolution import Method
from impasto.backbone.fastest import fastest, processor_abilities
from impasto.backbone.load import find_device
from impasto.config import Machine
from impasto.errors import ConfigError

CPU = torch.device("cpu")
DIRECT, WINOGRAD, HALF = Method("float32"), Method("float32", "winograd"), Method("bfloat16")
BYTES, HALF_BYTES = Method("float32", "int8"), Method("bfloat16", "int8")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path))
    monkeypatch.setattr(module, "has_fused", lambda dtype: True)
    monkeypatch.setattr(module, "has_int8", lambda: True)
    return tmp_path


def measured(monkeypatch: pytest.MonkeyPatch, best: Method) -> list[list[Method]]:
    """Have `best` measured as the fastest; gives what was measured."""
    asked = []

    def seconds(methods: list[Method]) -> dict[Method, float]:
        asked.append(methods)
        return {method: 1.0 if method == best else 2.0 for method in methods}

    monkeypatch.setattr(module, "_seconds_of", seconds)
    return asked


@pytest.mark.parametrize("best", [DIRECT, WINOGRAD, HALF])
def test_the_fastest_is_measured_once_and_remembered(
    best: Method, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = measured(monkeypatch, best)
    assert fastest(CPU, Machine()) == best
    assert fastest(CPU, Machine()) == best
    assert asked == [[DIRECT, WINOGRAD, HALF]]


@pytest.mark.parametrize(
    ("settings", "method"),
    [
        ({"precision": "bfloat16"}, HALF),
        ({"precision": "float32", "convolution": "direct"}, DIRECT),
        ({"precision": "float32", "convolution": "winograd"}, WINOGRAD),
        ({"precision": "bfloat16", "convolution": "winograd"}, HALF),
        ({"precision": "bfloat16", "convolution": "int8"}, HALF_BYTES),
        ({"precision": "float32", "convolution": "int8"}, BYTES),
    ],
)
def test_settings_that_leave_no_choice_are_not_measured(
    settings: dict, method: Method, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = measured(monkeypatch, DIRECT)
    assert fastest(CPU, Machine(**settings)) == method
    assert not asked


def test_a_choice_among_fewer_is_remembered_apart(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = measured(monkeypatch, HALF)
    assert fastest(CPU, Machine()) == HALF
    assert fastest(CPU, Machine(precision="float32")) == DIRECT
    assert asked == [[DIRECT, WINOGRAD, HALF], [DIRECT, WINOGRAD]]


def test_bytes_are_measured_where_what_is_painted_bears_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = measured(monkeypatch, HALF_BYTES)
    assert fastest(CPU, Machine(), rounded=True) == HALF_BYTES
    assert fastest(CPU, Machine()) == DIRECT  # has not been measured with them
    assert fastest(CPU, Machine(precision="bfloat16"), rounded=True) == HALF
    assert fastest(CPU, Machine(convolution="direct"), rounded=True) == DIRECT
    assert fastest(CPU, Machine(convolution="int8")) == HALF_BYTES
    everything = [DIRECT, WINOGRAD, BYTES, HALF, HALF_BYTES]
    assert asked == [everything, [DIRECT, WINOGRAD, HALF], [DIRECT, HALF], [BYTES, HALF_BYTES]]


def test_bytes_on_a_processor_without_them_are_an_error(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = measured(monkeypatch, DIRECT)
    monkeypatch.setattr(module, "has_int8", lambda: False)
    with pytest.raises(ConfigError, match="--convolution int8 is not for this processor"):
        fastest(CPU, Machine(convolution="int8"))
    fastest(CPU, Machine(), rounded=True)
    assert asked == [[DIRECT, WINOGRAD, HALF]]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": ["float64", "direct"]}', "\0"])
def test_a_damaged_memory_is_measured_anew(
    text: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, WINOGRAD)
    (home / module.FILE).write_text(text)
    assert fastest(CPU, Machine()) == WINOGRAD
    (choice,) = [
        value for key, value in json.loads((home / module.FILE).read_text()).items() if key != "a"
    ]
    assert choice == list(WINOGRAD)


def test_a_folder_that_cannot_be_written_is_no_error(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = measured(monkeypatch, WINOGRAD)
    (home / "file").write_text("")
    monkeypatch.setenv("IMPASTO_HOME", str(home / "file" / "below"))
    assert fastest(CPU, Machine()) == WINOGRAD
    assert fastest(CPU, Machine()) == WINOGRAD
    assert len(asked) == 2


def test_bfloat16_is_no_candidate_where_the_processor_cannot(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "has_fused", lambda dtype: False)
    asked = measured(monkeypatch, WINOGRAD)
    assert fastest(CPU, Machine()) == WINOGRAD
    assert asked == [[DIRECT, WINOGRAD]]


def test_all_methods_are_timed() -> None:
    seconds = module._seconds_of([DIRECT, WINOGRAD])
    assert set(seconds) == {DIRECT, WINOGRAD}
    assert all(0 < taken < 60 for taken in seconds.values())


def test_on_an_apple_gpu_the_numbers_have_four_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Mac is here: what is chosen where torch says that there is one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    device = find_device("auto")
    assert device == find_device("mps") == torch.device("mps")
    assert fastest(device, Machine()) == Method("float32")


def test_an_older_torch_names_the_widest_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert processor_abilities() == [torch.backends.cpu.get_cpu_capability().lower()]
