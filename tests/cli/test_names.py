"""Names of files, and standard input and output: any length, any encoding, any sign in them."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from impasto.cli import progress_bar
from impasto.config import Config
from impasto.errors import ConfigError
from impasto.images.read import read_settings
from impasto.parsing import format_value, mask_parts

LONGEST = 255


@pytest.fixture
def named(photo, style, tmp_path):
    """Copies a picture to a name of its own in the current folder."""

    def copy(name: str, of: Path = photo) -> str:
        shutil.copy(of, tmp_path / name)
        return name

    return copy


# --- default names
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["a", "ж", "景", "🖼"])
def test_default_names_fit_the_file_system(impasto, named, style, tiny, tmp_path, letter) -> None:
    long = letter * ((LONGEST - 4) // len(letter.encode()))
    content, other = named(long + ".png"), named(long + ".PNG", style)
    options = [*tiny, "--save-at", "1"]
    assert impasto("paint", content, other, *options)[0] == 0
    code, out, _ = impasto("texture", content, *tiny[:2], "--steps", 1, "--size", "32x32")
    assert code == 0
    made = {path.name for path in tmp_path.iterdir()} - {content, other}
    assert len(made) == 3
    assert Path(out.split("  (")[0]).name in made
    assert all(name.startswith(letter * 27) and len(os.fsencode(name)) < LONGEST for name in made)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_output_name_of_any_legal_length(painted, tmp_path, suffix) -> None:
    name = "ж" * ((LONGEST - 4) // 2) + "x" + suffix
    assert len(os.fsencode(name)) == LONGEST
    film = "f" * (LONGEST - 4) + ".gif"
    assert painted("--timelapse", film, "--trace", "t" * 249 + ".jsonl", out=name)[0] == 0
    assert read_settings(tmp_path / name)["steps_done"] == 2
    assert (tmp_path / film).exists()


def test_names_that_would_be_too_long_are_refused(refused, photo, style) -> None:
    assert "too long" in refused("paint", photo, style, "-o", "x" * 252 + ".png")
    line = refused("paint", photo, style, "-o", "x" * 250 + ".png", "--save-every", 50)
    assert "the name of the snapshot" in line


def test_a_default_name_that_is_taken_gets_a_number(impasto, photo, style, tiny, tmp_path) -> None:
    names = ["photo-style.png", "photo-style-2.png", "photo-style-3.png"]
    for name in names:
        assert impasto("paint", photo, style, *tiny)[1].startswith(f"{name}  (painted")
    before = [(tmp_path / name).read_bytes() for name in names]
    assert impasto("paint", photo, style, *tiny, "--seed", 1, "--overwrite")[0] == 0
    after = [(tmp_path / name).read_bytes() for name in names]
    assert after[1:] == before[1:]
    assert after[0] != before[0]


def test_a_name_that_is_given_is_written_over(painted, tmp_path) -> None:
    painted()
    before = (tmp_path / "out.png").read_bytes()
    assert painted("--seed", 1)[0] == 0
    assert (tmp_path / "out.png").read_bytes() != before


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("grid", "grid out.png"),
        ("curves", "curves run.jsonl"),
        ("features", "features out.png --size 32"),
        ("network", "features --network"),
        ("compare", "compare out.png out.png --vary seed=1"),
        ("reconstruct", "reconstruct --content out.png --layers conv1_1"),
        ("out-texture", "texture out.png --size 32x32"),
    ],
)
def test_no_command_writes_over_a_default_name(
    painted, impasto, tiny, tmp_path, name, arguments
) -> None:
    painted("--trace", "run.jsonl")
    command, *rest = arguments.split()
    options = tiny[:2] if command == "features" else tiny
    if command in ("texture", "grid", "curves"):
        options = tiny[:2] + tiny[4:] if command == "texture" else []
    (tmp_path / f"{name}.png").write_text("mine")
    assert impasto(command, *rest, *options)[0] == 0
    assert (tmp_path / f"{name}.png").read_text() == "mine"
    assert (tmp_path / f"{name}-2.png").read_bytes().startswith(b"\x89PNG")
    assert impasto(command, *rest, *options, "--overwrite")[0] == 0
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


# --- which are styles
# --------------------------------------------------------------------------------------------------


def test_several_photographs_do_not_become_styles(refused, photo, style) -> None:
    for command in (["paint"], ["compare", "--vary", "seed=1,2"]):
        line = refused(*command, photo, photo, photo, style)
        assert line.startswith("impasto: 4 pictures: which are styles? Say --style")
    line = refused("paint", photo, style, "--style", style)
    assert "with --style give one CONTENT" in line


def test_styles_that_are_said(impasto, photo, style, tiny) -> None:
    styles = ["--style", style, "--style", photo]
    assert impasto("paint", photo, *styles, *tiny)[0] == 0
    assert impasto("paint", photo, style, photo, "--blend=0.5,0.5", "-o", "b.png", *tiny)[0] == 0
    roles = [
        [picture["role"] for picture in read_settings(name)["inputs"]]
        for name in ("photo-style.png", "b.png")
    ]
    assert roles == [["content", "style", "style"]] * 2
    assert impasto("paint", "--from", "b.png", "-o", "c.png")[0] == 0


# --- signs in names
# --------------------------------------------------------------------------------------------------


def test_equals_signs_in_the_names_of_masks_and_starts(impasto, named, photo, style, tiny) -> None:
    mask, other = named("sky=1.png"), named("a=b=c.png", style)
    start = named("start=2,x.png", style)
    options = [f"--mask={mask}={other}={mask}", f"--start={start}", *tiny]
    assert impasto("paint", photo, style, *options, "-o", "out.png")[0] == 0
    found = read_settings("out.png")
    names = {picture["role"]: picture["name"] for picture in found["inputs"]}
    assert names["mask"] == names["style-mask"] == mask
    assert (names["mask-style"], names["start"]) == (other, start)
    assert impasto("paint", "--from", "out.png", "-o", "again.png")[0] == 0
    assert Path("again.png").read_bytes() == Path("out.png").read_bytes()


def test_how_masks_are_split(tmp_path, monkeypatch, named) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a=b", "c", "b=c"):
        named(name)
    assert mask_parts(Config(mask="a=b=c").mask[0]) == ("a=b", "c", "")
    assert mask_parts(Config(mask="alpha=b=c").mask[0]) == ("alpha", "b=c", "")
    named("a")
    named("b")
    assert mask_parts(Config(mask="a=b=c").mask[0]) == ("a", "b", "c")
    assert mask_parts(Config(mask="x==1=y").mask[0]) == ("x=1", "y", "")
    assert Config(mask="no=such=file").mask == ("no=such=file",)
    for wrong in ("a", "=", "a==b", "n=o=s=u=c=h"):
        with pytest.raises(ConfigError, match="it takes MASK=STYLE"):
            Config(mask=wrong)


def test_starts_with_equals_signs(tmp_path, monkeypatch, named) -> None:
    monkeypatch.chdir(tmp_path)
    name = named("noise=1.png")
    assert Config(start=name).start == {name: 1}
    assert Config(start=f"{name}=0.5,noise=1").start == {name: 0.5, "noise": 1}
    text = format_value(Config(start=name).start)
    assert Config(start=text).start == {name: 1}


@pytest.mark.parametrize(
    "address", ["https://example.org/a.jpg", "http://example.org/a.jpg?b=c", "ftp://x.org/a.png"]
)
def test_an_address_is_not_a_picture(refused, photo, style, address) -> None:
    said = f"{address} is an address: download it first: curl -LO {address}"
    assert said in refused("paint", address, style)
    assert said in refused("paint", photo, style, "--palette", address)
    assert said in refused("paint", photo, style, "--coarse", address)


# --- standard input and output
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def stdin(monkeypatch):
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


def test_a_picture_from_standard_input(stdin, impasto, photo, style, tiny) -> None:
    stdin(photo.read_bytes())
    code, out, _ = impasto("paint", "-", style, *tiny, "--figure", "sheet.png")
    assert (code, out.split("  (")[0]) == (0, "stdin-style.png")
    impasto("paint", photo, style, *tiny, "-o", "file.png")
    assert Image.open("stdin-style.png").tobytes() == Image.open("file.png").tobytes()


def test_nothing_from_standard_input(stdin, refused, style, photo) -> None:
    stdin(b"")
    assert "standard input is empty" in refused("paint", "-", style)
    assert "can be one picture only" in refused("paint", "-", "-")
    assert "cannot go on" in refused("paint", "-", style, "--checkpoint", "run")


def test_what_standard_output_cannot_do(refused, photo, style) -> None:
    for option in ("--json", "--open", "--save-every=1", "--save-at=2"):
        assert "give a file for" in refused("paint", photo, style, "-o", "-", option)
    line = refused("paint", photo, style, "-o", "-", "--checkpoint", "run")
    assert "--checkpoint cannot" in line


def run(folder: Path, data: bytes, *arguments: object, encoding: str = "utf-8"):
    return subprocess.run(
        [sys.executable, "-m", "impasto", *map(str, arguments)],
        input=data,
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )


def test_a_pipe_of_standard_input_and_output(photo, style, tiny, tmp_path) -> None:
    options = [*tiny, "--trace", "run.jsonl"]
    done = run(tmp_path, photo.read_bytes(), "paint", "-", style, "-o", "-", *options)
    assert done.returncode == 0, done.stderr
    assert Image.open(io.BytesIO(done.stdout)).size == (32, 27)
    assert b"standard output  (painted in" in done.stderr
    assert os.listdir(tmp_path) == ["run.jsonl"]


@pytest.mark.slow  # a process each; their quick kin are the bar and the escapes below
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_text_in_any_encoding(photo, style, tiny, tmp_path, encoding) -> None:
    name = "Москва-\udcff.png"  # and a byte that is no Unicode
    shutil.copy(photo, tmp_path / os.fsdecode(os.fsencode(name)))
    done = run(tmp_path, b"", "paint", name, style, *tiny, encoding=encoding)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"(painted in" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_progress_bar_in_any_encoding(encoding) -> None:
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding=encoding)  # which raises for what it lacks
    console = Console(file=file, force_terminal=True, width=200)
    bar = progress_bar._progress(console)
    with bar:
        bar.add_task("", total=1.0, text="level 1/2", left="2 s left")
        bar.refresh()
    file.flush()
    assert b"level 1/2" in written.getvalue()


def test_escapes_in_print_and_bytes_for_programs(tmp_path) -> None:
    code = "from impasto.cli.streams import accept_any_text; accept_any_text(); print('ж\\udcff═é')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )
    assert done.stdout == b"\\u0436\xff\\u2550\xe9\n"
