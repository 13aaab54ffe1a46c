"""Draw the sample styles in the package: python examples/draw_styles.py

One made-up landscape in six techniques: brush strokes along a flow field, a woodcut, stained
glass, points, watercolor, facets. Nothing here is taken from a picture, so the drawings have no
license but ours. The same seed gives the same files.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT, SEED = 640, 512, 11
SCALE = 2  # everything is drawn at twice the size and scaled down, which smooths the edges
OUT = Path(__file__).resolve().parent.parent / "src" / "impasto" / "samples"


def clouds(
    rng: np.random.Generator, height: int, width: int, cells: int, octaves: int = 3
) -> np.ndarray:
    """Smooth noise (height, width) in about [-1, 1]; `cells` bumps across in the coarsest of the
    octaves."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        n = cells * 2**octave
        grid = rng.standard_normal((max(2, n * height // width) + 2, n + 2)).astype(np.float32)
        total += (
            np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
            / 2**octave
        )
    return np.tanh(total / 1.2)


def landscape(
    rng: np.random.Generator, palette: dict[str, tuple], height: int, width: int
) -> np.ndarray:
    """Sky, sun, mountains, hills and a river as (height, width, 3) in [0, 1]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x / width, y / height
    noise = clouds(rng, height, width, 4)
    color = {name: np.array(value, np.float32) / 255 for name, value in palette.items()}

    def mix(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
        return a + (b - a) * np.clip(t, 0, 1)[..., None]

    distance = np.hypot((u - 0.72) * width / height, v - 0.24)
    picture = mix(
        np.broadcast_to(color["zenith"], (height, width, 3)),
        color["horizon"],
        v / 0.55 + 0.25 * noise,
    )
    picture = mix(picture, color["cloud"], (clouds(rng, height, width, 3) - 0.25) * 1.6 * (v < 0.5))
    rings = 0.5 + 0.5 * np.cos(distance * 55)
    picture = mix(picture, color["halo"], np.exp(-distance * 5) * (0.45 + 0.75 * rings))
    picture = mix(picture, color["sun"], (0.105 - distance) * 60)
    ridge = (
        0.50
        + 0.10 * np.sin(u * 9 + 1) * np.sin(u * 4.1)
        + 0.05 * clouds(rng, height, width, 6)[0][None]
    )
    picture = mix(picture, color["mountain"], (v - ridge) * 90)
    picture = mix(picture, color["snow"], (v - ridge) * 90 * ((ridge + 0.045 + 0.03 * noise) > v))
    for k, name in enumerate(("hill", "field", "meadow")):
        edge = 0.60 + 0.12 * k + 0.045 * np.sin(u * (5 + 2 * k) + 2.4 * k) + 0.01 * noise
        shade = 0.75 + 0.35 * np.sin((v - edge) * 60 + 8 * u * (k + 1)) * 0.5
        picture = mix(picture, color[name] * shade[..., None], (v - edge) * 90)
    bank = 0.42 + 0.22 * np.sin(v * 9) * (v - 0.3)
    river = (0.02 + 0.16 * (v - 0.62)) - np.abs(u - bank)
    picture = mix(picture, color["river"], river * 90 * (v > 0.64))
    return np.clip(picture, 0, 1)


def flow(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Angle of the stroke at each pixel, radians: around the sun in the sky, along the hills
    below."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x / width, y / height
    around = np.arctan2(v - 0.24, (u - 0.72) * width / height) + math.pi / 2
    second = np.arctan2(v - 0.30, (u - 0.25) * width / height) - math.pi / 2
    near = 1 / (1 + np.exp(-(u - 0.5) * 14))
    sky = np.arctan2(
        near * np.sin(around) + (1 - near) * np.sin(second),
        near * np.cos(around) + (1 - near) * np.cos(second),
    )
    ground = 0.6 * np.cos(u * 7 + v * 6)
    below = 1 / (1 + np.exp(-(v - 0.56) * 40))
    return sky * (1 - below) + ground * below + 0.35 * clouds(rng, height, width, 5)


def strokes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Thick oil paint: long strokes below, short ones above, bristles, and light from the upper
    left."""
    palette = {
        "zenith": (24, 44, 120),
        "horizon": (120, 178, 214),
        "cloud": (226, 232, 214),
        "halo": (252, 206, 92),
        "sun": (255, 240, 170),
        "mountain": (52, 60, 122),
        "snow": (206, 216, 236),
        "hill": (38, 96, 92),
        "field": (204, 158, 48),
        "meadow": (86, 122, 42),
        "river": (86, 160, 200),
    }
    scene = landscape(rng, palette, height, width)
    angle = flow(rng, height, width)
    paint = Image.fromarray(
        (scene.mean((0, 1)) * 120).astype(np.uint8)[None, None].repeat(height, 0).repeat(width, 1)
    )
    relief = Image.new("L", (width, height), 90)
    draw, lift = ImageDraw.Draw(paint), ImageDraw.Draw(relief)
    for length, breadth, count in ((150, 26, 2600), (95, 15, 7500), (60, 9, 11000)):
        for _ in range(count):
            x, y = rng.uniform(-length, width + length), rng.uniform(-length, height + length)
            base = scene[min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)] * 255
            bristles = max(3, breadth // 3)
            path = []
            for _ in range(10):
                i, j = min(max(int(y), 0), height - 1), min(max(int(x), 0), width - 1)
                path.append((x, y, angle[i, j]))
                x, y = (
                    x + math.cos(angle[i, j]) * length / 10,
                    y + math.sin(angle[i, j]) * length / 10,
                )
            shift = rng.normal(0, 14, 3)
            for b in range(bristles):
                off = (b / (bristles - 1) - 0.5) * breadth
                ink = tuple(int(c) for c in np.clip(base + shift + rng.normal(0, 15), 0, 255))
                start, end = rng.integers(0, 2), 10 - rng.integers(0, 3)
                line = [
                    (px - math.sin(a) * off, py + math.cos(a) * off)
                    for px, py, a in path[start:end]
                ]
                thick = max(2, round(breadth / bristles * 1.5))
                draw.line(line, fill=ink, width=thick, joint="curve")
                lift.line(line, fill=int(rng.uniform(60, 220)), width=thick)
    high = np.asarray(relief.filter(ImageFilter.GaussianBlur(1.4)), np.float32)
    light = (high - np.roll(high, (3, 3), (0, 1))) / 255
    return np.asarray(paint, np.float32) / 255 + 0.55 * light[..., None]


def woodcut(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Three blocks: lines cut along the forms in dark blue, a red and an ochre tint, on cream
    paper."""
    gray = {
        "zenith": (70,) * 3,
        "horizon": (215,) * 3,
        "cloud": (255,) * 3,
        "halo": (235,) * 3,
        "sun": (255,) * 3,
        "mountain": (60,) * 3,
        "snow": (250,) * 3,
        "hill": (110,) * 3,
        "field": (190,) * 3,
        "meadow": (90,) * 3,
        "river": (235,) * 3,
    }
    light = landscape(rng, gray, height, width)[..., 0]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x / width, y / height
    distance = np.hypot(x - 0.72 * width, y - 0.24 * height)
    wobble = 9 * clouds(rng, height, width, 9)
    sky = np.sin((distance + wobble) * 2 * math.pi / 17)
    ground = np.sin((y + 0.09 * width * np.sin(u * 8 + v * 5) + wobble) * 2 * math.pi / 15)
    cuts = np.where(v < 0.5 + 0.1 * np.sin(u * 9 + 1) * np.sin(u * 4.1), sky, ground)
    grain = 0.10 * clouds(rng, height, width, 60, 1) + 0.05 * rng.standard_normal((height, width))
    inked = 0.5 + 0.5 * cuts + grain > light * 1.06
    paper = np.array((240, 228, 202), np.float32) / 255 + 0.02 * rng.standard_normal(
        (height, width, 1)
    )
    red, ochre, blue = (
        np.array(c, np.float32) / 255 for c in ((200, 62, 40), (218, 164, 72), (24, 32, 62))
    )
    picture = np.where((distance < 0.12 * height)[..., None], red, paper)
    tint = ((v > 0.62) & (light > 0.5))[..., None]
    picture = np.where(tint, 0.25 * picture + 0.75 * ochre, picture)
    rays = (
        (np.sin(np.arctan2(y - 0.24 * height, x - 0.72 * width) * 22) > 0.35)
        & (v < 0.45)
        & (distance > 0.14 * height)
    )
    picture = np.where((rays & (light > 0.55))[..., None], 0.35 * picture + 0.65 * red, picture)
    return np.where(inked[..., None], blue, picture)


def glass(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Stained glass: cells of one saturated color each, streaks in the glass, dark lead between
    them."""
    palette = {
        "zenith": (20, 40, 170),
        "horizon": (60, 180, 230),
        "cloud": (240, 240, 255),
        "halo": (255, 170, 20),
        "sun": (255, 236, 90),
        "mountain": (120, 30, 140),
        "snow": (230, 220, 255),
        "hill": (10, 130, 90),
        "field": (240, 120, 10),
        "meadow": (30, 160, 40),
        "river": (40, 200, 220),
    }
    scene = landscape(rng, palette, height, width)
    pitch = 46
    seeds = [
        (gx + rng.uniform(-0.42, 0.42) * pitch, gy + rng.uniform(-0.42, 0.42) * pitch)
        for gy in range(0, height + pitch, pitch)
        for gx in range(0, width + pitch, pitch)
    ]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    first = np.full((height, width), np.inf, np.float32)
    second, owner = first.copy(), np.zeros((height, width), np.int32)
    for index, (sx, sy) in enumerate(seeds):
        top, left = max(0, int(sy) - 3 * pitch), max(0, int(sx) - 3 * pitch)
        window = np.s_[top : int(sy) + 3 * pitch, left : int(sx) + 3 * pitch]
        d = np.hypot(x[window] - sx, y[window] - sy)
        nearer = d < first[window]
        second[window] = np.where(nearer, first[window], np.minimum(second[window], d))
        owner[window] = np.where(nearer, index, owner[window])
        first[window] = np.minimum(first[window], d)
    colors = np.array(
        [
            scene[min(int(max(sy, 0)), height - 1), min(int(max(sx, 0)), width - 1)]
            for sx, sy in seeds
        ]
    )
    colors = np.clip(colors + rng.normal(0, 0.09, colors.shape), 0, 1)
    turn = rng.uniform(0, math.pi, len(seeds))[owner]
    streak = np.sin((x * np.cos(turn) + y * np.sin(turn)) / 7 + 3 * clouds(rng, height, width, 12))
    picture = (
        colors[owner] * (0.82 + 0.16 * streak + 0.16 * clouds(rng, height, width, 24))[..., None]
    )
    picture = picture + 0.22 * np.exp(-((first / pitch) ** 2) * 7)[..., None]
    gap = second - first
    lead = np.clip((8.5 - gap) / 2.5, 0, 1)[..., None]
    shine = np.exp(-((gap - 3) ** 2) / 3)[..., None] * 0.22
    return picture * (1 - lead) + (np.array((0.05, 0.05, 0.07), np.float32) + shine) * lead


def points(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Pointillism: dots of pure colors that mix in the eye, on a warm ground."""
    palette = {
        "zenith": (70, 110, 200),
        "horizon": (250, 190, 160),
        "cloud": (255, 240, 225),
        "halo": (255, 190, 90),
        "sun": (255, 245, 190),
        "mountain": (120, 90, 170),
        "snow": (245, 225, 240),
        "hill": (60, 130, 110),
        "field": (220, 180, 70),
        "meadow": (110, 160, 60),
        "river": (110, 180, 220),
    }
    scene = landscape(rng, palette, height, width)
    pure = np.array(
        [
            (230, 60, 40),
            (250, 150, 40),
            (252, 222, 80),
            (90, 170, 70),
            (40, 130, 150),
            (50, 80, 180),
            (120, 60, 150),
            (250, 245, 230),
            (240, 150, 160),
            (40, 40, 80),
        ],
        np.float32,
    )
    paint = Image.new("RGB", (width, height), (226, 206, 170))
    draw = ImageDraw.Draw(paint)
    for radius, count in ((9, 9000), (6.5, 30000), (4.5, 26000)):
        xs, ys = rng.uniform(0, width, count), rng.uniform(0, height, count)
        for x, y in zip(xs, ys, strict=True):
            wanted = scene[int(y), int(x)] * 255
            nearest = pure[np.argmin(((pure - wanted - rng.normal(0, 60, 3)) ** 2).sum(1))]
            ink = tuple(
                int(c) for c in np.clip(0.55 * wanted + 0.45 * nearest + rng.normal(0, 8), 0, 255)
            )
            r = radius * rng.uniform(0.75, 1.15)
            draw.ellipse((x - r, y - r * 0.92, x + r, y + r * 0.92), fill=ink)
    return np.asarray(paint, np.float32) / 255


def watercolor(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Watercolor: thin washes on rough paper, darker where they dried at their edges, with paper
    left white between."""
    palette = {
        "zenith": (96, 160, 214),
        "horizon": (250, 214, 190),
        "cloud": (255, 252, 248),
        "halo": (255, 214, 130),
        "sun": (255, 244, 190),
        "mountain": (132, 128, 184),
        "snow": (252, 250, 252),
        "hill": (92, 160, 148),
        "field": (238, 190, 96),
        "meadow": (138, 176, 84),
        "river": (120, 190, 220),
    }
    scene = landscape(rng, palette, height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)

    def blurred(values: np.ndarray, radius: float) -> np.ndarray:
        wide, high = round(width / radius), round(height / radius)
        channels = [Image.fromarray(np.ascontiguousarray(c)) for c in np.moveaxis(values, -1, 0)]
        small = [c.resize((wide, high), Image.Resampling.BOX) for c in channels]
        size, kind = (width, height), Image.Resampling.BICUBIC
        return np.stack([np.asarray(c.resize(size, kind)) for c in small], -1)

    shaken = [
        12 * clouds(rng, height, width, n) + 4 * clouds(rng, height, width, 40) for n in (7, 7)
    ]
    rows, columns = (y + shaken[0]).clip(0, height - 1), (x + shaken[1]).clip(0, width - 1)
    scene = scene[rows.astype(np.int32), columns.astype(np.int32)]
    pigment = -np.log(np.clip(scene, 0.03, 1)).astype(np.float32)  # how much lies on the paper
    soft, wide = blurred(pigment, 2.5), blurred(pigment, 16)
    edges = np.abs(soft - wide).max(-1, keepdims=True)
    pigment = soft * (1 + 0.9 * np.exp(-((edges - 0.16) ** 2) / 0.004))
    for _ in range(14):  # washes over it, each with its own hard edge
        shape = clouds(rng, height, width, int(rng.integers(2, 6)), 4)
        low = rng.uniform(0.1, 0.6)
        wash = np.clip((shape - low) * 14, 0, 1)[..., None].astype(np.float32)
        rim = np.clip(wash - blurred(wash, 9), 0, 1)
        pigment = pigment * (1 + 0.10 * wash + 0.9 * rim * rng.uniform(0.3, 1))
    paper = 0.6 * clouds(rng, height, width, 150, 2) + 0.4 * clouds(rng, height, width, 320, 1)
    pigment = pigment * (1 + 0.22 * paper[..., None])
    dry = clouds(rng, height, width, 5) + 0.8 * paper > 1.36  # where the brush skipped
    pigment = np.where(dry[..., None], 0.08 * pigment, pigment)
    white = np.array((0.985, 0.97, 0.935), np.float32)
    return white * np.exp(-0.62 * pigment) * (1 + 0.03 * paper[..., None])


def facets(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Facets, as the cubists broke things up: planes shaded from one edge, in earth colors, some
    with lines drawn around them."""
    palette = {
        "zenith": (64, 100, 122),
        "horizon": (188, 178, 146),
        "cloud": (226, 214, 184),
        "halo": (222, 168, 84),
        "sun": (244, 222, 160),
        "mountain": (120, 74, 62),
        "snow": (214, 204, 184),
        "hill": (92, 98, 74),
        "field": (206, 120, 50),
        "meadow": (128, 118, 58),
        "river": (142, 160, 156),
    }
    scene = landscape(rng, palette, height, width)
    y, x = (axis.ravel() for axis in np.mgrid[0:height, 0:width].astype(np.float32))
    flat = scene.reshape(-1, 3)
    picture, shade = np.empty_like(flat), np.ones(height * width, np.float32)
    pending = [np.arange(height * width)]
    while pending:
        part = pending.pop()
        px, py = x[part], y[part]
        wide = np.hypot(np.ptp(px), np.ptp(py))
        if wide < rng.uniform(90, 230):
            turn = rng.uniform(0, 2 * math.pi)
            along = px * math.cos(turn) + py * math.sin(turn)
            along = (along - along.min()) / max(float(np.ptp(along)), 1.0)
            color = flat[part].mean(0) + rng.normal(0, 0.045)
            picture[part] = color * (0.82 + 0.66 * along[:, None])
            continue
        # across its length, about; the cut casts a shadow on one side of it
        turn = math.atan2(np.ptp(py), np.ptp(px)) * rng.choice((-1, 1)) + rng.normal(0, 0.5)
        turn += math.pi / 2 if rng.random() < 0.3 else 0
        side = (px - px.mean()) * math.cos(turn) + (py - py.mean()) * math.sin(turn)
        side += rng.uniform(-0.12, 0.12) * wide
        over = side > 0
        shade[part] *= np.where(over, 1 - 0.36 * np.exp(-side.clip(0) / 24), 1.0)
        if rng.random() < 0.5:
            shade[part] *= np.where(np.abs(side) < rng.uniform(1.2, 3), 0.25, 1.0)
        pending += [part[over], part[~over]]
    picture = (picture * shade[:, None]).reshape(height, width, 3)
    # short flat strokes of a brush, and canvas
    bristles = clouds(rng, height, width // 6, 50, 2).repeat(6, 1)
    bristles = np.pad(bristles, ((0, 0), (0, width - bristles.shape[1])), mode="edge")
    canvas = np.sin(np.arange(width) * 1.1)[None] * np.sin(np.arange(height) * 1.1)[:, None]
    return picture * (1 + 0.10 * bristles + 0.04 * canvas)[..., None] + 0.01


STYLES: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "strokes": strokes,
    "woodcut": woodcut,
    "glass": glass,
    "points": points,
    "watercolor": watercolor,
    "facets": facets,
}


def main() -> None:
    """Draw every style and write it as JPEG."""
    OUT.mkdir(exist_ok=True)
    for name, draw in STYLES.items():
        values = draw(np.random.default_rng(SEED), HEIGHT * SCALE, WIDTH * SCALE)
        image = Image.fromarray((np.clip(values, 0, 1) * 255).round().astype(np.uint8))
        image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(
            OUT / f"{name}.jpg", quality=90
        )
        print(OUT / f"{name}.jpg")


if __name__ == "__main__":
    main()
