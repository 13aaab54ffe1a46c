"""The forms and surfaces of examples/draw_still_life.py: fruit, a jug, a table, a wall.

Points are (n, 3), y upward, the table at 0; a length of 1 is about 15 cm.
"""

from collections.abc import Callable

import numpy as np

from scene_land import fractal, mix, ramp

GRAPES = np.array(
    [
        (0.00, 0.15, 0.00), (0.25, 0.15, 0.06), (0.12, 0.15, 0.24), (-0.20, 0.15, 0.15),
        (0.42, 0.15, 0.25), (0.34, 0.15, 0.46), (0.06, 0.15, 0.47), (0.58, 0.15, 0.08),
        (0.13, 0.37, 0.10), (0.34, 0.37, 0.17), (0.20, 0.37, 0.32), (-0.04, 0.36, 0.25),
        (0.62, 0.15, 0.40), (0.28, 0.56, 0.19), (-0.22, 0.15, -0.10),
    ]
)  # fmt: skip
Points = np.ndarray


def apple(p: Points, x: float, z: float, size: float) -> np.ndarray:
    """Distance to an apple: a torus that has almost no hole."""
    q = p - (x, 0.62 * size, z)
    ring = np.hypot(q[:, 0], q[:, 2]) - 0.40 * size
    body = np.hypot(ring * (1 + 0.10 * q[:, 1] / size), q[:, 1]) - 0.62 * size
    stem = np.hypot(q[:, 0] - 0.12 * (q[:, 1] - 0.3), q[:, 2]) - 0.022
    return np.minimum(body, np.maximum(stem, np.abs(q[:, 1] - 0.55 * size) - 0.22 * size)) * 0.9


def pear(p: Points, x: float, z: float, size: float, lean: float) -> np.ndarray:
    """Distance to a pear: a ball that flows into a smaller one above it."""
    q = p - (x, 0.55 * size, z)
    low = np.linalg.norm(q, axis=1) - 0.55 * size
    high = np.linalg.norm(q - (lean, 0.66 * size, 0), axis=1) - 0.27 * size
    t = np.clip(0.5 + 0.5 * (high - low) / (0.38 * size), 0, 1)
    body = high + (low - high) * t - 0.38 * size * t * (1 - t)
    along = q[:, 1] - 0.98 * size
    stem = np.hypot(q[:, 0] - 1.4 * lean - 0.35 * along, q[:, 2]) - 0.022
    return np.minimum(body, np.maximum(stem, np.abs(along) - 0.15 * size) * 0.9)


def lemon(p: Points) -> np.ndarray:
    """Distance to a lemon that lies on its side."""
    q = p - (-0.16, 0.29, 0.86)
    along, across = 0.92 * q[:, 0] - 0.39 * q[:, 2], 0.39 * q[:, 0] + 0.92 * q[:, 2]
    middle = np.hypot(across, q[:, 1])
    tip = np.hypot(middle, np.abs(along) - 0.40) - 0.06
    body = (np.sqrt((along / 0.43) ** 2 + (middle / 0.29) ** 2) - 1) * 0.29
    t = np.clip(0.5 + 0.5 * (tip - body) / 0.1, 0, 1)
    return (tip + (body - tip) * t - 0.1 * t * (1 - t)) * 0.85


def jug(p: Points) -> np.ndarray:
    """Distance to a jug: a turned wall, open above, with a handle."""
    q = p - (-0.62, 0, -0.42)
    y = q[:, 1]
    round_ = 0.56 * np.sqrt(np.clip(1 - ((y - 0.58) / 0.78) ** 2, 0.05, 1))
    neck = 0.31 + 0.10 * ramp(1.35, 1.75, y)
    outline = mix(round_[:, None], neck[:, None], ramp(0.85, 1.3, y))[:, 0]
    wall = np.abs(np.hypot(q[:, 0], q[:, 2]) - outline) - 0.035
    wall = np.maximum(wall, np.maximum(y - 1.70, -y))
    floor = np.maximum(np.hypot(q[:, 0], q[:, 2]) - 0.40, np.abs(y - 0.05) - 0.05)
    ring = np.hypot((q[:, 0] + 0.50) / 0.8, y - 1.10) - 0.36
    handle = np.maximum(np.hypot(ring * 0.85, q[:, 2] * 0.75) - 0.055, q[:, 0] + 0.30)
    return np.minimum(np.minimum(wall, floor) * 0.75, handle)


