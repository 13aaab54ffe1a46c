"""Why colors are matched in Oklab, and by the root: python benchmarks/colors.py. Needs ../shared.

For thirty pairs of a photograph and a painting: the distance of the painting's colors from the
photograph's after matching and clipping to sRGB (sliced Wasserstein-2 in Oklab), and how much of
the painting's own light and dark is left (correlation of its lightness before and after).
"""

import statistics
from itertools import product

import torch
from common import SHARED

from impasto.images.color import match_moments, to_oklab
from impasto.images.read import read, resize

SIDE, PROJECTIONS, QUANTILES = 192, 64, 200


def small(path):
    """Read a picture at SIDE pixels on its long side."""
    pixels = read(path).pixels
    scale = SIDE / max(pixels.shape[2:])
    return resize(pixels, *(round(side * scale) for side in pixels.shape[2:]))


def in_rgb(pixels, target, form):
    """`match_moments` with the same formulas in sRGB, clipped to [0, 1]."""
    x, t = (each.double().flatten(2)[0] for each in (pixels, target))
    (mean_x, cov_x), (mean_t, cov_t) = (
        (each.mean(1, keepdim=True), torch.cov(each)) for each in (x, t)
    )
    one = 1e-7 * torch.eye(3, dtype=torch.float64)
    if form == "cholesky":
        a = torch.linalg.cholesky(cov_t + one) @ torch.linalg.inv(
            torch.linalg.cholesky(cov_x + one)
        )
    else:
        roots = []
        for matrix, power in ((cov_t, 0.5), (cov_x, -0.5)):
            values, vectors = torch.linalg.eigh(matrix + one)
            roots.append((vectors * values**power) @ vectors.T)
        a = roots[0] @ roots[1]
    return (a @ (x - mean_x) + mean_t).view_as(pixels.double()).clamp(0, 1).float()


def distance(a, b):
    """Sliced Wasserstein-2 distance of the colors of two pictures, in Oklab."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(
        torch.randn(PROJECTIONS, 3, generator=generator), dim=1
    )
    at = torch.linspace(0, 1, QUANTILES)
    first, second = (
        torch.quantile(directions @ to_oklab(each).flatten(2)[0][:, ::7], at, dim=1)
        for each in (a, b)
    )
    return float((first - second).square().mean().sqrt())


def correlation(a, b):
    """Correlation of the lightness of two pictures."""
    return float(
        torch.corrcoef(torch.stack([to_oklab(each)[:, 0].flatten() for each in (a, b)]))[0, 1]
    )


def main() -> None:
    """Print the table."""
    contents, styles = (
        [small(path) for path in sorted((SHARED / "images" / kind).iterdir())][:count]
        for kind, count in (("content", 5), ("style", 6))
    )
    ways = {
        "not matched": lambda style, content: style,
        "Oklab, root": lambda style, content: match_moments(style, content, "root"),
        "Oklab, Cholesky": lambda style, content: match_moments(style, content, "cholesky"),
        "RGB, root": lambda style, content: in_rgb(style, content, "root"),
        "RGB, Cholesky": lambda style, content: in_rgb(style, content, "cholesky"),
    }
    print(f"{'':16} {'distance':>9} {'lightness alike':>16}")
    for name, way in ways.items():
        found = [
            (way(style, content), style, content) for content, style in product(contents, styles)
        ]
        far = statistics.mean(distance(moved, content) for moved, _, content in found)
        near = statistics.mean(correlation(moved, style) for moved, style, _ in found)
        print(f"{name:16} {far:9.4f} {near:16.3f}")


if __name__ == "__main__":
    main()
