import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from configs import gram_config
from impasto import Machine, paint, paint_steps
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.errors import ConfigError, PictureError
from impasto.images.color import match_moments, to_oklab
from impasto.images.read import read
from impasto.painting.levels import levels_for, painted_size, style_size
from impasto.painting.problem import prepare_problem, regions_at
from impasto.painting.record import record_of
from machines import EXACT


@pytest.fixture
def files(tmp_path: Path, photo: Path, style: Path) -> dict[str, str]:
    """Pictures by name: masks of halves, of all and of a soft disc; styles."""
    rows, columns = np.mgrid[0:60, 0:72]
    masks = {
        "left": columns < 36,
        "right": columns >= 36,
        "top": rows < 30,
        "all": rows >= 0,
        "disc": (1.3 - np.hypot(rows - 30, columns - 36) / 25).clip(0, 1),
        "none": rows < 0,
    }
    found = {"photo": str(photo), "style": str(style)}
    for name, mask in masks.items():
        found[name] = str(tmp_path / f"{name}.png")
        Image.fromarray((255 * mask).astype(np.uint8)).save(found[name])
    for seed, name in enumerate(("warm", "cold"), 1):
        found[name] = str(tmp_path / f"{name}.png")
        pixels = np.random.default_rng(seed).integers(60, 190, (30, 40, 3), dtype=np.uint8)
        pixels[..., 2 if name == "warm" else 0] //= 3
        Image.fromarray(pixels).save(found[name])
    return found


@pytest.fixture
def problem(files):
    """The scene of `photo` in these styles, whose settings name files as {left}."""

    def make(*styles: str, content: object = "", **settings: object):
        def filled(value):
            if isinstance(value, str):
                return value.format(**files)
            return tuple(map(filled, value)) if isinstance(value, tuple) else value

        config = gram_config(
            size=48, levels=1, **{name: filled(value) for name, value in settings.items()}
        )
        return prepare_problem(
            read(content or files["photo"]), [read(files[name]) for name in styles], config
        )

    return make


def names(examples) -> list[str]:
    return [Path(each.name).stem for each in examples]


def test_one_style_is_the_style_of_all(problem, files) -> None:
    (part,) = problem("style").regions
    assert part.mask is None
    assert names(part.styles) == ["style"]
    assert part.styles[0][1:] == (1.0, None, "all", read(files["style"]).name)


@pytest.mark.parametrize(
    ("blend", "shares"),
    [
        ("", (1 / 3,) * 3),
        ("1,1,2", (0.25, 0.25, 0.5)),
        ("0,3,0", (0, 1, 0)),
        ("7,2,1", (0.7, 0.2, 0.1)),
    ],
)
def test_blended_styles_have_shares_that_add_to_one(problem, blend: str, shares: tuple) -> None:
    (part,) = problem("style", "warm", "cold", blend=blend).regions
    assert names(part.styles) == ["style", "warm", "cold"]
    assert [each.weight for each in part.styles] == pytest.approx(shares)


def test_the_rest_falls_to_the_first_style(problem) -> None:
    rest, left = problem("style", mask="{left}={warm}").regions
    assert (names(rest.styles), names(left.styles)) == (["style"], ["warm"])
    assert left.name == "left"
    assert left.mask.shape == (1, 1, 40, 48)
    assert left.mask[..., :20].min() > 0.9
    assert left.mask[..., 28:].max() < 0.1
    assert rest.mask[..., 28:].min() > 0.9


def test_without_a_style_the_rest_falls_to_the_first_masks(problem) -> None:
    rest, left, top = problem(mask=("{left}={warm}", "{top}={cold}")).regions
    assert names(rest.styles) == names(left.styles) == ["warm"]
    assert names(top.styles) == ["cold"]


@pytest.mark.parametrize("given", [["style"], []], ids=["with a style", "without"])
@pytest.mark.parametrize(
    "which", ["left", "left disc", "disc disc", "left right disc", "top left disc all", "all all"]
)
def test_masks_share_where_they_overlap_and_add_to_one_everywhere(
    problem, which: str, given: list[str]
) -> None:
    masks = tuple(f"{{{name}}}={{warm}}" for name in which.split())
    given = [] if "all" in which or "right" in which else given
    parts = problem(*given, mask=masks).regions
    total = torch.stack([part.mask for part in parts]).sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)
    assert all(part.mask.min() >= 0 for part in parts)
    assert len(parts) == len(masks) + (part_names := [part.name for part in parts]).count("rest"), (
        part_names
    )