def grapes(p: Points) -> np.ndarray:
    """Distance to a bunch of grapes."""
    return np.linalg.norm(p[:, None] - GRAPES - (0.55, 0, 0.42), axis=2).min(1) - 0.15


FORMS: tuple[Callable[[Points], np.ndarray], ...] = (
    jug,
    lambda p: apple(p, 0.28, -0.28, 0.48),
    lambda p: apple(p, -0.86, 0.52, 0.45),
    lambda p: pear(p, 1.06, -0.30, 0.66, -0.07),
    lemon,
    grapes,
)
# the center and radius of a ball around each
BALLS = (
    ((-0.72, 0.86, -0.42), 1.06),
    ((0.28, 0.35, -0.28), 0.62),
    ((-0.86, 0.33, 0.52), 0.58),
    ((1.05, 0.54, -0.30), 0.68),
    ((-0.16, 0.29, 0.86), 0.53),
    ((0.75, 0.30, 0.60), 0.72),
)


def wood(p: Points) -> tuple[np.ndarray, float]:
    """Boards along x, with rings, fibers and gaps."""
    board = np.floor((p[:, 2] + 10) / 0.62)
    across = (p[:, 2] + 10) / 0.62 - board
    shift = 37.7 * board
    rings = fractal(p[:, 0] * 0.55 + shift, p[:, 2] * 3.2 + 0.35 * fractal(p[:, 0], shift, 2), 4)
    lines = 0.5 + 0.5 * np.sin(34 * rings + 9 * across)
    fibers = fractal(p[:, 0] * 5, p[:, 2] * 120 + shift, 3)
    tone = 0.45 * lines + 0.4 * fibers + 0.35 * np.sin(board * 12.9)
    color = mix(np.array((0.24, 0.115, 0.045)), np.array((0.47, 0.27, 0.125)), 0.45 + 0.5 * tone)
    gap = ramp(0.0, 0.012, across) * ramp(0.0, 0.012, 1 - across)
    return color * (0.15 + 0.85 * gap)[:, None], 0.05


def plaster(p: Points) -> tuple[np.ndarray, float]:
    """A wall in gray green, painted by hand."""
    tone = fractal(p[:, 0] * 0.9, p[:, 1] * 0.9, 6) + 0.4 * fractal(p[:, 0] * 9, p[:, 1] * 4, 3)
    return mix(np.array((0.20, 0.225, 0.20)), np.array((0.33, 0.345, 0.29)), 0.5 + 0.8 * tone), 0.0


def glazed(p: Points) -> tuple[np.ndarray, float]:
    """A jug's glaze: cream, with a blue garland around it."""
    angle = np.arctan2(p[:, 2] + 0.42, p[:, 0] + 0.62)
    y = p[:, 1]
    wave = 0.62 + 0.09 * np.sin(angle * 6)
    petals = np.hypot(np.mod(angle * 6 / (2 * np.pi) + 0.25, 1) - 0.5, (y - 0.62) * 2.4)
    flower = np.abs(petals - 0.2 - 0.05 * np.cos(9 * np.arctan2(y - 0.62, np.sin(angle * 6 / 2))))
    lines = np.minimum(np.abs(np.abs(y - 0.62) - 0.27), np.abs(y - 1.62))
    stem = np.abs(y - wave)
    blue_ = np.maximum(ramp(0.026, 0.016, lines), ramp(0.022, 0.012, stem))
    blue_ = np.maximum(blue_, 0.9 * ramp(0.09, 0.05, flower))
    cream = np.array((0.74, 0.69, 0.58)) * (1 + 0.08 * fractal(angle * 3, y * 6, 4))[:, None]
    brushed = blue_ * (0.85 + 0.3 * fractal(angle * 9, y * 20, 2))
    return mix(cream, np.array((0.05, 0.10, 0.33)), brushed), 0.07


