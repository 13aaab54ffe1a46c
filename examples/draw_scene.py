"""Draw the demo's photograph: python examples/draw_scene.py

A mountain lake at evening, made up: fractal mountains (scene_land.py) seen by a camera on the
shore, their light, haze and reflection, firs, a cabin, stones and grass. Nothing here is taken from
a picture, so it has no license but ours. The same seed gives the same file. Light is linear until
`develop`, (height, width, 3).
"""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from scene_land import (
    FOCAL,
    HORIZON,
    SEED,
    SKYLIGHT,
    SUNLIGHT,
    fractal,
    land,
    mix,
    noise,
    ramp,
    sky,
)

WIDTH, HEIGHT = 1024, 683
SCALE = 2  # drawn at twice the size and scaled down, which smooths the edges
OUT = Path(__file__).resolve().parent.parent / "src" / "impasto" / "samples" / "lake.jpg"


def paste(picture: np.ndarray, layer: Image.Image) -> None:
    """Put a drawing, whose samples are square roots of half the light, over the picture."""
    drawn = np.asarray(layer, np.float32) / 255
    picture[:] = mix(picture, 2 * drawn[..., :3] ** 2, drawn[..., 3])


def ink(color: np.ndarray) -> tuple[int, ...]:
    """The samples of a color in a drawing that `paste` puts over a picture."""
    return (*(int(c) for c in np.sqrt(np.clip(color, 0, 2) / 2) * 255), 255)


def fir(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    x: float,
    y: float,
    size: float,
    haze: float,
) -> None:
    """A fir that stands at pixel (x, y): drooping boughs, those toward the sun lit."""
    air, slim = np.array((0.24, 0.23, 0.26)), rng.uniform(0.15, 0.22)
    dark = np.array((0.010, 0.018, 0.013)) * rng.uniform(0.7, 1.5)
    sunny = np.array((0.17, 0.10, 0.035)) * rng.uniform(0.3, 1.1)
    draw.line((x, y, x, y - size), fill=ink(dark + haze * air), width=max(1, round(size / 60)))
    for t in np.linspace(0.02, 0.97, max(6, int(size / 3.2))):
        for side in (-1, 1):
            reach = slim * size * t**0.85 * rng.uniform(0.55, 1.1)
            top = y - size * (1 - t)
            drop = reach * rng.uniform(0.15, 0.55)
            thick = size * rng.uniform(0.018, 0.05)
            lit = t**0.3 * rng.uniform(0.1, 1.0) ** 2 if side < 0 else rng.uniform(0, 0.12)
            color = dark + (sunny - dark) * lit * rng.uniform(0.2, 1)
            points = [(x, top - thick), (x + side * reach, top + drop), (x, top + thick * 1.6)]
            draw.polygon(points, fill=ink(color * (1 - haze) + haze * air))


