import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from configs import gram_config
from impasto import Config, paint, paint_steps
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.config import changed_by
from impasto.errors import ConfigError, PictureError, SolverError
from impasto.images.read import read, resize
from impasto.objective.losses import total_variation
from impasto.objective.objective import Objective
from machines import EXACT


@pytest.fixture(scope="module")
def backbone(tiny_weights) -> Backbone:
    return Backbone(load(str(tiny_weights)))


@pytest.fixture
def config(tiny_weights) -> Config:
    return gram_config(backbone=str(tiny_weights), size=96, steps=12, levels=2)


def noisy(height: int = 40, width: int = 48) -> np.ndarray:
    return np.random.default_rng(1).random((height, width, 3)).astype(np.float32)


def test_painting_lowers_the_objective(config: Config, photo, style) -> None:
    steps = list(paint_steps(photo, style, config.changed(levels=1)))
    assert steps[-1].value < 0.5 * steps[0].value


def test_steps_tell_where_the_run_is(config: Config, photo, style) -> None:
    steps = list(paint_steps(photo, style, config.changed(size=192)))
    assert [step.number for step in steps] == list(range(1, 13))
    assert [step.evaluations for step in steps] == list(range(1, 13))
    assert {step.levels for step in steps} == {2}
    assert [step.level for step in steps] == sorted(step.level for step in steps)
    assert tuple(steps[0].picture.shape) == (1, 3, 80, 96)
    assert tuple(steps[-1].picture.shape) == (1, 3, 160, 192)
    assert steps[-1].fraction == 1
    assert all(a.fraction < b.fraction and a.seconds <= b.seconds for a, b in pairwise(steps))
    assert set(steps[0].terms) == {
        "content relu4_2",
        *(f"style relu{k}_1" for k in range(1, 6)),
        "grain",
        "flatness",
    }
    assert float(steps[5].value) == pytest.approx(
        sum(float(term) for term in steps[5].terms.values()), rel=1e-5
    )


def test_an_earlier_steps_picture_is_not_painted_over(config: Config, photo, style) -> None:
    kept = []
    for step in paint_steps(photo, style, config):
        kept.append((step.picture, step.picture.clone()))
    assert all(torch.equal(now, then) for now, then in kept)


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "adam"}, {"start": "noise", "seed": 5}, {"precision": "bfloat16"}]
)
def test_the_same_run_gives_the_same_bytes(
    config: Config, photo, style, tmp_path, changes: dict
) -> None:
    files = [
        paint(photo, style, *changed_by(changes, config)).save(tmp_path / f"{k}.png")
        for k in (1, 2)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_another_seed_gives_another_picture(config: Config, photo, style) -> None:
    one, two = (
        paint(photo, style, config.changed(start="noise", seed=seed, steps=3)) for seed in (1, 2)
    )
    assert not torch.equal(one.pixels, two.pixels)


def test_the_painting_is_the_best_point_not_the_last(config: Config, photo, style) -> None:
    # far too long steps
    config = config.changed(optimizer="adam", learning_rate=0.5, levels=1, steps=20)
    steps = list(paint_steps(photo, style, config))
    lowest = min(steps, key=lambda step: float(step.value))
    assert lowest.number < 20
    painting = paint(photo, style, config)
    assert torch.equal(painting.pixels, lowest.picture.clamp(0, 1))
    assert painting.value == float(lowest.value)
    assert painting.terms == {name: float(value) for name, value in lowest.terms.items()}


@pytest.mark.parametrize("kind", ["path", "image", "array", "bytes", "tensor"])
def test_pictures_of_every_kind(config: Config, style, kind: str) -> None:
    values = (noisy() * 255).round().astype(np.uint8)
    floats = torch.from_numpy(values).permute(2, 0, 1).float() / 255
    content = {
        "path": style,
        "image": Image.fromarray(values),
        "array": values / np.float32(255),
        "bytes": values,
        "tensor": floats,
    }[kind]
    painting = paint(content, style, config.changed(steps=2, levels=1))
    assert painting.pixels.shape[:2] == (1, 3)
    assert max(painting.image.size) == 96


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("content", lambda c, s: c),
        ("style", lambda c, s: s),
        ("content=3,style=1", lambda c, s: 0.75 * c + 0.25 * s),
    ],
)
def test_where_a_painting_starts(config: Config, start: str, expected) -> None:
    content, style = noisy(), 1 - noisy()
    config = config.changed(size="original", start=start, levels=1, steps=1)
    first = next(paint_steps(content, style, config)).picture
    wanted = torch.from_numpy(expected(content, style)).permute(2, 0, 1)[None]
    torch.testing.assert_close(first, wanted, atol=1e-5, rtol=0)


