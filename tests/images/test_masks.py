import json

import numpy as np
import pytest
import torch
from PIL import Image

from impasto import Config
from impasto.errors import ConfigError, PictureError
from impasto.images.masks import read_mask, shape_note
from impasto.images.read import read, resize
from impasto.painting.problem import extras

LEFT = np.uint8([[255] * 10 + [0] * 14] * 20)


def test_a_mask_is_how_bright_a_picture_is() -> None:
    mask = read_mask(Image.fromarray(LEFT)).alpha
    assert mask.shape == (1, 1, 20, 24)
    assert torch.equal(mask[0, 0], torch.from_numpy(LEFT / 255).float())


def test_grey_levels_are_soft_edges() -> None:
    ramp = np.uint8(np.tile(np.linspace(0, 255, 52).round(), (16, 1)))
    torch.testing.assert_close(
        read_mask(Image.fromarray(ramp)).alpha[0, 0], torch.from_numpy(ramp / 255).float()
    )


def test_a_colored_mask_is_its_mean() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    assert read_mask(red).alpha.mean() == pytest.approx(1 / 3)


@pytest.mark.parametrize("brightness", [0, 255])
def test_transparency_is_the_mask_where_there_is_some(tmp_path, brightness: int) -> None:
    picture = Image.new("RGBA", (24, 20), (brightness,) * 3)
    picture.putalpha(Image.fromarray(LEFT))
    picture.save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png").alpha
    assert torch.equal(mask[0, 0], torch.from_numpy(LEFT / 255).float())


def test_a_drawn_mask_that_is_opaque_everywhere_is_its_brightness(tmp_path) -> None:
    Image.fromarray(LEFT).convert("RGBA").save(tmp_path / "mask.png")
    assert torch.equal(
        read_mask(tmp_path / "mask.png").alpha[0, 0], torch.from_numpy(LEFT / 255).float()
    )


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "I;16"])
def test_masks_of_every_kind_of_picture(tmp_path, mode: str) -> None:
    picture = Image.fromarray(LEFT)
    picture = (
        Image.fromarray(LEFT.astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
    )
    picture.save(tmp_path / "mask.png")
    torch.testing.assert_close(
        read_mask(tmp_path / "mask.png").alpha[0, 0], torch.from_numpy(LEFT / 255).float()
    )


def test_a_mask_of_nothing_is_refused_by_name(tmp_path) -> None:
    Image.new("L", (200, 200)).save(tmp_path / "empty.png")
    with pytest.raises(
        PictureError, match=r"the mask .*empty\.png covers next to nothing: white"
    ) as caught:
        read_mask(tmp_path / "empty.png")
    assert str(caught.value.value).endswith("empty.png")


def test_a_mask_of_little_is_a_mask() -> None:
    spot = np.zeros((200, 200), np.uint8)
    spot[:3, :3] = 255
    assert read_mask(spot).alpha.sum() == 9
    with pytest.raises(PictureError, match="covers next to nothing"):
        read_mask(spot // 100)


def test_a_mask_that_is_no_picture_is_refused(tmp_path) -> None:
    with pytest.raises(PictureError, match="no picture at"):
        read_mask(tmp_path / "nowhere.png")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((40, 48), False),
        ((80, 96), False),
        ((41, 48), True),
        ((401, 480), False),
        ((48, 40), True),
        ((20, 48), True),
    ],
)
def test_a_mask_of_another_shape_is_told(
    tmp_path, photo, shape: tuple[int, int], said: bool
) -> None:
    Image.new("L", shape[::-1], 255).save(tmp_path / "mask.png")
    content, mask = read(photo), read_mask(tmp_path / "mask.png")
    told = (
        f"the mask {mask.name} ({shape[1]} x {shape[0]}) was squeezed to the shape of "
        f"{content.name} (48 x 40)"
    )
    assert shape_note(mask, content) == (told if said else "")


@pytest.mark.parametrize("size", [(5, 6), (20, 24), (61, 35)])
def test_a_mask_is_made_to_fit_and_stays_between_none_and_all(size: tuple[int, int]) -> None:
    mask = resize(read_mask(LEFT).alpha, *size)
    assert mask.shape == (1, 1, *size)
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask.mean() == pytest.approx(10 / 24, abs=0.02)
    assert mask[..., 0].min() > 0.95
    assert mask[..., -1].max() < 0.05


EVERYTHING = {
    "start": "begin.png=0.5,content=0.5",
    "fine": "f.png",
    "coarse": "c.png",
    "palette": "p.png",
    "protect": "keep.png",
    "protection": 30,
    "mask": ("a.png=one.png", "alpha=two.png=b.png"),
    "style_scale": 1.5,
    "color_match": "cholesky",
}


def test_extras_are_all_that_only_the_config_names() -> None:
    assert list(extras(Config(**EVERYTHING))) == [
        ("start", "begin.png"),
        ("fine", "f.png"),
        ("coarse", "c.png"),
        ("protect", "keep.png"),
        ("palette", "p.png"),
        ("mask", "a.png"),
        ("mask-style", "one.png"),
        ("mask-style", "two.png"),
        ("style-mask", "b.png"),
    ]
    assert list(extras(Config(start="content,noise"))) == []


@pytest.mark.parametrize(
    "settings", [EVERYTHING, {"color": "luminance", "levels": "auto"}, {"mask": " a = b "}, {}]
)
def test_the_controls_come_back_from_json(settings: dict) -> None:
    config = Config(**settings)
    again = Config(**json.loads(json.dumps(config.model_dump(mode="json"))))
    assert again == config
    assert again.changed() == config
    assert list(extras(again)) == list(extras(config))


@pytest.mark.parametrize("bad", ["a", "a=", "=b", "a=b=", "a=b=c=d", "==", ("a=b", "c")])
def test_a_mask_without_a_style_is_refused(bad) -> None:
    with pytest.raises(
        ConfigError, match=r"--mask .* it takes MASK=STYLE or MASK=STYLE=STYLE_MASK"
    ) as caught:
        Config(mask=bad)
    assert "\n" not in str(caught.value)


def test_an_empty_text_takes_masks_back() -> None:
    assert Config(mask="a=b").changed(mask="").mask == ()
