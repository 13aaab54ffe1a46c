import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from impasto.images.color import to_oklab
from impasto.images.read import read, read_settings, resize
from impasto.images.write import to_image

PULL = [
    "--content-weight",
    0,
    "--style-layers",
    "relu1_1",
    "--steps",
    25,
    "--start",
    "content=0.5,noise=0.5",
]


@pytest.fixture
def here(tmp_path: Path, photo: Path) -> Path:
    """A folder with a content of muted colors, light and dark styles, and masks of halves."""
    generator = np.random.default_rng(3)
    pixels = 0.35 + 0.25 * read(photo).pixels[0].permute(1, 2, 0).numpy()
    pictures = {
        "content": pixels,
        "dark": 0.3 * generator.random((36, 40, 3)),
        "light": 0.75 + 0.25 * generator.random((36, 40, 3)),
        "red": generator.random((36, 40, 3)) * [1, 0.4, 0.1],
        "blue": generator.random((36, 40, 3)) * [0.2, 0.4, 1],
        "left": np.tile(np.arange(48) < 24, (40, 1)).astype(float),
        "right": np.tile(np.arange(48) >= 24, (40, 1)).astype(float),
        "disc": (1.5 - np.hypot(*np.mgrid[-20:20, -24:24]) / 12).clip(0, 1),
    }
    for name, values in pictures.items():
        Image.fromarray((255 * values).round().astype(np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture
def painted(impasto, here, tiny):
    """Paints `content` in these styles, and gives the painting's pixels."""

    def paint(styles: str, *options: object, out: str = "out.png") -> torch.Tensor:
        names = [f"{name}.png" for name in ["content", *styles.split()]]
        code, _, err = impasto("paint", *names, "-o", out, *tiny, *options)
        assert code == 0, err
        return read(here / out).pixels

    return paint


def content_at(here: Path, pixels: torch.Tensor) -> torch.Tensor:
    return resize(read(here / "content.png").pixels, *pixels.shape[2:])


def mean_color(pixels: torch.Tensor) -> torch.Tensor:
    return to_oklab(pixels).mean((0, 2, 3))


def halves(pixels: torch.Tensor) -> tuple[float, float]:
    """How light the left and the right half are."""
    return float(pixels[..., :12].mean()), float(pixels[..., 20:].mean())


@pytest.mark.parametrize(
    ("control", "form"),
    [
        ("--color content", "root"),
        ("--colour content", "cholesky"),
        ("--palette blue.png", "root"),
        *(
            pytest.param(control, form, marks=pytest.mark.slow)
            for control, form in (
                ("--color content", "cholesky"),
                ("--colour content", "root"),
                ("--palette blue.png", "cholesky"),
            )
        ),
    ],
)
def test_a_painting_has_the_colors_that_are_asked_for(
    painted, here, control: str, form: str
) -> None:
    target = mean_color(read(here / ("blue.png" if "palette" in control else "content.png")).pixels)
    plain = painted("red", *PULL)
    given = painted("red", *PULL, *control.split(), "--color-match", form)
    near, far = ((mean_color(each) - target).norm() for each in (given, plain))
    assert near < 0.7 * far
    assert read_settings(here / "out.png")["config"]["color_match"] == form


def assert_colored_as_the_content(here: Path, pixels: torch.Tensor) -> None:
    """Chroma and hue are the content's, but for pixels too dark or light for as much chroma."""
    shown, content = to_oklab(pixels)[0, 1:], to_oklab(content_at(here, pixels))[0, 1:]
    off = (shown - content).norm(dim=0)
    assert (off < 0.01).double().mean() > 0.97
    assert (shown.norm(dim=0) < content.norm(dim=0) + 0.01).all()
    assert (shown[0] * content[1] - shown[1] * content[0]).abs().max() < 0.01 * content.norm(
        dim=0
    ).max()


@pytest.mark.parametrize("start", ["content", "noise", "style"])
def test_in_luminance_the_content_keeps_its_colors(painted, here, start: str) -> None:
    pixels = painted("red", "--color", "luminance", "--start", start, "--steps", 12)
    assert_colored_as_the_content(here, pixels)
    assert (to_oklab(pixels)[:, 0] - to_oklab(content_at(here, pixels))[:, 0]).abs().mean() > 0.002


def test_snapshots_and_film_of_luminance_have_the_contents_colors(painted, here) -> None:
    written = ("--save-every", 2, "--timelapse", "film.apng")
    painted("red", "--color", "luminance", "--start", "noise", "--steps", 4, *written)
    assert_colored_as_the_content(here, read(here / "out-00002.png").pixels)
    assert_colored_as_the_content(here, read(here / "out-00004.png").pixels)
    with Image.open(here / "film.apng") as film:
        frames = [read(frame.convert("RGB")).pixels for frame in ImageSequence.Iterator(film)]
    assert len(frames) > 1
    for frame in frames:
        assert_colored_as_the_content(here, frame)


def test_each_half_has_the_style_of_its_mask(painted) -> None:
    left, right = halves(painted("dark", *PULL, "--mask", "left.png=light.png"))
    assert left > right + 0.08
    left, right = halves(painted("dark", *PULL, "--mask", "right.png=light.png"))
    assert right > left + 0.08


def test_any_number_of_masks_and_no_other_style(painted, impasto, here, tiny) -> None:
    masks = ["--mask=left.png=light.png", "--mask=right.png=dark.png", "--mask=disc.png=red.png"]
    left, right = halves(painted("", *PULL, *masks))
    assert left > right + 0.08
    assert len(read_settings(here / "out.png")["config"]["mask"]) == 3


def test_without_a_style_the_name_is_of_the_first_mask_s(impasto, here, tiny) -> None:
    code, out, _ = impasto("paint", "content.png", *tiny, "--mask", "left.png=dark.png")
    assert code == 0
    assert out.startswith("content-dark.png ")


def test_what_is_meant_of_a_style_is_its_mask(painted, here) -> None:
    both = torch.cat([read(here / f"{name}.png").pixels for name in ("dark", "light")], 3)
    to_image(both).save(here / "both.png")
    means = [
        float(
            painted(
                "", *PULL, "--mask", f"left.png=both.png={half}.png", "--mask", "right.png=red.png"
            )[..., :12].mean()
        )
        for half in ("left", "right")
    ]
    assert means[1] > means[0] + 0.25


def test_what_is_opaque_in_the_content_is_a_region(painted, here) -> None:
    content = Image.open(here / "content.png").convert("RGBA")
    content.putalpha(Image.open(here / "left.png"))
    content.save(here / "content.png")
    assert painted("dark", *PULL, "--mask", "alpha=light.png").shape[2:] == (27, 32)
    with Image.open(here / "out.png") as picture:  # what is transparent is kept, but not read
        colors = torch.from_numpy(np.array(picture)).float().permute(2, 0, 1) / 255
    left, right = halves(colors[:3])
    assert left > right + 0.08
    assert colors[3, :, 20:].max() < 0.1


@pytest.mark.parametrize(
    "names", [["a/sky.png", "b/sky.png"], ["left.png", "left.png"], ["rest.png", "left.png"]]
)
def test_masks_of_one_name_are_two_regions(impasto, here, tiny, names) -> None:
    for name, mask in zip(names, ("left", "right"), strict=True):
        (here / name).parent.mkdir(exist_ok=True)
        if name != f"{mask}.png" and not (here / name).exists():
            shutil.copy(here / f"{'left' if name == 'rest.png' else mask}.png", here / name)
    masks = [
        f"--mask={name}={style}.png" for name, style in zip(names, ("light", "red"), strict=True)
    ]
    styles = ["dark.png"] if names[0] != "a/sky.png" else []
    code, out, err = impasto(
        "paint", "content.png", *styles, "-o", "out.png", *tiny, *masks, "--json"
    )
    assert code == 0, err
    line = json.loads(out)
    assert sum(line["terms"].values()) == pytest.approx(line["objective"], rel=1e-4)


def test_what_is_protected_stays_nearer_the_content(painted, here) -> None:
    layers = ("--style-layers", "relu1_1", "--content-layers", "relu1_1")
    options = (*layers, "--strength", 3, "--start", "noise", "--steps")
    plain = painted("light", *options, 60)
    kept = painted("light", *options, 60, "--protect", "left.png", "--protection", 100)
    away = [
        (each - content_at(here, each))[..., :14].square().mean().sqrt() for each in (plain, kept)
    ]
    assert away[1] < 0.7 * away[0]
    plain = painted("light", *options, 25)
    weak = painted("light", *options, 25, "--protect", "left.png", "--protection", 1)
    torch.testing.assert_close(weak, plain, atol=2 / 255, rtol=0)


def test_blends_lie_between_their_styles(painted) -> None:
    dark, even, light = (
        float(painted("dark light", *PULL, "--blend", blend).mean())
        for blend in ("1,0", "1,1", "0,1")
    )
    assert dark + 0.05 < even < light - 0.05


def test_strokes_and_forms_come_from_two_pictures(painted) -> None:
    options = [*PULL, "--style-layers", "relu1_1,relu3_1"]
    one = painted("light", *options, "--fine", "dark.png")
    two = painted("", *options, "--fine", "dark.png", "--coarse", "light.png")
    other = painted("dark", *options, "--coarse", "light.png")
    assert torch.equal(one, two)
    assert torch.equal(one, other)
    plain = painted("light", *options)
    assert float(one.mean()) < float(plain.mean()) - 0.01


def test_style_scale_changes_the_brush(painted, here) -> None:
    plain, large = (painted("red", "--steps", 5, "--style-scale", scale) for scale in (1, 2.5))
    assert read_settings(here / "out.png")["config"]["style_scale"] == 2.5
    assert (plain - large).abs().mean() > 1e-3


CONTROLS = [
    "--mask=left.png=light.png=disc.png",
    "--protect=disc.png",
    "--palette=blue.png",
    "--fine=red.png",
]
USED = ["left.png", "light.png", "disc.png", "blue.png", "red.png"]


def test_from_repeats_every_control(painted, impasto, here) -> None:
    painted("dark", *CONTROLS, "--protection", 20, "--style-scale", 1.5)
    assert impasto("paint", "--from", "out.png", "-o", "again.png")[0] == 0
    assert (here / "again.png").read_bytes() == (here / "out.png").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        "--mask left.png=light.png",
        "--fine red.png --coarse blue.png",
        "--coarse red.png --fine blue.png",
    ],
)
def test_from_repeats_a_run_without_a_style(painted, impasto, here, options: str) -> None:
    painted("", *options.split(), "--color", "luminance")
    assert impasto("paint", "--from", "out.png", "-o", "again.png")[0] == 0
    assert (here / "again.png").read_bytes() == (here / "out.png").read_bytes()


