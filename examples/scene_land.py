"""The mountains and the evening sky of examples/draw_scene.py, as linear light (height, width, 3).

Lengths are in kilometers, x to the right and z away from the camera, which stands at 0, 0 and looks
over a lake at height 0.
"""

import numpy as np

SEED = 5
HORIZON = 0.615  # of the height, from above
FOCAL = 1.05  # in widths
SUN = np.array((-0.90, 0.20, -0.30)) / np.linalg.norm((-0.90, 0.20, -0.30))
SUNLIGHT, SKYLIGHT = np.array((3.5, 1.70, 0.72)), np.array((0.19, 0.29, 0.50))

TABLE = np.random.default_rng(SEED).random((256, 256)).astype(np.float32)


def mix(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """From color a (t = 0) to color b (t = 1), per pixel."""
    return a + (b - a) * np.clip(t, 0, 1)[..., None]


def ramp(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def noise(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Smooth noise in [-1, 1] with bumps of size 1, and its slopes along x and y."""
    i, j = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    u, v = (x - i).astype(np.float32), (y - j).astype(np.float32)
    a, b = TABLE[j & 255, i & 255], TABLE[j & 255, (i + 1) & 255]
    c, d = TABLE[(j + 1) & 255, i & 255], TABLE[(j + 1) & 255, (i + 1) & 255]
    su, sv = u * u * u * (u * (u * 6 - 15) + 10), v * v * v * (v * (v * 6 - 15) + 10)
    du, dv = 30 * u * u * (u * (u - 2) + 1), 30 * v * v * (v * (v - 2) + 1)
    twist = a - b - c + d
    value = a + (b - a) * su + (c - a) * sv + twist * su * sv
    return 2 * value - 1, 2 * du * (b - a + twist * sv), 2 * dv * (c - a + twist * su)


def fractal(x: np.ndarray, y: np.ndarray, octaves: int, eroded: bool = False) -> np.ndarray:
    """Noise in octaves, each half as large and half as high; `eroded` is smoother where it is
    steep, as mountains are whose rubble slid down (Inigo Quilez, "Elevated", 2009)."""
    total, slope_x, slope_y, height = 0.0, 0.0, 0.0, 0.5
    for _ in range(octaves):
        value, dx, dy = noise(x, y)
        slope_x, slope_y = slope_x + dx, slope_y + dy
        total = total + height * value / (1 + 0.5 * (slope_x**2 + slope_y**2) if eroded else 1)
        x, y, height = 1.6 * x + 1.2 * y + 17.3, -1.2 * x + 1.6 * y + 5.1, height * 0.5
    return total


PEAKS = (  # x, z, height, radius
    (-1.0, 9.5, 2.45, 1.9),
    (-3.6, 11.0, 2.2, 2.0),
    (1.9, 10.5, 2.1, 2.0),
    (4.2, 8.5, 2.1, 2.2),
    (-5.2, 7.0, 1.9, 1.9),
    (0.6, 15.0, 2.3, 3.0),
    (3.4, 4.6, 0.75, 1.3),
    (-2.9, 4.6, 0.6, 1.2),
)


def ground(x: np.ndarray, z: np.ndarray, octaves: int = 11) -> np.ndarray:
    """Height of the land, km; the lake is at 0."""
    wx = x + 0.5 * fractal(x * 0.5, z * 0.5, 3)
    wz = z + 0.5 * fractal(x * 0.5 + 9, z * 0.5 + 9, 3)
    mass = 0.0
    for px, pz, height, radius in PEAKS:
        distance = np.hypot(wx - px, wz - pz) / radius
        mass = np.maximum(mass, height * np.exp(-1.35 * distance)) + 0.12 * height * np.exp(
            -(distance**2)
        )
    rock = fractal(x * 0.62 + 3.3, z * 0.62 + 4.6, octaves, eroded=True)
    shore = ramp(2.6, 4.4, z + 0.35 * fractal(x * 1.3, z * 1.3, 3))
    return shore * (0.03 + mass * (0.78 + 0.95 * rock)) - 0.02 * (1 - shore)


def march(width: int, height: int) -> np.ndarray:
    """Distance of the land that each pixel above the lake sees (height, width), km; inf is sky."""
    steps = np.geomspace(2.0, 26, 1100)[:, None]
    columns = (np.arange(width) + 0.5 - width / 2)[None] / (FOCAL * width)
    rises = ground(columns * steps, steps, 9) / steps * FOCAL * width  # pixels above the horizon
    top = np.maximum.accumulate(rises, 0)
    rows = HORIZON * height - np.arange(height) - 0.5
    depth = np.full((height, width), np.inf)
    for column in range(width):
        first = np.searchsorted(top[:, column], rows)
        seen = (first < len(steps)) & (rows > 0)
        far = first[seen]
        near = np.maximum(far - 1, 0)
        low, high = top[near, column], top[far, column]
        part = np.where(high > low, (rows[seen] - low) / np.maximum(high - low, 1e-9), 1)
        depth[seen, column] = steps[near, 0] + np.clip(part, 0, 1) * (
            steps[far, 0] - steps[near, 0]
        )
    return depth


def sunlit(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """How much of the sun a point sees, 0 to 1: the ground is followed toward the sun."""
    light = np.ones_like(x)
    for step in np.geomspace(0.04, 5, 26):
        clear = y + 0.01 + step * SUN[1] - ground(x + step * SUN[0], z + step * SUN[2], 6)
        light = np.minimum(light, np.clip(0.5 + clear / (0.035 * step + 0.01), 0, 1))
    return light


def sky(width: int, height: int) -> np.ndarray:
    """Evening: blue above, warm toward the sun, with clouds lit from below."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u = (x - width / 2) / (FOCAL * width)
    v = np.maximum((HORIZON * height - y) / (FOCAL * width), 0.001)
    warm = np.exp(-((u + 0.62) ** 2) / 0.35)
    color = mix(np.array((0.58, 0.60, 0.66)), np.array((0.030, 0.115, 0.38)), (v / 0.52) ** 0.55)
    color = color + (np.exp(-v / 0.16) * (0.25 + warm))[..., None] * np.array((0.95, 0.42, 0.09))
    far = 0.55 / (v + 0.13)  # on a flat layer of clouds
    cx, cy = u * far * 1.5, far * 1.7
    bend = fractal(cx * 1.2 + 40, cy * 1.2, 4)

    def density(shift: float) -> np.ndarray:
        high = fractal(cx * 1.05 + bend * 0.7 + 11 + shift, cy * 1.9 + bend * 0.5 + 2, 8)
        return high + 0.25 * fractal(cx * 0.5 + shift * 0.5, cy * 0.5 + 30, 3)

    thick = density(0)
    cover = ramp(-0.16, 0.34, thick)
    glow = np.clip(0.55 + 1.9 * (thick - density(-0.16)), 0, 1) * (0.55 + 0.6 * warm)
    cloud = mix(np.array((0.26, 0.27, 0.42)), np.array((1.95, 0.90, 0.45)), glow)
    return mix(color, cloud, 0.88 * cover * ramp(0.02, 0.12, v))


def land(width: int, height: int, behind: np.ndarray) -> np.ndarray:
    """The mountains before the sky `behind`: rock, snow and forest by height and slope, in sun,
    shade and haze."""
    depth = march(width, height)
    rows, columns = np.nonzero(np.isfinite(depth))
    z = depth[rows, columns]
    x = (columns + 0.5 - width / 2) / (FOCAL * width) * z
    y = (HORIZON * height - rows - 0.5) / (FOCAL * width) * z
    step = 0.9 * z / (FOCAL * width)
    here = ground(x, z, 13)
    slope_x = (ground(x + step, z, 13) - here) / step
    slope_z = (ground(x, z + step, 13) - here) / step
    up = 1 / np.sqrt(1 + slope_x**2 + slope_z**2)
    sun = np.clip((-slope_x * SUN[0] + SUN[1] - slope_z * SUN[2]) * up, 0, None)
    sun = sun * sunlit(x, y, z)
    spots = fractal(x * 9, z * 9, 6)
    fine = fractal(x * 40, z * 40, 4)
    rock = mix(np.array((0.17, 0.15, 0.14)), np.array((0.30, 0.26, 0.22)), 0.5 + spots + 0.5 * fine)
    meadow = mix(np.array((0.05, 0.095, 0.025)), np.array((0.15, 0.13, 0.04)), 0.5 + spots)
    forest = np.array((0.014, 0.034, 0.022)) * (1 + 0.9 * fine)[:, None]
    color = mix(rock, meadow, ramp(0.55, 0.75, up) * ramp(1.05, 0.75, y + 0.15 * spots))
    color = mix(color, forest, ramp(0.62, 0.50, y + 0.30 * spots) * ramp(0.35, 0.55, up))
    snow = ramp(0.48, 0.66, up + 0.26 * (y - 1.1) + 0.16 * spots) * ramp(
        0.85, 1.25, y + 0.3 * spots
    )
    color = mix(color, np.array((0.80, 0.82, 0.86)), snow)
    shade = 0.45 + 0.55 * up
    light = sun[:, None] * SUNLIGHT + shade[:, None] * SKYLIGHT
    picture = behind.copy()
    haze_color = mix(np.array((0.25, 0.36, 0.56)), np.array((0.72, 0.50, 0.40)), 0.42 - 0.9 * x / z)
    haze = 1 - np.exp(-(z * 0.034) * np.exp(-np.clip(y, 0, None) * 0.55))
    mist = 0.5 * np.exp(-np.clip(y, 0, None) / 0.16) * ramp(2.6, 6, z)
    picture[rows, columns] = mix(color * light, haze_color, np.maximum(haze, mist))
    return picture
