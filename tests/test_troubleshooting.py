"""docs/troubleshooting.md: each of its commands prints what it says there."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

PAGE = (Path(__file__).parents[1] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ERRORS = re.findall(r"^\$ impasto (.+)\n(impasto: .+)\n```$", PAGE, re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the page's commands find, without the extras heif and video."""
    monkeypatch.chdir(tmp_path)
    for name in ("photo", "painting", "other", "another"):
        Image.effect_noise((64, 48), 50).convert("RGB").save(f"{name}.jpg")
    Path("broken.jpg").write_bytes(Path("photo.jpg").read_bytes()[:900])
    Image.new("L", (64, 48)).save("mask.png")
    Path("notes.txt").write_text("eggs, flour, milk\n")
    Path("photos").mkdir()
    Path("photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    Path("photo.cr2").write_bytes(b"II*\0\x10\0\0\0CR\x02\0" + bytes(100))
    for module in ("pillow_heif", "av"):
        monkeypatch.setitem(sys.modules, module, None)
    return tmp_path


def test_there_are_twenty():
    assert len(ERRORS) == 20


@pytest.mark.parametrize(("command", "message"), ERRORS, ids=[command for command, _ in ERRORS])
def test_it_is_what_the_command_prints(impasto, folder, command, message):
    if "cuda" in command and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    before = sorted(folder.iterdir())
    code, out, err = impasto(*shlex.split(command))
    assert (code, out) == (2, "")
    # "..." are numbers of the machine or the file
    assert re.fullmatch(re.escape(message).replace(r"\.\.\.", ".+") + "\n", err), err
    assert sorted(folder.iterdir()) == before
