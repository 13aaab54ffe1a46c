import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from crafted import noise
from impasto.errors import OutputError, PictureError
from impasto.images import atomic
from impasto.images.read import read, read_settings
from impasto.images.write import FORMATS, WITH_ALPHA, check_output, write

SETTINGS = {
    "program": "impasto",
    "version": "0.1.0",
    "config": {"size": 512, "style_layers": {"relu1_1": 0.5}, "learning_rate": None, "clamp": True},
    "machine": {"memory": "auto", "tile": 128},
    "inputs": [{"role": "content", "name": 'Ærø "2"/写真.jpg', "sha256": "ab" * 32}],
    "steps_done": 200,
}
SMOOTH = noise(4, 3).resize((48, 40), Image.Resampling.BICUBIC)  # what lossy formats are made for
HALF = SMOOTH.convert("RGBA")
# the left half is transparent
HALF.putalpha(Image.fromarray(np.tile(np.uint8([0, 255]).repeat(24), (40, 1))))
# of 255, in the mean; the others are lossy
LEAST_ERROR = {"PNG": 0, "TIFF": 0, "BMP": 0, "GIF": 20}
SUFFIXES = list(FORMATS)
CARRYING = [suffix for suffix in SUFFIXES if suffix != ".bmp"]


def names(folder) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".PNG", ".Jpg"])
def test_every_suffix_round_trips(tmp_path, suffix):
    out = write(SMOOTH, tmp_path / f"out{suffix}", SETTINGS)
    assert names(tmp_path) == [out.name]
    back = read(out)
    assert back.alpha is None
    error = np.abs(back.pixels[0].permute(1, 2, 0).numpy() * 255 - np.asarray(SMOOTH)).mean()
    assert error <= LEAST_ERROR.get(FORMATS[suffix.lower()][0], 4) + 1e-5
    with Image.open(out) as image:
        assert image.format == FORMATS[suffix.lower()][0]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_alpha_is_kept_or_laid_on_white(tmp_path, suffix):
    back = read(write(HALF, tmp_path / f"out{suffix}", SETTINGS))
    if FORMATS[suffix][0] in WITH_ALPHA:
        assert back.alpha[0, 0, :, :22].max() < 0.05
        assert back.alpha[0, 0, :, 26:].min() > 0.95
    else:
        assert back.alpha is None
        assert back.pixels[..., :22].min() > 0.95
        assert (
            np.abs(back.pixels[0, 0, :, 26:].numpy() * 255 - np.asarray(SMOOTH)[:, 26:, 0]).mean()
            < 20
        )


@pytest.mark.parametrize("image", [SMOOTH, HALF], ids=["opaque", "transparent"])
@pytest.mark.parametrize("suffix", CARRYING)
def test_settings_come_back(tmp_path, suffix, image):
    assert read_settings(write(image, tmp_path / f"out{suffix}", SETTINGS)) == SETTINGS


def test_bmp_carries_no_settings(tmp_path):
    with pytest.raises(PictureError, match="carries no settings"):
        read_settings(write(SMOOTH, tmp_path / "out.bmp", SETTINGS))


