"""Measure what is not paint on a painting of a smooth sky: python benchmarks/smooth.py

Prints a table, a row for each style, of the painting and of the style picture at its size in it:

checker: power of the spectrum at its corner over that around it: a weave of two pixels; none is 1
luma, chroma: deviation of high-passed lightness and color, 0 to 255, in the flattest tenth of the
    blocks of 16 pixels; in the painting they are measured in the sky
rim: mean saturation of the outer 2 pixels over that 8 to 16 pixels in; no rim is 1

To reach: checker at most twice the style's, chroma at most three times, rim 0.8 to 1.25.
"""

import argparse
import datetime
import tempfile
from pathlib import Path

import numpy as np
from common import machine
from PIL import Image, ImageDraw

from impasto import Config, paint
from impasto.images.read import read, resize
from impasto.images.samples import STYLES, sample_style
from impasto.images.write import to_image

LUMA = (0.299, 0.587, 0.114)
BLOCK = 16
SKY = 0.6  # of the picture's height, from the top


def draw_sky(width: int, height: int) -> Image.Image:
    """A cloudless sky that grows lighter downward, above dark hills."""
    share = np.linspace(0, 1, height)[:, None, None]
    colors = np.array([70, 120, 190]) * (1 - share) + np.array([190, 210, 235]) * share
    sky = np.broadcast_to(colors, (height, width, 3))
    picture = Image.fromarray(sky.round().astype(np.uint8))
    hills = [(0, 0.75), (0.25, 0.68), (0.5, 0.78), (0.75, 0.7), (1, 0.76), (1, 1), (0, 1)]
    outline = [(round(x * width), round(y * height)) for x, y in hills]
    ImageDraw.Draw(picture).polygon(outline, fill=(35, 55, 35))
    return picture


def checker(gray: np.ndarray) -> float:
    """Power at the corner of the spectrum of (H, W) over that around it."""
    height, width = gray.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    power = np.abs(np.fft.fft2((gray - gray.mean()) * window)) ** 2
    fy, fx = np.abs(np.fft.fftfreq(height))[:, None], np.abs(np.fft.fftfreq(width))[None]
    corner = (fx > 0.485) & (fy > 0.485)
    around = (fx > 0.36) & (fx < 0.45) & (fy > 0.36) & (fy < 0.45)
    return float(power[corner].mean() / power[around].mean())


def high_passed(z: np.ndarray) -> np.ndarray:
    """Each value less the mean of its four neighbors; (H, W) -> (H - 2, W - 2)."""
    return z[1:-1, 1:-1] - (z[:-2, 1:-1] + z[2:, 1:-1] + z[1:-1, :-2] + z[1:-1, 2:]) / 4


def speckle(rgb: np.ndarray) -> tuple[float, float]:
    """Deviations of high-passed lightness and color in the flattest tenth of the blocks."""
    luma = rgb @ LUMA
    y, blue, red = (high_passed(z) for z in (luma, rgb[..., 2] - luma, rgb[..., 0] - luma))
    rows, columns = (range(0, side - BLOCK, BLOCK) for side in y.shape)
    blocks = [np.s_[i : i + BLOCK, j : j + BLOCK] for i in rows for j in columns]
    tenth = max(1, len(blocks) // 10) - 1
    lumas = sorted(y[block].std() for block in blocks)
    chromas = sorted(np.sqrt(blue[block].var() + red[block].var()) for block in blocks)
    return float(lumas[tenth]), float(chromas[tenth])


def rim(rgb: np.ndarray) -> float:
    """Mean saturation of the outer 2 pixels over that of the ring 8 to 16 pixels in."""
    saturation = rgb.max(2) - rgb.min(2)
    outer, ring = np.ones(saturation.shape, bool), np.zeros(saturation.shape, bool)
    outer[2:-2, 2:-2] = False
    ring[8:-8, 8:-8] = True
    ring[16:-16, 16:-16] = False
    return float(saturation[outer].mean() / max(saturation[ring].mean(), 1e-6))


def measures(rgb: np.ndarray, sky: float = 1.0) -> list[float]:
    """Checker, luma, chroma (in the upper part `sky` of the picture) and rim of (H, W, 3)."""
    upper = rgb[: round(sky * len(rgb))]
    return [checker(upper @ LUMA), *speckle(upper), rim(rgb)]


def main() -> None:
    """Paint the sky in every style, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("styles", nargs="*", help="style pictures [default: the samples]")
    parser.add_argument("--size", type=int, default=512, help="[default: 512]")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    args = parser.parse_args()
    config = Config().changed(size=args.size, **dict(text.split("=", 1) for text in args.set))
    print(f"{datetime.date.today()}  {machine()}, {args.size} pixels")
    print(f"{'':28} checker     luma   chroma      rim")
    styles = [Path(style) for style in args.styles] or [sample_style(name) for name in STYLES]
    with tempfile.TemporaryDirectory() as folder:
        content = Path(folder) / "sky.png"
        draw_sky(args.size, round(0.75 * args.size)).save(content)
        for style in styles:
            painting = paint(content, style, config)
            pixels = read(style).pixels
            scale = args.size / max(pixels.shape[2:])
            scaled = resize(pixels, *(round(side * scale) for side in pixels.shape[2:]))
            for name, image, sky in (
                (f"{Path(style).stem}, painted", painting.image, SKY),
                (f"{Path(style).stem}", to_image(scaled), 1.0),
            ):
                values = measures(np.asarray(image.convert("RGB"), dtype=float), sky)
                print(f"{name:28}" + "".join(f"{value:8.2f} " for value in values), flush=True)


if __name__ == "__main__":
    main()