def test_start_from_any_picture(config: Config, photo, style) -> None:
    config = config.changed(size="original", levels=1, steps=1)
    by_path = next(paint_steps(noisy(), style, config.changed(start=str(photo)))).picture
    by_hand = next(paint_steps(noisy(), style, config, start=photo)).picture
    assert torch.equal(by_path, by_hand)


def test_clamped_pixels_stay_between_black_and_white(config: Config, photo, style) -> None:
    for step in paint_steps(photo, style, config.changed(strength=100)):
        assert 0 <= step.picture.min() <= step.picture.max() <= 1


def test_ctrl_c_returns_what_was_painted_at_full_size(config: Config, photo, style) -> None:
    def stop(step) -> None:
        if step.number == 3:
            raise KeyboardInterrupt

    painting = paint(photo, style, config.changed(size=192), on_step=stop)
    assert not painting.finished
    assert painting.steps == 3
    assert tuple(painting.pixels.shape) == (1, 3, 160, 192)


def test_a_run_that_goes_wrong_is_mended_said_and_the_best_kept(
    config: Config, photo, style, monkeypatch
) -> None:
    real, calls = Objective.evaluate, []

    def sick(self, pixels):
        calls.append(1)
        value, gradient = real(self, pixels)
        return (
            value._replace(total=value.total * float("nan")) if len(calls) in (4, 5) else value
        ), gradient

    monkeypatch.setattr(Objective, "evaluate", sick)
    painting = paint(photo, style, config.changed(levels=1))
    assert painting.finished
    assert ["not finite" in note for note in painting.notes[-2:]] == [True, True]
    assert not any("not finite" in note for note in painting.notes[:-2])
    assert np.isfinite(painting.value)
    assert torch.isfinite(painting.pixels).all()


def test_an_objective_that_is_never_finite_is_an_error(
    config: Config, photo, style, monkeypatch
) -> None:
    real = Objective.evaluate

    def hopeless(self, pixels):
        value, gradient = real(self, pixels)
        return value._replace(total=value.total * float("inf")), gradient

    monkeypatch.setattr(Objective, "evaluate", hopeless)
    with pytest.raises(SolverError, match="at the start"):
        paint(photo, style, config)


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"size": 100}, (100, 83)),
        ({"size": "original"}, (48, 40)),
        ({"size": 20, "size_of": "height"}, (24, 20)),
        ({"size": 100, "size_of": "at-most"}, (48, 40)),
        ({"size": 24, "size_of": "at-most"}, (24, 20)),
    ],
)
def test_sizes(config: Config, style, changes: dict, size: tuple[int, int]) -> None:
    assert paint(noisy(), style, config.changed(**changes, steps=1)).image.size == size


def test_a_painting_too_thin_is_an_error(config: Config, style) -> None:
    with pytest.raises(PictureError, match="give a larger --size"):
        paint(noisy(16, 64), style, config.changed(size=32))


def test_alpha_comes_back(config: Config, style, tmp_path) -> None:
    values = np.full((40, 48, 4), 200, np.uint8)
    values[:, :24, 3] = 0
    out = paint(Image.fromarray(values), style, config.changed(size="original", steps=1)).save(
        tmp_path / "a.png"
    )
    alpha = np.asarray(Image.open(out).getchannel("A"))
    assert (alpha == values[..., 3]).all()


def test_a_loaded_backbone_is_used(config: Config, backbone: Backbone, photo, style) -> None:
    config = config.changed(steps=2)
    given = paint(
        photo, style, config.changed(backbone="vgg19", padding="zeros"), backbone=backbone
    )
    loaded = paint(photo, style, config.changed(padding="zeros"), machine=EXACT)
    assert torch.equal(given.pixels, loaded.pixels)


