import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from impasto.errors import OutputError
from impasto.figures.contact_sheet import PAPER
from impasto.figures.timelapse import Film
from impasto.images.read import read, read_settings

MARGIN, HIGH = 16, 320  # of a contact sheet, in pixels


@pytest.fixture
def refused(painted, tmp_path, monkeypatch):
    """Runs a painting that must fail with one line before it begins, and gives that line; nothing
    may be written."""

    def evaluate(*_):
        raise AssertionError("the painting began")

    def run(*options: object, out: str = "out.png") -> str:
        monkeypatch.setattr("impasto.objective.objective.Objective.evaluate", evaluate)
        before = kept(tmp_path)
        code, said, err = painted(*options, out=out)
        assert (code, said) == (2, "")
        assert err.startswith("impasto: ")
        assert err.count("\n") == 1
        assert kept(tmp_path) == before
        return err

    return run


def kept(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def frames_of(path: Path) -> list[np.ndarray]:
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def full(*_: object, **__: object) -> None:
    raise OutputError("no room for the film's frames")


def test_a_timelapse_ends_with_the_painting(painted, tmp_path):
    code, out, _ = painted("--timelapse", "film.apng", "--steps", 5)
    assert code == 0
    assert out.splitlines()[1:] == ["film.apng  (timelapse)"]
    assert names(tmp_path) == ["film.apng", "out.png"]
    frames = frames_of(tmp_path / "film.apng")
    assert 3 <= len(frames) <= 6
    assert np.array_equal(frames[-1], pixels_of(tmp_path / "out.png"))


@pytest.mark.parametrize(
    ("suffix", "shape"), [("gif", (27, 32)), ("webp", (27, 32)), ("mp4", (26, 32))]
)
def test_the_suffix_of_the_timelapse_is_its_format(painted, tmp_path, suffix, shape):
    assert painted("--timelapse", f"film.{suffix}", "--steps", 3)[0] == 0
    if suffix == "mp4":
        import av

        with av.open(str(tmp_path / "film.mp4")) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    else:
        frames = frames_of(tmp_path / f"film.{suffix}")
    assert {frame.shape for frame in frames} == {(*shape, 3)}


def test_a_timelapse_of_several_levels_is_of_one_size(painted, tmp_path):
    assert painted("--timelapse", "film.apng", "--size", 160, "--levels", 2, "--steps", 5)[0] == 0
    frames = frames_of(tmp_path / "film.apng")
    assert {frame.shape for frame in frames} == {(133, 160, 3)}
    assert np.array_equal(frames[-1], pixels_of(tmp_path / "out.png"))


def test_a_timelapse_of_a_transparent_content_is_laid_on_white(
    impasto, photo, style, tiny, tmp_path
):
    content = Image.open(photo).convert("RGBA")
    content.putalpha(Image.fromarray(np.tile(np.uint8([0, 255]).repeat(24), (40, 1))))
    content.save(tmp_path / "content.png")
    assert (
        impasto("paint", "content.png", style, "-o", "out.png", *tiny, "--timelapse", "film.apng")[
            0
        ]
        == 0
    )
    for frame in frames_of(tmp_path / "film.apng"):
        assert frame[:, :12].min() > 230
        assert frame[:, 20:].mean() < 230


def test_a_run_of_one_step_has_a_timelapse(painted, tmp_path):
    assert painted("--timelapse", "film.apng", "--steps", 1)[0] == 0
    assert np.array_equal(frames_of(tmp_path / "film.apng")[-1], pixels_of(tmp_path / "out.png"))


def test_ctrl_c_leaves_a_timelapse_of_what_was_painted(painted, tmp_path, ctrl_c):
    ctrl_c(2)
    assert painted("--timelapse", "film.apng")[0] == 0
    assert np.array_equal(frames_of(tmp_path / "film.apng")[-1], pixels_of(tmp_path / "out.png"))


def test_a_timelapse_that_cannot_be_written_does_not_lose_the_painting(
    painted, tmp_path, monkeypatch
):
    monkeypatch.setattr(Film, "write", full)
    code, out, err = painted("--timelapse", "film.gif")
    assert (code, out) == (2, "")
    assert (
        err.splitlines()[-1] == "impasto: no room for the film's frames; the painting is in out.png"
    )
    assert read_settings(tmp_path / "out.png")["steps_done"] == 2
    assert names(tmp_path) == ["out.png"]


def test_a_timelapse_that_cannot_be_written_does_not_lose_the_figure(
    painted, tmp_path, monkeypatch
):
    monkeypatch.setattr(Film, "write", full)
    assert painted("--timelapse", "film.gif", "--figure", "sheet.png")[0] == 2
    assert names(tmp_path) == ["out.png", "sheet.png"]


def test_a_figure_that_cannot_be_written_does_not_lose_the_painting(painted, tmp_path, monkeypatch):
    monkeypatch.setattr("impasto.cli.terminal.write_contact_sheet", full)
    code, _, err = painted("--timelapse", "film.gif", "--figure", "sheet.png")
    assert code == 2
    assert err.splitlines()[-1].endswith("; the painting is in out.png")
    assert names(tmp_path) == ["film.gif", "out.png"]


def test_a_timelapse_that_breaks_off_is_told_once_and_the_run_goes_on(
    painted, tmp_path, monkeypatch
):
    painted("--steps", 5, out="plain.png")
    seen, real = [], Film.add_frame

    def add_frame(film: Film, pixels: torch.Tensor, number: int) -> None:
        seen.append(pixels)
        if len(seen) == 3:
            full()
        real(film, pixels, number)

    monkeypatch.setattr(Film, "add_frame", add_frame)
    code, _, err = painted("--steps", 5, "--timelapse", "film.apng")
    assert code == 0
    assert err.count("no film from step 3 on: no room for the film's frames") == 1
    assert len(seen) == 3
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
    frames = frames_of(tmp_path / "film.apng")
    assert len(frames) == 3
    assert np.array_equal(frames[-1], pixels_of(tmp_path / "out.png"))


def test_a_disk_that_is_full_for_frames_does_not_lose_the_painting(painted, tmp_path, monkeypatch):
    real = Image.Image.save

    def save(image, file, *arguments, **options):
        if "impasto-film-" in str(file):
            raise OSError(28, "No space left on device")
        real(image, file, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", save)
    code, _, err = painted("--timelapse", "film.gif")
    assert code == 2
    assert err.count("no film from step 1 on") == 1
    assert err.splitlines()[-1].endswith("No space left on device; the painting is in out.png")
    assert names(tmp_path) == ["out.png"]


def test_the_figure_shows_content_style_and_result(painted, photo, style, tmp_path):
    code, out, _ = painted("--figure", "sheet.png")
    assert code == 0
    assert out.splitlines()[1:] == ["sheet.png  (figure)"]
    sheet, left = pixels_of(tmp_path / "sheet.png"), MARGIN
    for path in (photo, style, tmp_path / "out.png"):
        with Image.open(path) as image:
            width = round(image.width / image.height * HIGH)
            scaled = np.asarray(
                image.convert("RGB").resize((width, HIGH), Image.Resampling.LANCZOS)
            )
        assert np.array_equal(sheet[MARGIN : MARGIN + HIGH, left : left + width], scaled)
        assert (sheet[MARGIN + HIGH :, left : left + width] != PAPER).any()  # its caption
        left += width + MARGIN
    assert sheet.shape[1] == left
    assert (sheet[:MARGIN] == PAPER).all()


def test_the_figure_shows_every_style(impasto, photo, style, tiny, tmp_path):
    several = [f"--style={path}" for path in (style, photo, style)]
    options = ["-o", "out.png", *tiny, "--figure", "sheet.jpg"]
    assert impasto("paint", photo, *several, *options)[0] == 0
    widths = [round(48 / 40 * HIGH)] * 4 + [round(32 / 27 * HIGH)]
    assert pixels_of(tmp_path / "sheet.jpg").shape[1] == sum(widths) + MARGIN * 6


def test_json_names_the_files_that_were_asked_for(painted, tmp_path):
    code, out, err = painted(
        "--json", "--timelapse", "film.gif", "--figure", "sheet.png", "--trace", "run.jsonl"
    )
    assert (code, err, out.count("\n")) == (0, "", 1)
    line = json.loads(out)
    files = {name: line[name] for name in ("picture", "timelapse", "figure", "trace")}
    assert files == {
        "picture": "out.png",
        "timelapse": "film.gif",
        "figure": "sheet.png",
        "trace": "run.jsonl",
    }
    assert names(tmp_path) == sorted(files.values())
    line = json.loads(painted("--json", "--trace", "run.jsonl")[1])
    assert line.keys() & files.keys() == {"picture", "trace"}


def test_quiet_writes_the_files_and_says_nothing(painted, tmp_path):
    assert painted(
        "--quiet", "--timelapse", "film.gif", "--figure", "sheet.png", "--trace", "t.json"
    ) == (0, "", "")
    assert names(tmp_path) == ["film.gif", "out.png", "sheet.png", "t.json"]


@pytest.mark.parametrize(
    ("out", "options", "said"),
    [
        ("out.png", "--figure out.png", "out.png is the picture too"),
        ("out.png", "--figure ./here/../out.png", "out.png is the picture too"),
        ("out.png", "--figure linked.png", "linked.png is the picture too"),
        ("out.gif", "--timelapse out.gif", "out.gif is the picture too"),
        ("out.png", "--timelapse two.webp --figure two.webp", "two.webp is the timelapse too"),
    ],
)
def test_two_files_of_one_name_are_refused(refused, tmp_path, out, options, said):
    (tmp_path / "here").mkdir()
    (tmp_path / "linked.png").symlink_to("out.png")
    assert f"{said}: give another name" in refused(*options.split(), out=out)


@pytest.mark.parametrize("option", ["--save-every", "--save-at"])
def test_a_snapshot_and_a_figure_of_one_name_are_refused(refused, option):
    line = refused("--figure", "out-00002.png", option, 2)
    assert "out-00002.png is the figure too: give " in line


@pytest.mark.parametrize("option", ["-o", "--figure", "--timelapse", "--trace"])
@pytest.mark.parametrize("role", ["content", "style", "start", "from"])
def test_no_file_overwrites_what_is_painted_from(
    painted, impasto, refused, photo, style, tiny, tmp_path, option, role
):
    name = {"--timelapse": "input.webp", "--trace": "input.json"}.get(option, "input.png")
    if role == "from":
        painted()
        (tmp_path / "out.png").rename(tmp_path / name)
    else:
        # a picture is known by its content, not by its name
        (tmp_path / name).write_bytes(photo.read_bytes())
    before = kept(tmp_path)
    pictures = {"content": [name, style], "style": [photo, name]}.get(role, [photo, style])
    more = {"start": ["--start", name], "from": ["--from", name]}.get(role, [])
    files = ["-o", name] if option == "-o" else ["-o", "other.png", option, name]
    code, out, err = impasto("paint", *pictures, *files, *more, *tiny)
    assert (code, out) == (2, "")
    assert err == f"impasto: {name} is one of the pictures to paint from: give another name\n"
    assert kept(tmp_path) == before


@pytest.mark.parametrize("option", ["--save-every", "--save-at"])
def test_no_snapshot_overwrites_what_is_painted_from(impasto, photo, style, tiny, tmp_path, option):
    (tmp_path / "out-00002.png").write_bytes(photo.read_bytes())  # painted on from a snapshot, say
    impasto("paint", "out-00002.png", style, "-o", "out.png", *tiny, option, 2)
    assert (tmp_path / "out-00002.png").read_bytes() == photo.read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--figure no/where.png", "no folder no to write where.png into"),
        ("--timelapse no/where.gif", "no folder no to write where.gif into"),
        ("--trace no/where.jsonl", "no folder no to write where.jsonl into"),
        (
            "--figure folder.png",
            "folder.png is a folder: give the figure a name, as folder.png/figure.png",
        ),
        (
            "--timelapse folder.png",
            "folder.png is a folder: give the film a name, as folder.png/film.gif",
        ),
        (
            "--trace folder.png",
            "folder.png is a folder: give the trace a name, as folder.png/trace.jsonl",
        ),
        ("--figure sheet.gifv", "sheet.gifv has no figure's suffix: choose from .png"),
        (
            "--timelapse film.avi",
            "film.avi has no film's suffix: choose from .gif, .webp, .apng, .mp4, .webm",
        ),
        ("--trace run", "run has no trace's suffix: choose from .jsonl, .json"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_run(refused, tmp_path, options, said):
    (tmp_path / "folder.png").mkdir()
    assert said in refused(*options.split())


def test_a_video_without_its_extra_is_refused_before_the_run(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert "pip install 'impasto[video]'" in refused("--timelapse", "film.mp4")


def test_a_run_leaves_nothing_in_the_temporary_folder(painted, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert painted("--timelapse", "film.gif")[0] == 0
    assert names(tmp_path / "temporary") == []
    assert read(tmp_path / "out.png").pixels.shape == (1, 3, 27, 32)


def test_a_depth_that_a_format_lacks_is_told(refused):
    assert "cannot have 16 bits: choose .png, .tif, .tiff" in refused("--depth", 16, out="out.jpg")


def test_a_painting_of_16_bits(painted, impasto, tmp_path):
    assert painted("--depth", 16)[0] == 0
    assert painted(out="eight.png")[0] == 0
    assert (tmp_path / "out.png").read_bytes()[24] == 16  # bits a sample, in the header
    assert np.abs(pixels_of("out.png").astype(int) - pixels_of("eight.png")).max() <= 1
    assert painted("--depth", 16, out="out.tif")[0] == 0
    deep, eight = read("out.tif").pixels * 255, read("eight.png").pixels * 255
    assert 0 < float((deep - eight).abs().max()) <= 0.501
    for name in ("out.png", "out.tif"):
        assert impasto("show", name, "--json")[0] == 0
        assert impasto("paint", "--from", name, "-o", f"again-{name}", "--depth", 16)[0] == 0
        assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()


def test_a_texture_of_16_bits(impasto, style, tiny, tmp_path):
    options = ("--size", "32x32", *tiny[:2], "--steps", 1, "-o", "texture.png", "--depth", 16)
    assert impasto("texture", style, *options)[0] == 0
    assert (tmp_path / "texture.png").read_bytes()[24] == 16
    assert (
        "cannot have 16 bits" in impasto("texture", style, *options[:-3], "t.jpg", *options[-2:])[2]
    )


@pytest.mark.parametrize(("kept", "found"), [("basic", "Jensen"), ("all", "Jensen"), ("none", "")])
def test_what_is_kept_of_the_photographs_file(impasto, photo, style, tiny, kept, found):
    exif = Image.Exif()
    exif[315] = "Jensen"
    exif.get_ifd(0x8825)[1] = "N"
    Image.open(photo).save("photo.jpg", exif=exif)
    assert impasto("paint", "photo.jpg", style, "-o", "o.jpg", "--metadata", kept, *tiny)[0] == 0
    with Image.open("o.jpg") as image:
        assert image.getexif().get(315, "") == found
        assert bool(image.getexif().get_ifd(0x8825)) == (kept == "all")


def test_show_and_from_decode_no_pixels(painted, impasto, monkeypatch, tmp_path):
    assert painted()[0] == 0

    def load(*_):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    assert impasto("show", "out.png")[0] == 0
    code, _, err = impasto("paint", "--from", "out.png", "-o", "no/where.png")
    assert (code, "no folder no" in err) == (2, True)


def test_notes_on_how_pictures_were_read_are_shown(impasto, style, tiny):
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "blue")]
    frames[0].save("two.gif", save_all=True, append_images=frames[1:])
    code, _, err = impasto("paint", "two.gif", style, "-o", "o.png", *tiny)
    assert code == 0
    assert "two.gif: the first of 2 frames is used" in err


@pytest.mark.parametrize("size_of", ["long", "at-most", "height"])
def test_a_picture_that_is_scaled_down_while_read_is_painted_in_its_own_size(
    impasto, style, tiny, size_of
):
    Image.new("RGB", (1403, 901)).resize((1403, 901)).save("large.jpg")
    given = [*tiny, "--size", 128, "--size-of", size_of]
    assert impasto("paint", "large.jpg", style, "-o", "o.png", *given)[0] == 0
    size = (199, 128) if size_of == "height" else (128, 82)
    assert pixels_of("o.png").shape[1::-1] == size