def test_two_masks_of_the_same_place_share_it_evenly(problem) -> None:
    rest, one, two = problem("style", mask=("{left}={warm}", "{left}={cold}")).regions
    assert torch.equal(one.mask, two.mask)
    assert one.mask[..., :20].mean() == pytest.approx(0.5, abs=0.02)
    assert rest.mask[..., :20].max() < 0.05


def test_regions_have_names_of_their_own(problem) -> None:
    found = [
        part.name for part in problem("style", mask=("{left}={warm}", "{left}={cold}")).regions
    ]
    assert len(set(found)) == 3, found


def test_a_masks_soft_edge_stays_soft(problem) -> None:
    disc = problem("style", mask="{disc}={warm}").regions[1].mask
    assert ((disc > 0.2) & (disc < 0.8)).float().mean() > 0.1


def test_of_a_masked_style_only_that_is_meant(problem) -> None:
    (example,) = problem("style", mask="{left}={photo}={top}").regions[1].styles
    assert names([example]) == ["photo"]
    assert example.mask.shape == (1, 1, 60, 72)
    assert example.mask[..., :30, :].min() == 1


@pytest.mark.parametrize("masks", [("{all}={warm}",), ("{left}={warm}", "{right}={cold}")])
def test_a_style_that_is_left_over_is_named(problem, masks) -> None:
    with pytest.raises(
        ConfigError, match=r"style\.png paints nothing: the masks cover the whole picture"
    ):
        problem("style", mask=masks)
    assert "rest" not in [part.name for part in problem(mask=masks).regions]