@pytest.mark.parametrize("name", USED)
def test_from_refuses_a_picture_that_has_changed(painted, impasto, here, name: str) -> None:
    painted("dark", *CONTROLS)
    Image.open(here / name).rotate(180).save(here / name)
    code, out, err = impasto("paint", "--from", "out.png", "-o", "again.png")
    assert (code, out) == (2, "")
    assert err.startswith(f"impasto: {name} is not the picture that was painted then")
    assert not (here / "again.png").exists()


def test_from_can_be_painted_without_its_palette(painted, impasto, here) -> None:
    painted("dark", *CONTROLS)
    assert (
        impasto(
            "paint", "--from", "out.png", "-o", "again.png", "--palette", "", "--color", "content"
        )[0]
        == 0
    )
    config = read_settings(here / "again.png")["config"]
    assert (config["palette"], config["color"], config["protect"]) == ("", "content", "disc.png")


def test_a_later_mask_on_the_line_takes_the_place_of_those_in_the_file(
    painted, impasto, here
) -> None:
    painted("dark", *CONTROLS)
    assert (
        impasto("paint", "--from", "out.png", "-o", "again.png", "--mask", "right.png=red.png")[0]
        == 0
    )
    assert read_settings(here / "again.png")["config"]["mask"] == ["right.png=red.png"]