@pytest.mark.parametrize("styles", [[], ()])
def test_no_style_is_an_error(config: Config, photo, styles) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        paint(photo, styles, config)


def test_two_styles_need_two_weights(config: Config, photo, style) -> None:
    with pytest.raises(ConfigError, match="3 weights for 2 styles"):
        paint(photo, [style, style], config.changed(blend="1,2,3"))


def test_settings_tell_what_was_painted(config: Config, photo, style) -> None:
    settings = paint(photo, [style, noisy()], config.changed(steps=2)).settings
    assert [each["role"] for each in settings["inputs"]] == ["content", "style", "style"]
    assert settings["inputs"][0]["name"] == str(photo)
    assert len(settings["inputs"][2]["sha256"]) == 64
    assert Config(**settings["config"]) == config.changed(steps=2)


def test_a_level_starts_with_the_contents_detail(
    config: Config, backbone: Backbone, photo, style
) -> None:
    # with nothing to do but keep the content, the second level begins at the content, not at a
    # blurred copy
    config = config.changed(size=192, style_layers="", grain_weight=0)
    first = next(
        step for step in paint_steps(style, photo, config, backbone=backbone) if step.level == 2
    )
    torch.testing.assert_close(
        first.picture, resize(read(style).pixels, 160, 192), atol=2e-3, rtol=0
    )


def test_a_texture_gets_no_detail_of_the_content(
    config: Config, backbone: Backbone, photo, style
) -> None:
    config = config.changed(size=192, content_layers="", start="noise")
    one, two = (
        list(paint_steps(each, style, config, backbone=backbone))[-1] for each in (photo, noisy())
    )
    assert torch.equal(one.picture, two.picture)


def test_the_grain_term_brings_the_surface_to_the_styles(
    config: Config, backbone: Backbone, photo, style
) -> None:
    config = config.changed(levels=1, steps=40, style_layers="relu3_1", content_layers="relu4_2")
    wanted = total_variation(resize(read(style).pixels, 80, 96))
    off = {
        weight: abs(
            1
            - total_variation(
                paint(photo, style, config.changed(grain_weight=weight), backbone=backbone).pixels
            )
            / wanted
        )
        for weight in (0, 10)
    }
    assert off[10] < 0.5 * off[0]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (SolverError("the objective is nan at the start"), "nan at the start"),
    ],
)
def test_trouble_at_a_later_level_does_not_lose_the_painting(
    config, photo, style, monkeypatch, trouble, said
) -> None:
    real, sizes = Objective.__init__, []

    def fails_when_large(self, config, backbone, content, *rest):
        sizes.append(content.shape)
        if len(sizes) == 2:
            raise trouble
        real(self, config, backbone, content, *rest)

    monkeypatch.setattr(Objective, "__init__", fails_when_large)
    painting = paint(photo, style, config.changed(size=192))
    assert said in painting.stopped
    assert not painting.finished
    assert tuple(painting.pixels.shape) == (1, 3, 160, 192)


def test_a_mistake_of_ours_is_not_hidden(config: Config, photo, style) -> None:
    def broken(step) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        paint(photo, style, config, on_step=broken)


def test_the_start_is_recorded(config: Config, photo, style) -> None:
    given = paint(photo, style, config.changed(steps=1), start=style).settings["inputs"]
    named = paint(photo, style, config.changed(steps=1, start=str(style))).settings["inputs"]
    assert given[-1] == named[-1]
    assert given[-1]["role"] == "start"


PAINTS = """
import hashlib, sys, torch
torch.set_num_threads(2)
from impasto import Config, paint
config = Config(backbone=sys.argv[1], size=128, levels=1, steps=3)
print(hashlib.sha256(paint(sys.argv[2], sys.argv[3], config).pixels.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_every_process_paints_the_same(tiny_weights, photo, style) -> None:
    command = [sys.executable, "-c", PAINTS, *map(str, (tiny_weights, photo, style))]
    assert (
        len({subprocess.run(command, capture_output=True, check=True).stdout for _ in range(30)})
        == 1
    )