@pytest.mark.parametrize(
    ("styles", "settings", "said"),
    [
        ("", {}, "no style picture"),
        ("style", {"mask": "{none}={warm}"}, r"the mask .*none\.png covers next to nothing"),
        ("style", {"mask": "{left}={warm}={none}"}, r"the mask .*none\.png covers next to nothing"),
        ("style", {"protect": "{none}"}, r"the mask .*none\.png covers next to nothing"),
        ("style", {"mask": "alpha={warm}"}, r"photo\.png has no transparency to use as a mask"),
        ("style", {"mask": "{left}=nowhere.png"}, "no picture at nowhere.png"),
        ("style", {"mask": "nowhere.png={warm}"}, "no picture at nowhere.png"),
        ("style", {"palette": "nowhere.png"}, "no picture at nowhere.png"),
        ("style", {"fine": "nowhere.png"}, "no picture at nowhere.png"),
        ("style", {"protect": "nowhere.png"}, "no picture at nowhere.png"),
        ("style", {"blend": "1,2"}, "--blend has 2 weights for 1 styles"),
        (
            "style",
            {"fine": "{warm}", "coarse": "{cold}"},
            r"style\.png paints nothing: --fine and --coarse",
        ),
        ("", {"fine": "{warm}"}, "no style picture for the other layers"),
        ("", {"coarse": "{warm}"}, "no style picture for the other layers"),
        (
            "",
            {"fine": "{warm}", "coarse": "{cold}", "mask": "{all}={style}"},
            r"warm\.png paints nothing",
        ),
    ],
)
def test_what_would_paint_nothing_is_refused(
    problem, styles: str, settings: dict, said: str
) -> None:
    with pytest.raises((ConfigError, PictureError), match=said) as caught:
        problem(*styles.split(), **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("color", ["content", "luminance"])
def test_a_palette_and_other_colors_are_two_answers(color: str) -> None:
    with pytest.raises(
        ConfigError, match=f"--palette and --color {color} are two answers to one question"
    ):
        gram_config(palette="third.png", color=color)


@pytest.mark.parametrize(
    ("styles", "settings", "found"),
    [
        ("style", {"fine": "{warm}"}, [("warm", "fine"), ("style", "coarse")]),
        ("style", {"coarse": "{warm}"}, [("style", "fine"), ("warm", "coarse")]),
        ("", {"fine": "{warm}", "coarse": "{cold}"}, [("warm", "fine"), ("cold", "coarse")]),
        (
            "style cold",
            {"fine": "{warm}"},
            [("warm", "fine"), ("style", "coarse"), ("cold", "coarse")],
        ),
    ],
)
def test_strokes_and_forms_each_have_their_style(
    problem, styles: str, settings: dict, found: list
) -> None:
    (part,) = problem(*styles.split(), **settings).regions
    assert (
        list(zip(names(part.styles), [each.layers for each in part.styles], strict=True)) == found
    )
    for layers in ("fine", "coarse"):
        assert sum(each.weight for each in part.styles if each.layers == layers) == pytest.approx(1)


def with_alpha(photo: Path, alpha: np.ndarray) -> Image.Image:
    content = Image.open(photo).convert("RGBA")
    content.putalpha(Image.fromarray(alpha))
    return content


def test_what_is_opaque_in_the_content_is_a_mask(problem, photo) -> None:
    alpha = np.zeros((40, 48), np.uint8)
    alpha[:, 24:] = 255
    rest, part = problem("style", content=with_alpha(photo, alpha), mask="alpha={warm}").regions
    assert names(rest.styles) == ["style"]
    torch.testing.assert_close(part.mask[0, 0], torch.from_numpy(alpha / 255).float())


def test_luminance_makes_content_and_styles_grey_and_remembers_the_colors(problem, photo) -> None:
    found = problem("style", "warm", color="luminance", mask="{left}={cold}")
    assert torch.equal(found.original.pixels, read(photo).pixels)
    light = to_oklab(found.original.pixels)[:, :1]
    torch.testing.assert_close(to_oklab(found.content.pixels)[:, :1], light, atol=1e-3, rtol=0)
    for picture in (found.content, *(each for each in found.style_sources)):
        assert to_oklab(picture.pixels)[:, 1:].abs().max() < 1e-3
    for each in found.style_sources:
        assert float(to_oklab(each.pixels)[:, 0].mean()) == pytest.approx(
            float(light.mean()), abs=0.03
        )
    assert len(found.style_sources) == 3


@pytest.mark.parametrize("form", ["root", "cholesky"])
@pytest.mark.parametrize(
    ("settings", "target"), [({"color": "content"}, "photo"), ({"palette": "{cold}"}, "cold")]
)
def test_every_style_is_given_the_colors(
    problem, files, form: str, settings: dict, target: str
) -> None:
    found = problem("style", color_match=form, mask="{left}={warm}", **settings)
    assert torch.equal(found.content.pixels, read(files["photo"]).pixels)
    for each, name in zip(found.style_sources, ("style", "warm"), strict=True):
        wanted = match_moments(read(files[name]).pixels, read(files[target]).pixels, form)
        assert torch.equal(each.pixels, wanted)
    pixels = found.style_sources[0].pixels
    assert not found.luminance
    assert found.recolored(pixels, found.content.pixels) is pixels


def test_masks_of_other_shapes_are_noted(problem, tmp_path) -> None:
    Image.new("L", (30, 90), 255).save(tmp_path / "tall.png")
    tall = str(tmp_path / "tall.png")
    notes = problem("style", mask="{left}={warm}=" + tall, protect=tall).notes
    assert len(notes) == 2
    assert all("tall.png (30 x 90) was squeezed to the shape of " in note for note in notes)
    assert problem("style", mask="{left}={warm}={right}", protect="{disc}").notes == [
        note for note in problem("style", mask="{left}={warm}={right}").notes if note
    ]


def test_regions_are_as_large_as_their_level(problem, files) -> None:
    config = gram_config(
        size=160, levels=2, mask=f"{files['left']}={files['warm']}={files['top']}", style_scale=0.5
    )
    found = prepare_problem(read(files["photo"]), [read(files["style"])], config)
    assert len(found.levels) == 2
    for level in found.levels:
        for region in regions_at(found, level, config):
            assert region.mask.shape[2:] == (level.height, level.width)
            for source in region.styles:
                assert max(source.pixels.shape[2:]) == level.width // 2
                assert source.mask is None or source.mask.shape[2:] == source.pixels.shape[2:]


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("shape", ["own", "content"])
def test_the_brush_grows_with_style_scale_at_every_level(files, scale: float, shape: str) -> None:
    config = gram_config(size=512, levels=3, style_scale=scale, style_shape=shape)
    content, style = read(files["photo"]), read(files["cold"])
    levels = levels_for(content, config)
    assert [max(level[:2]) for level in levels] == [128, 256, 512]
    for level in levels:
        height, width = style_size(level, style, config, levels[-1])
        ratio = 3 / 4 if shape == "own" else level.height / level.width
        assert width == pytest.approx(max(16, scale * level.width), abs=1)
        assert height == pytest.approx(max(16, scale * level.width * ratio), abs=1)


@pytest.mark.parametrize(
    ("size", "ratio", "count"),
    [
        (48, 2, 1),
        (128, 2, 1),
        (180, 2, 1),
        (256, 2, 2),
        (512, 2, 3),
        (1024, 2, 4),
        (2048, 2, 5),
        (512, 4, 2),
        (2048, 4, 3),
        (512, math.sqrt(2), 5),
        (512, 16, 1),
    ],
)
def test_levels_begin_at_about_128_pixels(photo, size: int, ratio: float, count: int) -> None:
    levels = levels_for(read(photo), gram_config(size=size, level_ratio=ratio, steps=120))
    assert len(levels) == count
    assert max(levels[-1][:2]) == size
    assert sum(level.steps for level in levels) == 120
    assert len(levels) == 1 or 128 / math.sqrt(ratio) <= max(levels[0][:2]) <= 128 * math.sqrt(
        ratio
    )


def test_levels_that_are_given_are_taken(photo) -> None:
    assert len(levels_for(read(photo), gram_config(size=2048, levels=2))) == 2


def test_settings_record_every_picture(files, tiny_weights) -> None:
    config = gram_config(
        backbone=str(tiny_weights),
        start=files["cold"],
        palette=files["warm"],
        protect=files["disc"],
        fine=files["cold"],
        mask=f"{files['left']}={files['warm']}={files['top']}",
    )
    content, style = read(files["photo"]), read(files["style"])
    problem = prepare_problem(content, [style], config)
    inputs = record_of(problem, config, EXACT, Backbone(load(str(tiny_weights))))["inputs"]
    wanted = [
        "content photo",
        "style style",
        "start cold",
        "fine cold",
        "protect disc",
        "palette warm",
    ]
    wanted += ["mask left", "mask-style warm", "style-mask top"]
    assert inputs == [
        {"role": role, "name": files[name], "sha256": read(files[name]).sha256}
        for role, name in map(str.split, wanted)
    ]


def test_pictures_in_memory_stand_for_names(files, tiny_weights, tmp_path) -> None:
    """What the config names may be given as arrays: the painting is the same, and the names are in
    its settings."""
    names = {"start": "cold", "palette": "warm", "protect": "disc", "fine": "cold"}
    common = {
        "backbone": str(tiny_weights),
        "size": 32,
        "steps": 3,
    }
    from_files = gram_config(
        **common,
        **{field: files[name] for field, name in names.items()},
        mask=f"{files['left']}={files['warm']}={files['top']}",
    )
    from_memory = gram_config(**common, **names, mask="left=warm=top")
    named = {name: read(files[name]) for name in ("cold", "warm", "disc", "left", "top")}
    a = paint(files["photo"], files["style"], from_files, EXACT)
    b = paint(files["photo"], files["style"], from_memory, EXACT, named=named)
    assert torch.equal(a.pixels, b.pixels)
    assert [each["name"] for each in b.settings["inputs"][2:]] == [
        "cold",
        "cold",
        "disc",
        "warm",
        "left",
        "warm",
        "top",
    ]
    assert [each["sha256"] for each in a.settings["inputs"]] == [
        each["sha256"] for each in b.settings["inputs"]
    ]


@pytest.mark.parametrize("control", ["protect", "palette", "fine", "mask", "color"])
def test_the_library_paints_with_every_control(files, tiny_weights, control: str) -> None:
    settings = {
        "protect": files["left"],
        "palette": files["cold"],
        "fine": files["warm"],
        "color": "luminance",
        "mask": f"{files['disc']}={files['warm']}",
    }
    config = gram_config(backbone=str(tiny_weights), size=32, steps=4)
    plain = paint(files["photo"], files["style"], config, machine=EXACT)
    changed = config.changed(**{control: settings[control]})
    painting = paint(files["photo"], files["style"], changed, machine=EXACT)
    assert painting.pixels.shape[2:] == painted_size(read(files["photo"]), config)
    assert (painting.pixels - plain.pixels).abs().max() > 1e-3
    assert painting.value == pytest.approx(sum(painting.terms.values()), rel=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_step_in_luminance_is_shown_on_a_gpu(photo, style, tiny_weights) -> None:
    config = gram_config(backbone=str(tiny_weights), size=32, steps=1, color="luminance")
    for step in paint_steps(photo, style, config, machine=Machine(device="cuda")):
        assert step.shown.shape == step.picture.shape