def test_show_prints_the_controls_and_their_pictures(painted, impasto, here) -> None:
    painted("dark", *CONTROLS, "--protection", 20)
    code, out, _ = impasto("show", "out.png")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    again = shlex.split(out.splitlines()[-1])
    assert again[:2] == ["impasto", "paint"]
    for option, value in (
        ("--palette", "blue.png"),
        ("--protection", "20.0"),
        ("--mask", "left.png=light.png=disc.png"),
    ):
        assert re.search(f"{option}[= ]{re.escape(value)}", " ".join(again)), option
    for role, name in [
        ("mask", "left"),
        ("mask-style", "light"),
        ("style-mask", "disc"),
        ("palette", "blue"),
    ]:
        digest = read(here / f"{name}.png").sha256[:16]
        assert [role, f"{name}.png", "sha256", digest] in lines
    assert json.loads(impasto("show", "out.png", "--json")[1])["config"]["mask"] == [
        "left.png=light.png=disc.png"
    ]


def test_the_figure_shows_every_picture(painted, here) -> None:
    painted("dark", "--figure", "sheet.png")
    plain = read(here / "sheet.png").pixels.shape
    painted("dark", *CONTROLS, "--figure", "sheet.png")
    assert read(here / "sheet.png").pixels.shape != plain


