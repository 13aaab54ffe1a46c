"""Draw a sample photograph: python examples/draw_still_life.py

Fruit and a jug on a table beside a window, made up (still_forms.py): the forms are distances to
surfaces, found by sphere tracing (Hart 1996), their light is traced along random paths. Nothing
here is taken from a picture, so it has no license but ours. The same seed gives the same file.
About twenty minutes on two cores.
"""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from scene_land import fractal
from still_forms import BALLS, FORMS, SKINS, Points, plaster, wood

WIDTH, HEIGHT, SEED = 1024, 683, 7
PATHS = 16  # of each pixel
OUT = Path(__file__).resolve().parent.parent / "src" / "impasto" / "samples" / "still-life.jpg"

EYE, TARGET = np.array((0.25, 1.55, 5.2)), np.array((0.08, 0.74, 0.0))
FIELD, LENS = 0.72, 0.022  # the picture's width at distance 1; radius of the lens
WALL = -1.9  # z
# the window: its plane x, (y, z) of its corners, its light and that of the room
WINDOW_X, LOW, HIGH = -3.6, (0.9, -0.9), (3.6, 2.5)
DAYLIGHT = np.array((11.5, 11.0, 10.2))
ROOM = np.array((0.085, 0.068, 0.052))
BOX_LOW, BOX_HIGH = np.array((-1.95, -0.01, -1.0)), np.array((1.9, 1.95, 1.2))


def distance(p: Points) -> np.ndarray:
    """Distance to the nearest of all forms, or less where it is far away."""
    found = np.full(len(p), np.inf, np.float32)
    for form, (center, radius) in zip(FORMS, BALLS, strict=True):
        q = p - np.float32(center)
        away = np.sqrt(np.einsum("ij,ij->i", q, q)) - radius
        near = np.flatnonzero(away < 0.04)
        away[near] = form(p[near])
        found = np.minimum(found, away)
    return found


def trace(origin: Points, toward: Points) -> np.ndarray:
    """How far the first form is along each ray; infinite if there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = (BOX_LOW - origin) / toward, (BOX_HIGH - origin) / toward
    t = np.maximum(np.minimum(one, two).max(1), 0.004).astype(np.float32)
    end = np.maximum(one, two).min(1)
    found = np.full(len(t), np.inf)
    active = np.flatnonzero(t < end)
    origin, toward = origin.astype(np.float32), toward.astype(np.float32)
    for _ in range(90):
        if not len(active):
            break
        gap = distance(origin[active] + t[active, None] * toward[active])
        hit = gap < 0.0015
        found[active[hit]] = t[active[hit]]
        t[active] += gap
        active = active[~hit & (t[active] < end[active])]
    return found


def nearest(origin: Points, toward: Points) -> tuple[np.ndarray, np.ndarray]:
    """Along each ray: how far the first surface is, and which (-2 the table, -1 the wall)."""
    far = trace(origin, toward)
    kind = np.zeros(len(far), np.int32)
    with np.errstate(divide="ignore", invalid="ignore"):
        table, wall = -origin[:, 1] / toward[:, 1], (WALL - origin[:, 2]) / toward[:, 2]
    table[~(table > 1e-3)] = np.inf
    wall[~(wall > 1e-3)] = np.inf
    for name, other in ((-2, table), (-1, wall)):
        kind[other < far] = name
        far = np.minimum(far, other)
    return far, kind


def window(origin: Points, toward: Points) -> np.ndarray:
    """The light (n, 3) that comes through the window along each ray, if nothing is in its way."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (WINDOW_X - origin[:, 0]) / toward[:, 0]
        y, z = origin[:, 1] + t * toward[:, 1], origin[:, 2] + t * toward[:, 2]
    v, u = (y - LOW[0]) / (HIGH[0] - LOW[0]), (z - LOW[1]) / (HIGH[1] - LOW[1])
    open_ = (t > 0) & (np.abs(u - 0.5) < 0.5) & (np.abs(v - 0.5) < 0.5)
    open_ &= (np.abs(u - 0.5) > 0.02) & (np.abs(v - 0.6) > 0.016)  # the bars
    return np.where(open_[:, None], DAYLIGHT, 0.0)