def _skin(p: Points, x: float, z: float) -> tuple[np.ndarray, np.ndarray]:
    """Streaks from pole to pole, and freckles, about the axis at x, z."""
    angle = np.arctan2(p[:, 2] - z, p[:, 0] - x)
    streaks = fractal(np.cos(angle) * 9 + 3, np.sin(angle) * 9 + p[:, 1] * 1.3, 3)
    freckles = ramp(0.40, 0.55, fractal(angle * 13, p[:, 1] * 34, 1))
    return streaks, freckles


def _stem(p: Points, color: np.ndarray, top: float, x: float, z: float) -> np.ndarray:
    """Brown where the stem is."""
    stem = (np.hypot(p[:, 0] - x, p[:, 2] - z) < 0.07) & (p[:, 1] > top)
    return np.where(stem[:, None], (0.10, 0.06, 0.03), color)


def red(p: Points) -> tuple[np.ndarray, float]:
    """A red apple, yellow where the sun was not."""
    streaks, freckles = _skin(p, 0.28, -0.28)
    ripe = ramp(-0.5, 0.35, 0.9 * (p[:, 0] - 0.2) + 0.5 * (p[:, 2] + 0.2) + 1.1 * streaks + 0.1)
    color = mix(np.array((0.68, 0.42, 0.08)), np.array((0.50, 0.028, 0.022)), ripe)
    color = mix(color, np.array((0.75, 0.55, 0.3)), 0.5 * freckles)
    return _stem(p, color, 0.47, 0.28, -0.28), 0.055


def green(p: Points) -> tuple[np.ndarray, float]:
    """A green apple with a blush."""
    streaks, freckles = _skin(p, -0.86, 0.52)
    ripe = ramp(0.1, 0.7, -0.8 * (p[:, 0] + 0.86) + 0.9 * streaks)
    color = mix(np.array((0.30, 0.44, 0.06)), np.array((0.62, 0.26, 0.07)), ripe)
    color = mix(color, np.array((0.7, 0.75, 0.4)), 0.45 * freckles)
    return _stem(p, color, 0.44, -0.86, 0.52), 0.055


def russet(p: Points) -> tuple[np.ndarray, float]:
    """A pear's skin: yellow green, brown freckles."""
    streaks, freckles = _skin(p, 1.06, -0.30)
    color = mix(np.array((0.56, 0.47, 0.09)), np.array((0.47, 0.22, 0.06)), 0.3 + 0.9 * streaks)
    color = mix(color, np.array((0.25, 0.13, 0.04)), 0.5 * freckles)
    return _stem(p, color, 1.05, 0.94, -0.30), 0.035


def yellow(p: Points) -> tuple[np.ndarray, float]:
    """A lemon's skin with its pores."""
    pores = fractal(p[:, 0] * 30, p[:, 1] * 30 + p[:, 2] * 22, 2)
    return np.array((0.80, 0.57, 0.045)) * (1 + 0.22 * pores)[:, None], 0.045


def blue(p: Points) -> tuple[np.ndarray, float]:
    """Dark grapes under their bloom."""
    bloom = ramp(-0.3, 0.6, fractal(p[:, 0] * 7, p[:, 1] * 7 + p[:, 2] * 9, 4))
    return mix(np.array((0.035, 0.012, 0.05)), np.array((0.17, 0.15, 0.27)), bloom), 0.06


# of each form
SKINS: tuple[Callable[[Points], tuple[np.ndarray, float]], ...] = (
    glazed,
    red,
    green,
    russet,
    yellow,
    blue,
)