def test_a_mask_of_another_shape_is_told(impasto, here, tiny) -> None:
    Image.new("L", (20, 60), 255).save(here / "tall.png")
    arguments = [
        "paint",
        "content.png",
        "dark.png",
        "-o",
        "out.png",
        *tiny,
        "--protect",
        "tall.png",
    ]
    said = "the mask tall.png (20 x 60) was squeezed to the shape of content.png (48 x 40)"
    assert said in impasto(*arguments)[2]
    assert json.loads(impasto(*arguments, "--json")[1])["notes"] == [said]
    assert impasto(*arguments, "--quiet")[1:] == ("", "")


@pytest.mark.parametrize("name", USED)
@pytest.mark.parametrize("option", ["-o", "--figure", "--timelapse"])
def test_no_picture_is_painted_over(impasto, here, tiny, name: str, option: str) -> None:
    if option == "--timelapse":
        name = shutil.copy(here / name, here / f"{name}.apng") and f"{name}.apng"
    before = (here / name).read_bytes()
    controls = [each.replace(name.removesuffix(".apng"), name) for each in CONTROLS]
    code, _, err = impasto("paint", "content.png", "dark.png", *tiny, *controls, option, name)
    assert code == 2
    assert "one of the pictures to paint from: give another name" in err
    assert (here / name).read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--mask left.png", "it takes MASK=STYLE or MASK=STYLE=STYLE_MASK"),
        ("--mask left.png=", "it takes MASK=STYLE or MASK=STYLE=STYLE_MASK"),
        ("--mask =red.png", "it takes MASK=STYLE or MASK=STYLE=STYLE_MASK"),
        ("--mask a=b=c=d", "it takes MASK=STYLE or MASK=STYLE=STYLE_MASK"),
        ("--mask left.png=red.png --mask what", "it takes MASK=STYLE or MASK=STYLE=STYLE_MASK"),
        ("--mask nowhere.png=red.png", "no picture at nowhere.png"),
        ("--mask left.png=nowhere.png", "no picture at nowhere.png"),
        ("--mask alpha=red.png", "content.png has no transparency to use as a mask"),
        (
            "--mask left.png=red.png --mask right.png=red.png",
            "dark.png paints nothing: the masks cover the whole",
        ),
        (
            "--fine red.png --coarse blue.png",
            "dark.png paints nothing: --fine and --coarse take all layers",
        ),
        (
            "--palette red.png --color content",
            "--palette and --color content are two answers to one question",
        ),
        ("--palette nowhere.png", "no picture at nowhere.png"),
        ("--protect nowhere.png", "no picture at nowhere.png"),
        ("--protection 0.5", "--protection is '0.5': it takes a number from 1 to 10,000"),
        ("--color purple", "--color is 'purple': it takes style or content or luminance"),
        ("--style-scale 0", "--style-scale is '0': it takes a number from 0.1 to 10"),
    ],
)
def test_a_bad_control_is_one_line(impasto, here, tiny, options: str, said: str) -> None:
    code, out, err = impasto(
        "paint", "content.png", "dark.png", "-o", "out.png", *tiny, *options.split()
    )
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("impasto: ")
    assert said in err
    assert not (here / "out.png").exists()


def test_a_bad_mask_is_quoted_as_it_was_typed(impasto, here, tiny) -> None:
    err = impasto("paint", "content.png", "dark.png", *tiny, "--mask", "left.png")[2]
    assert err.startswith("impasto: --mask is 'left.png': it takes ")


@pytest.mark.parametrize(
    "options", ["--fine red.png", "--coarse red.png", "--palette red.png", "--protect left.png"]
)
def test_a_control_alone_is_no_style(impasto, here, tiny, options: str) -> None:
    code, _, err = impasto("paint", "content.png", *tiny, *options.split())
    assert (code, err.count("\n")) == (2, 1)
    assert "style picture" in err.lower()