def surface(p: Points, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal, color and shine of the surfaces at points."""
    normal = np.zeros_like(p)
    normal[kind == -2] = (0, 1, 0)
    normal[kind == -1] = (0, 0, 1)
    color, shine = np.zeros_like(p), np.zeros(len(p))
    forms = np.flatnonzero(kind == 0)
    if len(forms):
        q = p[forms]
        which = np.argmin([form(q) for form in FORMS], axis=0)
        for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
            normal[forms] += np.multiply.outer(distance(q + 0.002 * np.array(corner)), corner)
        normal[forms] /= np.linalg.norm(normal[forms], axis=1, keepdims=True)
        for k, paint in enumerate(SKINS):
            mine = which == k
            if mine.any():
                color[forms[mine]], shine[forms[mine]] = paint(q[mine])
    for at, paint in ((kind == -2, wood), (kind == -1, plaster)):
        if at.any():
            color[at], shine[at] = paint(p[at])
    rough = 0.05 * (kind == -2) + 0.03 * (kind == -1)
    tilt = [fractal(p[:, 0] * 23 + k, p[:, 1] * 23 + p[:, 2] * 31, 3) for k in (0, 50, 100)]
    normal = normal + rough[:, None] * np.stack(tilt, 1)
    return normal / np.linalg.norm(normal, axis=1, keepdims=True), color, shine


def light_at(
    p: Points, toward: Points, kind: np.ndarray, rng: np.random.Generator, bounces: int
) -> np.ndarray:
    """The light (n, 3) that leaves points against the rays that found them."""
    normal, color, shine = surface(p, kind)
    start = p + 0.006 * normal
    at = np.stack([np.full(len(p), WINDOW_X), rng.uniform(LOW[0], HIGH[0], len(p)),
                   rng.uniform(LOW[1], HIGH[1], len(p))], 1)  # fmt: skip
    way = at - start
    away = np.linalg.norm(way, axis=1)
    way /= away[:, None]
    facing = np.clip((normal * way).sum(1), 0, None)
    lit = np.zeros_like(p)
    use = facing > 0
    free = ~np.isfinite(trace(start[use], way[use]))
    area = (HIGH[0] - LOW[0]) * (HIGH[1] - LOW[1])
    share = facing[use] * np.abs(way[use, 0]) / away[use] ** 2 * area / np.pi
    lit[use] = window(start[use], way[use]) * (share * free)[:, None]
    around = rng.normal(size=p.shape)
    around = normal + around / np.linalg.norm(around, axis=1, keepdims=True)
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    lit += incoming(start, around, rng, bounces - 1, False)
    glossy = shine > 0
    mirrored = toward - 2 * (toward * normal).sum(1)[:, None] * normal
    mirrored = mirrored[glossy] + 0.035 * rng.normal(size=(int(glossy.sum()), 3))
    mirrored /= np.linalg.norm(mirrored, axis=1, keepdims=True)
    angle = np.clip((mirrored * normal[glossy]).sum(1), 0, 1)
    fresnel = shine[glossy] + (1 - shine[glossy]) * (1 - angle) ** 5 * 0.6
    reflected = incoming(start[glossy], mirrored, rng, bounces - 1, True)
    leaving = color * lit
    leaving[glossy] = leaving[glossy] * (1 - fresnel)[:, None] + reflected * fresnel[:, None]
    return leaving


def incoming(
    origin: Points, toward: Points, rng: np.random.Generator, bounces: int, sees_window: bool
) -> np.ndarray:
    """The light (n, 3) that arrives along rays."""
    light = np.broadcast_to(ROOM * (1.2 + toward[:, 1:2]), origin.shape).copy()
    if not len(origin):
        return light
    if sees_window:
        light += window(origin, toward)
    far, kind = nearest(origin, toward)
    hit = np.flatnonzero(np.isfinite(far) & (far < 12))
    p = origin[hit] + far[hit, None] * toward[hit]
    inside = p[:, 0] > WINDOW_X  # what is beyond the window's wall is not there
    hit, p = hit[inside], p[inside]
    if bounces > 0:
        light[hit] = light_at(p, toward[hit], kind[hit], rng, bounces)
    else:
        light[hit] = ROOM * 0.7
    return light


def rows(first: int, count: int) -> np.ndarray:
    """The light of some rows of the picture, (count, WIDTH, 3)."""
    rng = np.random.default_rng((SEED, first))
    ahead = TARGET - EYE
    focus = np.linalg.norm(ahead) - 0.35
    ahead = ahead / np.linalg.norm(ahead)
    right = np.cross(ahead, (0, 1, 0))
    right /= np.linalg.norm(right)
    up = np.cross(right, ahead)
    y, x = np.mgrid[first : first + count, 0:WIDTH].reshape(2, -1).astype(np.float64)
    total = 0.0
    for _ in range(PATHS):
        u = FIELD * ((x + rng.random(x.shape)) / WIDTH - 0.5)
        v = FIELD * ((y + rng.random(y.shape)) - HEIGHT / 2) / WIDTH
        at = EYE + focus * (ahead + np.multiply.outer(u, right) - np.multiply.outer(v, up))
        turn, out = 2 * np.pi * rng.random(x.shape), LENS * np.sqrt(rng.random(x.shape))
        origin = EYE + np.multiply.outer(out * np.cos(turn), right)
        origin = origin + np.multiply.outer(out * np.sin(turn), up)
        toward = at - origin
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        # a lucky path is no brighter than white: it would be a lone bright pixel
        total = total + np.minimum(incoming(origin, toward, rng, 2, False), 6.0)
    return (total / PATHS).reshape(count, WIDTH, 3)


def develop(light: np.ndarray) -> np.ndarray:
    """Linear light to sRGB values in [0, 1]: a soft shoulder, a vignette."""
    height, width = light.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    corner = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 2
    exposed = light * 1.5 * (1 - 0.4 * corner)[..., None]
    film = exposed * (2.51 * exposed + 0.03) / (exposed * (2.43 * exposed + 0.59) + 0.14)
    return np.clip(film, 0, 1) ** (1 / 2.2)


def main() -> None:
    """Draw the still life and write it as JPEG."""
    starts = range(0, HEIGHT, 8)
    with ProcessPoolExecutor() as pool:
        parts = list(pool.map(rows, starts, [min(8, HEIGHT - start) for start in starts]))
    values = develop(np.concatenate(parts))
    Image.fromarray((values * 255).round().astype(np.uint8)).save(OUT, quality=90)
    print(OUT)


if __name__ == "__main__":
    main()
