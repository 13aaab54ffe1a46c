import pytest
import torch

from impasto.images.color import (
    from_oklab,
    gray,
    match_lightness,
    match_moments,
    to_oklab,
    with_chroma_of,
)

FORMS = ["root", "cholesky"]


def noise(seed: int, *size: int) -> torch.Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))


def muted(seed: int, height: int = 20, width: int = 24) -> torch.Tensor:
    """Colors far from the gamut's edge, whose channels go together a little, as a photograph's
    do."""
    mixed = torch.einsum(
        "oc,bchw->bohw", noise(seed + 100, 3, 1)[0, :, :, 0], noise(seed, height, width)
    )
    return 0.4 + 0.15 * mixed / mixed.amax()


def moments(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    lab = to_oklab(pixels.double())[0].flatten(1)
    return lab.mean(1), torch.cov(lab, correction=0)


def color(*rgb: float) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [  # Ottosson 2020, and CSS Color 4's table of the named colors
        ((1, 1, 1), (1, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (0.62796, 0.22486, 0.12585)),
        ((0, 1, 0), (0.86644, -0.23389, 0.17950)),
        ((0, 0, 1), (0.45201, -0.03246, -0.31153)),
        ((0, 1, 1), (0.90540, -0.14944, -0.03940)),
        ((1, 0, 1), (0.70167, 0.27457, -0.16916)),
        ((1, 1, 0), (0.96798, -0.07137, 0.19857)),
        ((128 / 255,) * 3, (0.59987, 0, 0)),
    ],
)
def test_oklab_has_the_published_values(rgb, lab) -> None:
    torch.testing.assert_close(to_oklab(color(*rgb)), color(*lab), atol=5e-5, rtol=0)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 2e-4), (torch.float64, 2e-5)])
def test_colors_go_to_oklab_and_back(dtype: torch.dtype, near: float) -> None:
    pixels = noise(0, 50, 60).to(dtype)
    back = from_oklab(to_oklab(pixels))
    assert back.dtype == dtype
    torch.testing.assert_close(back, pixels, atol=near, rtol=0)


def test_every_grey_level_survives_the_way_to_oklab() -> None:
    ramp = (torch.arange(256) / 255).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    assert torch.equal((255 * from_oklab(to_oklab(ramp))).round(), (255 * ramp).round())


def test_a_batch_is_taken_one_by_one() -> None:
    lab = torch.cat(
        [
            to_oklab(noise(seed, 9, 7)) * torch.tensor([1, 3, 3]).view(1, 3, 1, 1)
            for seed in (1, 2, 3)
        ]
    )
    torch.testing.assert_close(
        from_oklab(lab), torch.cat([from_oklab(each) for each in lab.split(1)])
    )


def test_colors_that_no_screen_has_lose_chroma_and_neither_lightness_nor_hue() -> None:
    generator = torch.Generator().manual_seed(1)
    light = 0.15 + 0.75 * torch.rand(1, 1, 40, 40, generator=generator, dtype=torch.float64)
    lab = torch.cat(
        [light, torch.rand(1, 2, 40, 40, generator=generator, dtype=torch.float64) - 0.5], 1
    )
    shown = from_oklab(lab)
    assert shown.min() >= 0
    assert shown.max() <= 1
    back = to_oklab(shown)
    (a, b), (a_shown, b_shown) = lab[0, 1:], back[0, 1:]
    chroma, chroma_shown = torch.hypot(a, b), torch.hypot(a_shown, b_shown)
    torch.testing.assert_close(back[:, :1], light, atol=2e-3, rtol=0)
    assert (a * b_shown - b * a_shown).abs().max() < 2e-3 * chroma.max()
    assert (a * a_shown + b * b_shown).min() >= 0
    assert (chroma_shown <= chroma + 2e-3).all()
    assert (chroma_shown < 0.9 * chroma).double().mean() > 0.5
    # and no more chroma than they must: the rest of a channel is less than a 256th of the chroma
    # can fill
    lost = (chroma_shown < chroma - 5e-3)[None, None]
    edge = torch.minimum(shown, 1 - shown).amin(1, keepdim=True)
    assert edge[lost].median() < 0.02
    assert edge[lost].max() < 0.15


@pytest.mark.parametrize(("light", "wanted"), [(1.4, 1.0), (1.0, 1.0), (0.0, 0.0), (-0.3, 0.0)])
def test_beyond_black_and_white_there_is_no_chroma(light: float, wanted: float) -> None:
    torch.testing.assert_close(
        from_oklab(color(light, 0.2, -0.1)), color(*[wanted] * 3), atol=2e-3, rtol=0
    )


@pytest.mark.parametrize("form", FORMS)
def test_matched_colors_have_the_targets_mean_and_covariance(form) -> None:
    pixels, target = muted(1), muted(2, 15, 31)
    matched = match_moments(pixels, target, form)
    assert matched.shape == pixels.shape
    assert matched.dtype == pixels.dtype
    (mean, cov), (wanted, wanted_cov) = moments(matched), moments(target)
    torch.testing.assert_close(mean, wanted, atol=1e-4, rtol=0)
    assert (cov - wanted_cov).norm() < 0.02 * wanted_cov.norm()
    assert (moments(pixels)[1] - wanted_cov).norm() > 0.1 * wanted_cov.norm()


