"""Optical flow and warping, against films whose motion is known exactly."""

import struct

import numpy as np
import pytest
import torch

from films import MOTIONS, photograph
from impasto.errors import ConfigError, PictureError
from impasto.film.flow import consistency, flow_method, read_flo
from impasto.film.warp import KEY, anchored, combined, warp
from impasto.images.write import to_image

SIZE = (96, 128)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return photograph(*SIZE)


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize(
    ("method", "share", "pixels"), [("dis", 0.9, 0.15), ("farneback", 0.75, 0.3)]
)
def test_flow_and_consistency_against_the_truth(photo, motion, method, share, pixels):
    film, flow = MOTIONS[motion](photo), flow_method(method)
    one, two = (np.asarray(to_image(film.frame(t))) for t in (0, 1))
    back, forth = flow(two, one, 2, 1), flow(one, two, 1, 2)
    truth, visible = film.flow(1, 0), film.visible(1, 0)
    known = consistency(back, forth)
    assert known[visible].mean() > share
    error = np.linalg.norm(back - truth, axis=2)
    assert error[known & visible].mean() < pixels
    if (~visible).any():  # what was hidden, or outside, is not trusted
        assert known[~visible].mean() < 0.35


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_frame_warped_by_the_true_flow_is_the_next(photo, motion):
    film = MOTIONS[motion](photo)
    warped = warp(film.frame(3), film.flow(4, 3))
    error = (warped - film.frame(4)).abs().mean(1)[0].numpy()
    assert error[film.visible(4, 3)].mean() < 0.01


def test_a_frame_that_stands_still_keeps_every_bit(photo):
    still = np.zeros((*SIZE, 2), np.float32)
    frame = MOTIONS["pan"](photo).frame(0)
    torch.testing.assert_close(warp(frame, still), frame, rtol=0, atol=1e-7)
    pixels = np.asarray(to_image(frame))
    assert not flow_method("dis")(pixels, pixels, 1, 2).any()


def test_the_nearest_reference_comes_first():
    ones = torch.ones(1, 3, 1, 4)
    nearest, far, key = (
        torch.tensor([[[[float(digit) for digit in digits]]]])
        for digits in ("1100", "1010", "1000")
    )
    pixels, known = combined([(0.2 * ones, nearest), (0.5 * ones, far), (0.8 * ones, key)])
    expected = [0.2 + 0.6 * KEY, 0.2, 0.5, 0.2]
    torch.testing.assert_close(pixels[0, 0, 0], torch.tensor(expected))
    assert known.flatten().tolist() == [1, 1, 1, 0]


def test_colors_are_anchored_to_the_first_frame():
    last, first = torch.full((1, 3, 4, 4), 0.52), torch.full((1, 3, 4, 4), 0.5)
    known = torch.ones(1, 1, 4, 4)
    (pixels, _), (same, _) = anchored([(last, known), (first, known)])
    torch.testing.assert_close(pixels, first)
    assert same.equal(first)


def write_flo(path, flow):
    height, width = flow.shape[:2]
    path.write_bytes(struct.pack("<fii", 202021.25, width, height) + flow.astype("<f4").tobytes())


def test_flow_from_a_folder(tmp_path):
    flow = np.zeros((8, 16, 2), np.float32)
    flow[..., 0], flow[..., 1] = 2.0, -1.0
    write_flo(tmp_path / "00002-00001.flo", flow)
    method = flow_method(str(tmp_path))
    here = np.zeros((16, 32, 3), np.uint8)  # twice the size
    assert method(here, here, 1, 2) is None
    np.testing.assert_allclose(method(here, here, 2, 1)[3, 3], [4, -2], atol=1e-6)


@pytest.mark.parametrize("data", [b"", b"PIEH", struct.pack("<fii", 202021.25, 4, 4) + b"1234"])
def test_a_broken_flow_is_one_line(tmp_path, data):
    path = tmp_path / "bad.flo"
    path.write_bytes(data)
    with pytest.raises(PictureError, match="cannot be read as a flow"):
        read_flo(path)


def test_an_unknown_method_names_the_known():
    with pytest.raises(ConfigError, match="dis, farneback, or a folder"):
        flow_method("raft")
