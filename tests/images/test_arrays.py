import io

import numpy as np
import pytest
import torch
from PIL import Image

from crafted import noise
from impasto.errors import PictureError
from impasto.images.read import read, resize
from impasto.images.write import to_image

BYTES = np.asarray(noise())  # (40, 48, 3) uint8
EXPECTED = torch.from_numpy(BYTES.copy()).permute(2, 0, 1)[None] / 255
FLOATS = BYTES / 255


@pytest.mark.parametrize(
    "source",
    [
        BYTES,
        BYTES[::-1][::-1],
        BYTES.astype(np.int64),
        BYTES.astype(np.int16),
        BYTES.astype(np.uint16) * 257,
        (BYTES.astype(np.uint16) * 257).astype(">u2"),
        FLOATS,
        FLOATS.astype(np.float32),
        torch.from_numpy(BYTES.copy()).permute(2, 0, 1),
        torch.from_numpy(BYTES.copy()).permute(2, 0, 1)[None],
        torch.from_numpy(FLOATS).permute(2, 0, 1),
        torch.from_numpy(FLOATS.astype(np.float32)).permute(2, 0, 1)[None].requires_grad_(),
        Image.fromarray(BYTES),
    ],
    ids=lambda source: (
        f"{type(source).__name__} {getattr(source, 'dtype', '')} {getattr(source, 'shape', '')}"
    ),
)
def test_arrays_tensors_and_images_are_the_same_picture(source):
    picture = read(source)
    assert picture.pixels.dtype == torch.float32
    assert not picture.pixels.requires_grad
    assert picture.alpha is None
    assert torch.allclose(picture.pixels, EXPECTED, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_tensors_are_read(dtype):
    assert torch.allclose(read(EXPECTED.to(dtype)).pixels, EXPECTED, atol=5e-3)


@pytest.mark.parametrize(
    "gray",
    [
        BYTES[..., 0],
        BYTES[..., :1],
        torch.from_numpy(BYTES[..., 0].copy()),
        torch.from_numpy(BYTES[..., 0].copy())[None],
        torch.from_numpy(BYTES[..., 0].copy())[None, None],
    ],
    ids=lambda gray: f"{type(gray).__name__} {tuple(gray.shape)}",
)
def test_grey_is_three_times_the_same(gray):
    assert torch.allclose(read(gray).pixels, EXPECTED[:, :1].expand(1, 3, 40, 48))


def test_booleans_are_black_and_white():
    assert torch.equal(
        read(BYTES[..., 0] > 99).pixels[0, 0], torch.from_numpy(BYTES[..., 0] > 99).float()
    )


def test_a_fourth_channel_is_alpha():
    alpha = np.full((40, 48, 1), 51, np.uint8)
    array = np.concatenate([BYTES, alpha], 2)
    for source in (array, torch.from_numpy(array).permute(2, 0, 1), Image.fromarray(array)):
        picture = read(source)
        assert picture.pixels.shape == (1, 3, 40, 48)
        assert torch.allclose(picture.alpha, torch.full((1, 1, 40, 48), 0.2))


@pytest.mark.parametrize("shape", [(40,), (40, 48, 2), (40, 48, 5), (2, 40, 48, 3), ()])
def test_an_array_of_another_shape_is_no_picture(shape):
    with pytest.raises(PictureError, match="is not a picture"):
        read(np.zeros(shape))


@pytest.mark.parametrize("shape", [(40, 48, 3), (2, 3, 40, 48), (5, 40, 48), (40,)])
def test_a_tensor_of_another_shape_is_no_picture(shape):
    with pytest.raises(PictureError, match="is not a picture"):
        read(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(0, 0, 3), (1, 1, 3), (15, 100), (100, 15, 4)])
def test_a_tiny_array_is_told(shape):
    with pytest.raises(PictureError, match="at least 16 x 16"):
        read(np.zeros(shape))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (np.full((20, 20, 3), -0.5), r"from -0.5 to 0: they must be in \[0, 1\]"),
        (np.full((20, 20, 3), 255.0), r"from 0 to 255: they must be in \[0, 1\]"),
        (np.full((20, 20, 3), np.nan), "nan"),
        (np.full((20, 20, 3), np.inf), "inf"),
        (np.full((20, 20, 3), 300), r"int64 has values from 0 to 300: they must be in \[0, 255\]"),
        (np.full((20, 20, 3), -1), r"from -1 to 0"),
        (torch.full((3, 20, 20), 2.0), "from 0 to 2"),
    ],
)
def test_values_out_of_range_are_told_in_their_own_unit(source, said):
    with pytest.raises(PictureError, match=said):
        read(source)


@pytest.mark.parametrize(
    "source",
    [
        np.ones((20, 20, 3), complex),
        np.full((20, 20, 3), "a"),
        np.full((20, 20, 3), None),
        None,
        b"abc",
        3.5,
    ],
)
def test_what_is_not_numbers_is_no_picture(source):
    with pytest.raises(PictureError, match="is not a picture"):
        read(source)


def test_a_file_in_memory_is_read_again_from_its_end():
    file = io.BytesIO()
    Image.new("RGB", (20, 16), (10, 20, 30)).save(file, "PNG")  # now it is at its end
    once, again = read(file), read(file)
    assert once.sha256 == again.sha256
    assert once.pixels.shape == (1, 3, 16, 20)
    with pytest.raises(PictureError, match="file is empty"):
        read(io.BytesIO())


def test_a_picture_is_read_as_it_is():
    picture = read(BYTES)
    assert read(picture) is picture


def test_the_checksum_tells_arrays_apart():
    assert read(BYTES).sha256 == read(BYTES.copy()).sha256 != read(255 - BYTES).sha256


def test_a_closed_or_truncated_image_is_told(tmp_path):
    noise().save(tmp_path / "cut.jpg")
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with Image.open(tmp_path / "cut.jpg") as image, pytest.raises(PictureError, match="truncated"):
        read(image)
    image = Image.new("RGB", (20, 20))
    image.close()
    with pytest.raises(PictureError, match="closed image"):
        read(image)


def test_to_image_rounds_and_clamps():
    pixels = torch.tensor([0.0, 0.499 / 255, 0.501 / 255, 1.0, -3.0, 7.0]).expand(1, 3, 1, 6)
    assert np.asarray(to_image(pixels))[0, :, 0].tolist() == [0, 0, 1, 255, 0, 255]
    assert to_image(EXPECTED).tobytes() == BYTES.tobytes()


def test_to_image_puts_alpha_back():
    image = to_image(EXPECTED, torch.full((1, 1, 40, 48), 0.2))
    assert image.mode == "RGBA"
    assert image.getpixel((3, 4)) == (*BYTES[4, 3], 51)


@pytest.mark.parametrize("shape", [(20, 24), (80, 96), (17, 90)])
def test_resize_gives_the_shape_and_stays_in_range(shape):
    # the hardest edges: bicubic overshoots there
    resized = resize((EXPECTED > 0.5).float(), *shape)
    assert resized.shape == (1, 3, *shape)
    assert resized.min() >= 0
    assert resized.max() <= 1


def test_resize_to_the_same_shape_changes_nothing():
    assert resize(EXPECTED, 40, 48) is EXPECTED


def test_resize_averages_when_it_shrinks():
    stripes = torch.arange(64).remainder(2).float().expand(1, 3, 64, 64)
    # without antialias: all black or all white
    assert (resize(stripes, 16, 16) - 0.5).abs().max() < 0.1