@pytest.mark.parametrize("form", FORMS)
def test_colors_matched_to_their_own_stay(form) -> None:
    pixels = muted(3)
    torch.testing.assert_close(match_moments(pixels, pixels, form), pixels, atol=1e-3, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_to_match_twice_is_to_match_once(form) -> None:
    once = match_moments(muted(4), muted(5), form)
    torch.testing.assert_close(match_moments(once, muted(5), form), once, atol=1e-3, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_there_and_back_is_where_it_began(form) -> None:
    pixels = muted(6)
    there = match_moments(pixels, muted(7), form)
    torch.testing.assert_close(match_moments(there, pixels, form), pixels, atol=2e-3, rtol=0)


def test_only_cholesky_keeps_what_is_lighter_lighter() -> None:
    pixels, target = muted(8), muted(9)
    before = to_oklab(pixels)[0, 0].flatten()
    along = [
        float(
            torch.corrcoef(
                torch.stack([before, to_oklab(match_moments(pixels, target, form))[0, 0].flatten()])
            )[0, 1]
        )
        for form in ("cholesky", "root")
    ]
    assert along[0] == pytest.approx(1, abs=1e-4)
    assert along[1] < 0.9999


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 1.0])
def test_a_flat_picture_takes_the_mean_color(form, level: float) -> None:
    target = muted(10)
    matched = match_moments(torch.full((1, 3, 16, 18), level), target, form)
    assert matched.std((2, 3)).max() < 1e-3
    torch.testing.assert_close(moments(matched)[0], moments(target)[0], atol=1e-3, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_colors_of_a_flat_target_make_a_picture_flat(form) -> None:
    target = torch.tensor([0.6, 0.4, 0.5]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    matched = match_moments(noise(11, 16, 18), target, form)
    torch.testing.assert_close(matched, target[:, :, :1, :1].expand_as(matched), atol=0.01, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_a_grey_picture_takes_colors_and_gives_greys(form) -> None:
    shades = noise(12, 16, 18)[:, :1].expand(-1, 3, -1, -1)
    matched = match_moments(shades, muted(13), form)
    assert torch.isfinite(matched).all()
    torch.testing.assert_close(moments(matched)[0], moments(muted(13))[0], atol=2e-3, rtol=0)
    grayed = match_moments(noise(12, 16, 18), 0.3 + 0.4 * shades, form)
    assert to_oklab(grayed)[:, 1:].abs().max() < 5e-3


@pytest.mark.parametrize("form", FORMS)
def test_matched_colors_are_colors_even_far_from_the_gamut(form) -> None:
    matched = match_moments(muted(14), (noise(15, 16, 16) > 0.5).float(), form)
    assert matched.min() >= 0
    assert matched.max() <= 1
    assert matched.std() > 0.2


def test_grey_keeps_the_lightness_and_nothing_else() -> None:
    pixels = noise(16, 20, 20)
    grayed = gray(pixels)
    assert (grayed.amax(1) - grayed.amin(1)).max() < 1e-4
    torch.testing.assert_close(to_oklab(grayed)[:, :1], to_oklab(pixels)[:, :1], atol=2e-4, rtol=0)
    torch.testing.assert_close(gray(grayed), grayed, atol=1e-4, rtol=0)


def test_matched_lightness_is_grey_with_the_targets_mean_and_deviation() -> None:
    matched = match_lightness(noise(17, 16, 16), muted(18))
    light, wanted = (to_oklab(each)[:, 0] for each in (matched, muted(18)))
    assert (matched.amax(1) - matched.amin(1)).max() < 1e-4
    assert float(light.mean()) == pytest.approx(float(wanted.mean()), abs=1e-4)
    assert float(light.std()) == pytest.approx(float(wanted.std()), rel=1e-2)


@pytest.mark.parametrize("level", [0.0, 0.2, 0.55, 1.0])
def test_a_flat_picture_takes_the_mean_lightness(level: float) -> None:
    matched = match_lightness(torch.full((1, 3, 33, 47), level), muted(19))
    light = to_oklab(matched)[:, 0]
    assert light.std() < 1e-3
    assert float(light.mean()) == pytest.approx(float(to_oklab(muted(19))[:, 0].mean()), abs=0.02)


def test_a_painting_in_lightness_takes_the_contents_chroma() -> None:
    painting, content = muted(20), muted(21)
    both = to_oklab(with_chroma_of(painting, content))
    torch.testing.assert_close(both[:, :1], to_oklab(painting)[:, :1], atol=2e-4, rtol=0)
    torch.testing.assert_close(both[:, 1:], to_oklab(content)[:, 1:], atol=2e-4, rtol=0)


def test_a_painting_beyond_black_and_white_is_shown_in_its_range() -> None:
    painting = 4 * noise(22, 16, 16) - 1.5
    shown = with_chroma_of(painting, noise(23, 16, 16))
    assert torch.isfinite(shown).all()
    assert shown.min() >= 0
    assert shown.max() <= 1
    kept = to_oklab(painting.clamp(0, 1))[:, :1]
    torch.testing.assert_close(to_oklab(shown)[:, :1], kept, atol=0.02, rtol=0)
