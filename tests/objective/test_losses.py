import pytest
import torch

from impasto.objective.losses import (
    content_loss,
    differences,
    energy,
    gram,
    style_loss,
    total_variation,
)

F = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, -1.0]]]])  # (1, 2, 2, 2)


def checkerboard(side: int) -> torch.Tensor:
    i = torch.arange(side)
    return ((i[:, None] + i) % 2).float().expand(1, 3, side, side)


@pytest.mark.parametrize(
    ("divisor", "by"), [("none", 1.0), ("hw", 4.0), ("chw", 8.0), ("sqrt-chw", 8.0**0.5)]
)
def test_gram_by_hand(divisor: str, by: float) -> None:
    # row 1: 1+4+9+16 = 30, rows together: 2*1 + 4*(-1) = -2, row 2: 1+1 = 2
    expected = torch.tensor([[[30.0, -2.0], [-2.0, 2.0]]]) / by
    torch.testing.assert_close(gram(F, divisor), expected)


def test_gram_of_a_batch_is_each_pictures_own() -> None:
    both = torch.cat([F, 2 * F])
    torch.testing.assert_close(gram(both)[1], 4 * gram(F)[0])


def test_gram_of_many_positions_is_the_sum_over_blocks_of_rows() -> None:
    framed = torch.randn(1, 3, 170, 150, dtype=torch.float64)
    features = framed.contiguous(memory_format=torch.channels_last)[:, :, 3:-3, 5:-5]
    flat = features.flatten(2)
    torch.testing.assert_close(gram(features, "none"), flat @ flat.mT)


def test_gram_of_bfloat16_features_accumulates_in_float32() -> None:
    ones = torch.ones(1, 1, 64, 64, dtype=torch.bfloat16)
    assert gram(ones, "none").dtype == torch.float32
    assert gram(ones, "none").item() == 4096  # bfloat16 sums stop growing at 256


@pytest.mark.parametrize(
    ("reduction", "value"), [("sum", 14.0), ("half-sum", 7.0), ("mean", 14 / 4)]
)
def test_content_by_hand(reduction: str, value: float) -> None:
    target = torch.zeros(1, 1, 2, 2)
    assert content_loss(
        torch.tensor([[[[1.0, 2.0], [3.0, 0.0]]]]), target, reduction
    ).item() == pytest.approx(value)


@pytest.mark.parametrize(
    ("reduction", "value"), [("sum", 30.0**2 + 2 * 2.0**2 + 2.0**2), ("mean", 912 / 4)]
)
def test_style_by_hand(reduction: str, value: float) -> None:
    assert style_loss(gram(F, "none"), torch.zeros(1, 2, 2), reduction).item() == pytest.approx(
        value
    )


def test_gatys_eq_4_is_a_quarter_of_the_sum_with_chw() -> None:
    channels, positions = 2, 4
    a, g = gram(F, "none"), gram(2 * F, "none")
    gatys = (g - a).square().sum() / (4 * channels**2 * positions**2)
    torch.testing.assert_close(style_loss(gram(2 * F, "chw"), gram(F, "chw"), "sum") / 4, gatys)


@pytest.mark.parametrize("form", ["squared", "absolute"])
def test_a_checkerboard_has_the_most_variation(form: str) -> None:
    # every one of the 7 * 8 neighbors across and down differs by 1, in three channels
    assert total_variation(checkerboard(8), form, "sum").item() == 2 * 3 * 7 * 8
    assert total_variation(checkerboard(8), form, "mean").item() == 2
    assert total_variation(torch.full((1, 3, 8, 8), 0.3), form, "sum").item() == 0


def test_mean_variation_is_the_same_at_every_size() -> None:
    assert total_variation(checkerboard(6)).item() == total_variation(checkerboard(40)).item()


def test_a_ramp_tells_squared_from_absolute() -> None:
    ramp = torch.linspace(0, 1, 11).expand(1, 1, 5, 11)
    assert total_variation(ramp, "absolute", "sum").item() == pytest.approx(5.0)
    assert total_variation(ramp, "squared", "sum").item() == pytest.approx(0.5)


def test_energy_is_the_sum_of_squares_and_never_zero() -> None:
    assert energy(F).item() == 32
    assert energy(torch.zeros(3)).item() > 0


def formulas():
    target = torch.rand(1, 3, 4, 5, dtype=torch.float64)
    for divisor in ("none", "hw", "chw", "sqrt-chw"):
        for reduction in ("mean", "sum"):
            yield lambda x, d=divisor, r=reduction: style_loss(gram(x, d), gram(target, d), r)
    for reduction in ("mean", "sum", "half-sum"):
        yield lambda x, r=reduction: content_loss(x, target, r)
    for form in ("squared", "absolute"):
        for reduction in ("mean", "sum"):
            yield lambda x, f=form, r=reduction: total_variation(x, f, r)


@pytest.mark.parametrize("formula", list(formulas()))
def test_gradients_in_float64(formula) -> None:
    torch.manual_seed(3)
    x = torch.rand(1, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(formula, (x,))


def test_differences_by_hand() -> None:
    x = torch.tensor([[[[0.0, 1.0, 3.0], [4.0, 4.0, 4.0]]]])
    assert differences(x).tolist() == [[[[1.0, 2.0]], [[4.0, 3.0]], [[-1.0, -2.0]]]]


def test_the_grain_of_a_checkerboard_is_one_in_every_place() -> None:
    # all channels rise together across and down, and turn around in the next row, twice as much
    steps = torch.tensor([1.0, 1, 1, 1, 1, 1, -2, -2, -2])
    assert torch.equal(gram(differences(checkerboard(8))), steps.outer(steps)[None])
    assert gram(differences(torch.full((1, 3, 8, 8), 0.3))).abs().max() == 0