@pytest.mark.parametrize(
    "told",
    [
        None,
        {"program": "other"},
        {"program": "impasto"},
        {**SETTINGS, "program": "x"},
        ["impasto"],
        "impasto",
    ],
)
def test_what_impasto_did_not_write_is_no_settings(tmp_path, told):
    with pytest.raises(PictureError, match="carries no settings"):
        read_settings(write(SMOOTH, tmp_path / "out.png", told))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_photographs_own_description_is_no_settings(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x010E] = "On the beach"
    SMOOTH.save(tmp_path / f"photo{suffix}", exif=exif)
    with pytest.raises(PictureError, match="carries no settings"):
        read_settings(tmp_path / f"photo{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_picture_twice_is_the_same_bytes(tmp_path, suffix):
    first, second = (
        write(HALF, tmp_path / f"{name}{suffix}", SETTINGS).read_bytes() for name in "ab"
    )
    assert first == second


@pytest.mark.parametrize("before", [None, b"an older picture"], ids=["new", "over an older one"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (OSError(28, "No space left on device"), OutputError),
        (ValueError("too large for this format"), OutputError),
        (RuntimeError("the encoder gave up"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failed_write_leaves_what_was_there(
    tmp_path, monkeypatch, before, suffix, failure, raised
):
    out = tmp_path / f"out{suffix}"
    if before:
        out.write_bytes(before)

    def save(image, file, **options):
        file.write(b"half of a pic")
        raise failure

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(raised) as error:
        write(SMOOTH, out, SETTINGS)
    if raised is OutputError:
        assert str(error.value).startswith(f"cannot write {out}: ")
    assert names(tmp_path) == ([out.name] if before else [])
    assert before is None or out.read_bytes() == before


def test_a_failed_rename_leaves_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "out.png").write_bytes(b"older")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        write(SMOOTH, tmp_path / "out.png")
    assert names(tmp_path) == ["out.png"]
    assert (tmp_path / "out.png").read_bytes() == b"older"


def test_a_picture_too_large_for_its_format_is_told(tmp_path):
    with pytest.raises(OutputError, match="16383"):  # WebP's largest side
        write(Image.new("RGB", (16384, 16)), tmp_path / "out.webp")
    assert names(tmp_path) == []


def test_settings_too_long_for_jpeg_are_told(tmp_path):
    with pytest.raises(OutputError, match="cannot write"):
        write(SMOOTH, tmp_path / "out.jpg", {**SETTINGS, "inputs": ["x" * 70_000]})
    assert names(tmp_path) == []


def test_a_good_output_is_checked_without_a_trace(tmp_path):
    (tmp_path / "older.png").write_bytes(b"older")
    for name in ("new.png", "older.png"):
        assert check_output(str(tmp_path / name)) == tmp_path / name
    assert names(tmp_path) == ["older.png"]
    assert (tmp_path / "older.png").read_bytes() == b"older"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is a folder: give the picture a name"),
        ("sub", "is a folder: give the picture a name"),
        ("sub.png", "is a folder: give the picture a name"),
        ("no/where/out.png", "no folder"),
        ("file.png/out.png", "no folder"),
        ("out", "has no picture's suffix: choose from .png, "),
        ("out.psd", "has no picture's suffix: choose from .png, "),
        (".png", "has no picture's suffix"),
        ("long" * 100 + ".png", "File name too long"),
        ("nu\0ll.png", "cannot write"),
    ],
)
def test_a_bad_output_is_one_clear_line(tmp_path, name, said):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub.png").mkdir()
    (tmp_path / "file.png").write_bytes(b"a file")
    with pytest.raises(OutputError) as error:
        check_output(tmp_path / name)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == ["file.png", "sub", "sub.png"]


def test_an_empty_output_is_told():
    with pytest.raises(OutputError, match="is a folder"):
        check_output("")


def test_a_read_only_folder_is_told(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)  # root may write everywhere
    with pytest.raises(OutputError, match=r"cannot write .*out.png: Permission denied"):
        check_output(tmp_path / "out.png")


def test_a_read_only_file_is_told(tmp_path, monkeypatch):
    (tmp_path / "out.png").write_bytes(b"older")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="Permission denied"):
        write(SMOOTH, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == b"older"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_truly_read_only_folder_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        check_output(tmp_path / "out.png")


def test_formats_that_are_not_built_in_name_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(OutputError, match=r"impasto\[heif\]"):
        check_output(tmp_path / "out.heic")
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    with pytest.raises(OutputError, match="without AVIF"):
        check_output(tmp_path / "out.avif")


def dead_process() -> int:
    """The number of a process that has ended."""
    command = [sys.executable, "-c", "import os; print(os.getpid())"]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


def test_what_a_killed_run_left_of_the_same_file_is_removed(tmp_path):
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom impasto.images.atomic import "
        "atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as part:\n    part.touch()\n    "
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    out = tmp_path / "film [1].gif"
    subprocess.run([sys.executable, "-c", code, str(out)], check=False)
    assert len(names(tmp_path)) == 1
    check_output(out)
    assert names(tmp_path) == []


def test_what_others_are_writing_stays(tmp_path):
    out, machine, dead = tmp_path / "out.png", atomic._machine(), dead_process()
    kept = {
        f".out.png.{os.getppid()}-{machine}7.part",  # somebody alive
        f".out.png.{os.getpid()}-{machine}7.part",  # another thread
        f".out.png.{dead}-{'0' * 10}7.part",  # of another machine
        f".other.png.{dead}-{machine}7.part",
        f".out.png.mine.{dead}-{machine}7.part",
        "out.png.part",
    }
    for name in kept:
        (tmp_path / name).touch()
    check_output(out)
    assert set(names(tmp_path)) == kept