def far_shore(picture: np.ndarray, rng: np.random.Generator) -> None:
    """A belt of firs along the other side of the lake, from the back to the front."""
    height, width = picture.shape[:2]
    unit = width / 1024
    layer = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(layer)
    edge = fractal(np.arange(width) / width * 6, np.full(width, 3.3), 4)
    for row in range(7):
        for x in rng.uniform(0, width, 330):
            lift = (6 - row) * unit * (2.2 + 3 * edge[int(x)])
            clump = 1 + 0.9 * edge[int(x) // 3 + row]
            size = unit * rng.uniform(5, 13) * (0.75 + 0.06 * row) * clump
            fir(draw, rng, x, HORIZON * height + unit - max(lift, 0), size, 0.20 - 0.02 * row)
    paste(picture, layer)


def cabin(draw: ImageDraw.ImageDraw, x: float, y: float, unit: float) -> None:
    """A log cabin with its gable to the sun, a lamp in the window, a jetty with a boat."""

    def shape(color: tuple[float, ...], *points: tuple[float, float]) -> None:
        draw.polygon([(x + a * unit, y - b * unit) for a, b in points], fill=ink(np.array(color)))

    for k in range(7):  # the logs of the gable, in the sun, and of the long side, in the shade
        low, high = 2.6 * k, 2.6 * k + 2.1
        shape((0.40, 0.19, 0.085), (0, low), (17, low), (17, high), (0, high))
        shape((0.085, 0.05, 0.04), (17, low), (48, low), (48, high), (17, high))
    shape((0.42, 0.18, 0.07), (0, 18), (17, 18), (8.5, 29))
    shape((0.07, 0.055, 0.06), (7.5, 31), (43, 31), (51, 17), (18, 17))
    shape((0.55, 0.26, 0.12), (-2, 16), (8.5, 31), (9.5, 31), (0.5, 16))
    shape((0.16, 0.09, 0.08), (33, 27), (37, 27), (37, 37), (33, 37))
    shape((0.45, 0.22, 0.13), (32, 27), (33.4, 27), (33.4, 37), (32, 37))
    for left in (23, 36):
        shape((0.05, 0.03, 0.02), (left - 1, 5), (left + 8, 5), (left + 8, 14), (left - 1, 14))
        shape((2.0, 1.15, 0.32), (left, 6), (left + 7, 6), (left + 7, 13), (left, 13))
        shape(
            (0.2, 0.1, 0.03), (left + 3.1, 6), (left + 3.9, 6), (left + 3.9, 13), (left + 3.1, 13)
        )
    shape((0.06, 0.03, 0.02), (5.5, 0), (11.5, 0), (11.5, 11), (5.5, 11))
    shape((0.34, 0.22, 0.13), (-34, -1), (6, -1), (6, 0.6), (-34, 0.6))
    for post in range(-33, 6, 9):
        shape((0.05, 0.035, 0.03), (post, -6), (post + 1.5, -6), (post + 1.5, 1), (post, 1))
    shape((0.05, 0.035, 0.03), (-66, 2), (-36, 2), (-40, -4), (-60, -4))
    shape(
        (0.42, 0.24, 0.13), (-67, 2.6), (-50, 1.2), (-36, 2.6), (-37, 0.6), (-51, -0.6), (-64, 0.4)
    )


def tongue(width: int, height: int, rng: np.random.Generator) -> tuple[Image.Image, float]:
    """A wooded tongue of land from the right with the cabin on its end, and the row of its foot."""
    unit, foot = width / 1024, HORIZON * height + 17 * width / 1024
    layer = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(layer)
    xs = np.linspace(0.57, 1.0, 240)
    rise = 13 * ((xs - 0.57) / 0.43) ** 0.5 + 3 * fractal(xs * 60, xs * 0 + 2, 4)
    for low, color in ((0.0, (0.13, 0.105, 0.045)), (4.5, (0.045, 0.05, 0.022))):
        bank = [(a * width, foot - max(b - low, 0) * unit) for a, b in zip(xs, rise, strict=True)]
        draw.polygon([*bank, (width, foot), (0.57 * width, foot)], fill=ink(np.array(color)))
    for row in range(5):
        for x in np.sort(rng.uniform(0.70 + 0.012 * row, 1.02, 20)):
            size = unit * rng.uniform(55, 118) * (0.55 + 0.45 * ramp(0.68, 0.84, x))
            fir(draw, rng, x * width, foot - (12 - 2 * row) * unit, size, 0.10 - 0.02 * row)
    cabin(draw, 0.635 * width, foot - 5 * unit, unit)
    for x, size in ((0.618, 44), (0.697, 70), (0.712, 52), (0.603, 25)):
        fir(draw, rng, x * width, foot - 5 * unit, size * unit, 0.02)
    return layer, foot


def water(picture: np.ndarray, near: Image.Image, foot: float, rng: np.random.Generator) -> None:
    """The lake below the horizon: the mirrored picture, shaken by ripples, and dark where one looks
    down into it."""
    height, width = picture.shape[:2]
    start, unit = round(HORIZON * height), width / 1024
    mirrored = picture[np.clip(2 * start - 1 - np.arange(height), 0, height - 1)]
    flipped = near.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    layer = Image.new("RGBA", (width, height))
    layer.paste(flipped, (0, round(2 * foot) - height))
    paste(mirrored, layer)
    y, x = np.mgrid[start:height, 0:width].astype(np.float32)
    below = (y - start + 0.5) / unit
    total, samples = 0.0, 10
    for _ in range(samples):
        jitter_y, jitter_x = rng.random(y.shape, np.float32), rng.random(y.shape, np.float32)
        away = 1700 / (below + (jitter_y - 0.5) / unit).clip(0.3)  # meters
        across = (x + jitter_x - 0.5 - width / 2) / (FOCAL * width) * away
        breeze = ramp(-0.1, 0.35, fractal(across / 30 + 5, away / 60, 3))
        swell = fractal(across / 2.6, away / 1.1, 4) + 0.5 * fractal(across / 9, away / 5 + 50, 2)
        shake = (7 + 17 * breeze) * np.minimum(1, below / 18 + 0.08)
        rows = np.clip(y + (shake * swell + 6 * breeze) * unit, start, height - 1)
        columns = np.clip(x + 0.22 * shake * fractal(across / 2 + 70, away, 2) * unit, 0, width - 1)
        total = total + mirrored[rows.astype(int), columns.astype(int)] / samples
    grazing = below / (FOCAL * 1024)
    mirror = 0.04 + 0.90 * np.clip(1 - 0.62 * grazing, 0, 1) ** 5
    depth = np.array((0.010, 0.030, 0.036))
    picture[start:] = total * mirror[..., None] + depth * (1 - mirror)[..., None]


def stone(picture: np.ndarray, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    """A stone whose foot is at pixel (x, y), lit by sun and sky, wet below, with its reflection."""
    height, width = picture.shape[:2]
    tall = size * rng.uniform(0.42, 0.7)
    top, left = int(y - 1.15 * tall), int(x - 1.15 * size)
    rows, columns = np.mgrid[top : int(y + 0.7 * tall), left : int(x + 1.15 * size)]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = rows[inside], columns[inside]
    u, v = (columns - x) / size, (y - rows) / tall
    seed = rng.uniform(0, 200)
    rough = fractal(u * 1.6 + seed, v * 1.6 + seed, 5)
    bound = np.abs(u) ** 2.4 + np.abs(np.where(v > 0, v, 2.2 * v)) ** 2.2 + 0.5 * rough
    grain = fractal(u * 9 + seed, v * 9, 4)
    _, bump_u, bump_v = noise(u * 4 + seed, v * 4)
    nx, ny = u * 1.1 + 0.16 * bump_u, 0.25 + 0.8 * v + 0.16 * bump_v
    sun = np.clip(-0.95 * nx + 0.22 * ny + 0.25 * grain, 0, 1)
    color = np.array((0.17, 0.155, 0.15)) * rng.uniform(0.5, 1.2) * (1 + 0.9 * grain)[:, None]
    light = sun[:, None] * SUNLIGHT * 0.8 + np.clip(0.25 + 0.75 * ny, 0.08, 1)[:, None] * SKYLIGHT
    wet = 0.35 + 0.65 * ramp(0.05, 0.30, v)
    under = ramp(-1.3, 0, v) * ramp(1.15, 0.7, np.abs(u)) * (v < 0.1)
    below = mix(picture[rows, columns], color * 0.12, 0.75 * under)
    picture[rows, columns] = mix(below, color * light * wet[:, None], ramp(1.0, 0.9, bound))


def bank(picture: np.ndarray, rng: np.random.Generator) -> None:
    """The shore where the camera stands: stones, and grass in the last sun."""
    height, width = picture.shape[:2]
    unit = width / 1024
    places = []
    for _ in range(330):
        x, t = rng.uniform(-0.03, 1.03), rng.random() ** 1.5
        edge = 0.905 + 0.20 * np.sin(3.1 * x + 0.1) ** 2 - 0.05 * (x < 0.3)
        places.append((edge + 0.16 * (0.5 - t), x))
    for y, x in sorted(places):
        near = (y - HORIZON) / (1 - HORIZON)
        stone(picture, rng, x * width, y * height, unit * near * rng.lognormal(2.7, 0.55))
    layer = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(layer)
    for _ in range(4200):
        left = rng.random() < 0.62
        x = abs(rng.normal(0, 0.13)) if left else 1 - abs(rng.normal(0, 0.07))
        y = rng.uniform(0.955, 1.10)
        tall = rng.uniform(0.04, 0.15) * math.exp(-6 * min(x, 1 - x)) + 0.02
        lean = rng.normal(0.012, 0.022)
        path = [(x + lean * t * t, y - tall * (t - 0.25 * t * t)) for t in np.linspace(0, 1, 7)]
        gold = 0.9 * rng.random() ** 3
        for k in range(6):
            color = np.array((0.010, 0.013, 0.006)) * (1 + 0.7 * k) + gold * k / 6 * np.array(
                (0.66, 0.36, 0.12)
            )
            ends = [(a * width, b * height) for a, b in path[k : k + 2]]
            draw.line(ends, fill=ink(color), width=max(1, round(unit * (1.9 - 0.25 * k))))
    paste(picture, layer)


def develop(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Linear light to sRGB values in [0, 1] as film does: lamps and snow glow a little, a soft
    shoulder, a toe, a vignette, grain."""
    height, width = light.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    corner = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 2
    gray = light.mean(-1, keepdims=True)
    exposed = (gray + 1.18 * (light - gray)).clip(0) * 0.86 * (1 - 0.35 * corner**1.3)[..., None]
    film = exposed * (2.51 * exposed + 0.03) / (exposed * (2.43 * exposed + 0.59) + 0.14)
    values = np.clip(film, 0, 1) ** (1 / 2.2)
    return values + rng.normal(0, 0.006 * SCALE, (height, width, 1))


def main() -> None:
    """Draw the lake and write it as JPEG."""
    rng = np.random.default_rng(SEED)
    width, height = WIDTH * SCALE, HEIGHT * SCALE
    picture = land(width, height, sky(width, height))
    far_shore(picture, rng)
    near, foot = tongue(width, height, rng)
    water(picture, near, foot, rng)
    paste(picture, near)
    bank(picture, rng)
    values = np.clip(develop(picture, rng), 0, 1)
    image = Image.fromarray((values * 255).round().astype(np.uint8))
    image = image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    image.save(OUT, quality=88)
    print(OUT)


if __name__ == "__main__":
    main()
