"""Films: warping error against frames painted one by one, drift, time, memory (docs/film.md).

python benchmarks/film.py [--size 128] [--frames 8] [--passes 2] [steady] [still] [memory]: prints a
table each; with two passes the figures of both.

The films are made from the sample photograph by known motion, so that flow and what is hidden are
exact (tests/support/films.py).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import torch
from common import ROOT, median_seconds, record

sys.path.insert(0, str(ROOT / "tests" / "support"))
from films import MOTIONS, MadeFilm, photograph
from impasto.backbone.load import load_backbone
from impasto.config import Config, Machine
from impasto.film.check import warping_error
from impasto.film.clip import Clip, ClipFrame
from impasto.film.flow import consistency, flow_method
from impasto.film.paint import Extras, FilmInput, Span, frame_picture, paint_film
from impasto.film.painter import FramePainter
from impasto.film.store import FrameLine, open_film_store
from impasto.film.warp import warp
from impasto.images.color import gray
from impasto.images.read import Picture, read
from impasto.images.samples import sample_style
from impasto.images.write import to_image
from impasto.objective.objective import Objective
from impasto.painting.problem import prepare_problem, regions_at

STYLES = ("strokes", "woodcut", "glass")
APART = 6  # frames, for the long-term error
LATER = Config().later_steps
RATE = Fraction(25)


def clip_of(frame: Callable[[int], torch.Tensor], count: int) -> Clip:
    """A clip in memory."""

    def frames(_: object) -> Iterator[ClipFrame]:
        for t in range(count):
            yield ClipFrame(t + 1, t, 1, np.array(to_image(frame(t))))

    return Clip(Path("made"), "", 1 / RATE, Fraction(0), RATE, Fraction(1), None, count, frames)


def paint(
    clip: Clip,
    style: Picture,
    config: Config,
    later: int,
    each: Callable[[FrameLine], object],
    passes: int = 1,
) -> tuple[list[list[torch.Tensor]], FramePainter]:
    """Paint a film; the frames as each pass left them, and the painter."""
    painter = FramePainter([style], config, Machine(), later, 1.0)
    first = next(clip.frames(print))
    size = first.pixels.shape[:2]
    with (
        tempfile.TemporaryDirectory() as folder,
        open_film_store(Path(folder), {}, passes) as store,
    ):
        film = FilmInput(clip, Span(), size, Extras(config, RATE), flow_method("dis"))
        painted = paint_film(film, painter, store, print, lambda step: None)
        for line in painted:
            each(line)
        stores = [store, store.second] if store.second else [store]
        numbers = range(1, clip.length + 1) if clip.length <= 200 else ()
        return [[one.pixels(number) for number in numbers] for one in stores], painter


def judged(
    config: Config, content: Picture, style: Picture, painted: Sequence[torch.Tensor]
) -> list[tuple[float, float]]:
    """Content and style of paintings of a frame, in the features of VGG-19."""
    config = config.changed(backbone="vgg19", finish=0, size="original")
    backbone = load_backbone(config)
    problem = prepare_problem(content, [style], config)
    regions = regions_at(problem, problem.levels[-1], config)
    objective = Objective(config, backbone, content.pixels, regions)
    found = []
    for pixels in painted:
        sums = dict.fromkeys(("content", "style"), 0.0)
        for name, value in objective(pixels).terms.items():
            if name.split()[0] in sums:
                sums[name.split()[0]] += float(value)
        found.append((sums["content"], sums["style"]))
    return found


def sharpness(pixels: torch.Tensor) -> float:
    """The mean squared difference of neighbors."""
    return float((pixels[..., 1:] - pixels[..., :-1]).square().mean())


def warping_errors(film: MadeFilm, frames: Mapping[int, torch.Tensor], apart: int) -> float:
    """The mean warping error of all frames of which the one `apart` frames later is known."""
    pairs = [(t, t + apart) for t in frames if t + apart in frames]
    return float(
        np.mean(
            [
                warping_error(frames[t], frames[u], film.flow(t, u), film.visible(t, u))
                for t, u in pairs
            ]
        )
    )


def stills_of(
    painter: FramePainter, contents: Sequence[Picture], first: torch.Tensor
) -> tuple[dict[int, torch.Tensor], float]:
    """Frames 0, 1 and `APART` painted one by one, and the CPU seconds of one.

    first: frame 0, which a film paints so too.
    """
    stills, seconds = {0: first}, []
    for t in (1, APART):
        began = time.process_time()
        still = painter.first(contents[t], {}, lambda step: None).pixels
        seconds.append(time.process_time() - began)
        stills[t] = still.mul(255).round() / 255
    return stills, float(np.median(seconds))


def pass_figures(
    film: MadeFilm,
    painted: Sequence[torch.Tensor],
    stills: Mapping[int, torch.Tensor],
    judge: Callable[[int, Sequence[torch.Tensor]], list[tuple[float, float]]],
) -> dict[str, float]:
    """The figures of a pass: warping errors, and frames 1 and `APART` against stills of them."""
    frames = dict(enumerate(painted))
    figures = {
        "short": warping_errors(film, frames, 1),
        "long": warping_errors(film, frames, APART),
        "sharpness": sharpness(painted[APART]) / sharpness(stills[APART]),
    }
    for t in (1, APART):
        (content, style), (still_content, still_style) = judge(t, [painted[t], stills[t]])
        figures[f"content, frame {t + 1}"] = content / still_content
        figures[f"style, frame {t + 1}"] = style / still_style
    return figures


def steady_row(film: MadeFilm, clip: Clip, name: str, passes: int) -> dict:
    """Paint a film in a style and print its figures, of each pass; they are returned."""
    config, style = Config(), read(sample_style(name))
    times = [time.process_time()]
    painted, painter = paint(
        clip, style, config, LATER, lambda line: times.append(time.process_time()), passes
    )
    contents = [frame_picture(frame, "made", film.size) for frame in clip.frames(print)]
    stills, still_seconds = stills_of(painter, contents, painted[0][0])
    short, long = warping_errors(film, stills, 1), warping_errors(film, stills, APART)
    later = [after - before for before, after in pairwise(times)][2 : clip.length]  # 2: styles too
    seconds = float(np.median(later))
    row = {
        "style": name,
        "short of stills": short,
        "long of stills": long,
        "CPU seconds of a later frame": seconds,
        "CPU seconds of a still": still_seconds,
        "passes": [],
    }
    print(f"{name}: a later frame takes {seconds / still_seconds:.2f} of a still's time")
    for number, frames in enumerate(painted, 1):
        figures = pass_figures(
            film, frames, stills, lambda t, two: judged(config, contents[t], style, two)
        )
        row["passes"].append(figures)
        others = ", ".join(f"{key} {value:.3f}" for key, value in list(figures.items())[2:])
        print(
            f"  pass {number}: warping error {figures['short']:.5f} of {short:.5f} "
            f"({figures['short'] / short:.2f}), over {APART + 1} frames {figures['long']:.5f} of "
            f"{long:.5f} ({figures['long'] / long:.2f}); times a still's: {others}",
            flush=True,
        )
    return row


def steady(size: int, count: int, styles: Sequence[str], passes: int) -> None:
    """Print the warping error of films against frames painted one by one."""
    film = MOTIONS["disc"](photograph(3 * size // 4, size))
    clip = clip_of(film.frame, count)
    rows = [steady_row(film, clip, name, passes) for name in styles]
    frames = [np.array(to_image(film.frame(t))) for t in (0, 1)]
    flow = flow_method("dis")

    def motion() -> None:
        back, forth = flow(frames[1], frames[0], 2, 1), flow(frames[0], frames[1], 1, 2)
        consistency(back, forth)
        warp(film.frame(0), back)

    share = 3 * median_seconds(motion) / rows[-1]["CPU seconds of a later frame"]
    print(f"flow and masks of three references: {100 * share:.1f} % of a later frame", flush=True)
    if tuple(styles) == STYLES:
        record("film", rows, size=list(film.size), frames=count, share_of_flow=share)


def still(size: int, count: int) -> None:
    """Print how a film of a scene that stands still drifts; noise tells its frames apart."""
    scene = MadeFilm(photograph(3 * size // 4, size)).frame(0)

    def frame(t: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(t)
        return (scene + 0.01 * torch.randn(scene.shape, generator=generator)).clamp(0, 1)

    (pixels,), _ = paint(
        clip_of(frame, count), read(sample_style("strokes")), Config(), LATER, lambda line: None
    )
    light = [255 * float(gray(x).mean()) for x in pixels]
    sharp = [sharpness(x) for x in pixels]
    for t in (0, 1, 3, 7, 15, 31, 63, count - 1):
        if t < count:
            print(f"frame {t + 1}: lightness {light[t]:.2f}, sharpness {sharp[t] / sharp[0]:.3f}")
    most = max(abs(x - light[0]) for x in light)
    print(f"{count} frames: lightness moved by at most {most:.2f}/255", flush=True)


def memory(count: int = 500) -> None:
    """Print the memory of the process at frames 50 and 500."""
    film = MadeFilm(photograph(48, 64), pan=0.1)
    process = psutil.Process()
    seen = {}

    def each(line: FrameLine) -> None:
        if line.number in (50, count):
            seen[line.number] = process.memory_info().rss / 1e6

    config = Config(steps=2, finish=0)
    paint(clip_of(film.frame, count), read(sample_style("strokes")), config, 1, each)
    text = ", ".join(f"{megabytes:.0f} MB at frame {number}" for number, megabytes in seen.items())
    print(f"memory: {text}", flush=True)


def main() -> None:
    """Run the tables that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", default=["steady", "still", "memory"])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--styles", default=",".join(STYLES))
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--still-frames", type=int, default=100)
    arguments = parser.parse_args()
    if "steady" in arguments.tables:
        steady(arguments.size, arguments.frames, arguments.styles.split(","), arguments.passes)
    if "still" in arguments.tables:
        still(arguments.size, arguments.still_frames)
    if "memory" in arguments.tables:
        memory()


if __name__ == "__main__":
    main()
