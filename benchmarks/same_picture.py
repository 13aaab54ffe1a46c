"""Table 2: time to the same picture. Needs ../shared.

The baseline minimizes the objective of impasto's defaults with the true VGG-19 by the plain loop:
at full size, in float32, by autograd, with torch's L-BFGS, 300 evaluations. Ours paints as the
defaults do, the small network first, but lets VGG-19 go on, with a longer history. Its times are
those of the first pictures whose objective is within some percents of the baseline's picture. The
last columns are what the defaults as they are take, and where they end.

The baseline's seconds are the median of its evaluations (with the solver's work in between) times
their number: other load on the machine during a part of it does not count in our favor. Ours runs
in a process that is prepared as `impasto paint` prepares it, the baseline in one as torch comes.
"""

import argparse
import json
import os
import subprocess
import sys

from impasto.process import HUGE_PAGES, prepare_process

if "--baseline" in sys.argv:  # as where nobody has set them
    os.environ.update({HUGE_PAGES: "0", "GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"})
prepare_process()  # before torch is imported; it keeps what is set

import torch  # noqa: E402
from baseline import DefaultBaseline, run  # noqa: E402
from baseline import Run as BaselineRun  # noqa: E402
from common import PAIRS, pictures, record, recorded  # noqa: E402

from impasto import Config, Run  # noqa: E402
from impasto.backbone.load import load_backbone  # noqa: E402
from impasto.backbone.vgg import Backbone  # noqa: E402
from impasto.backbone.weights import load  # noqa: E402
from impasto.images.read import Picture, read, resize  # noqa: E402
from impasto.painting.problem import prepare_problem, regions_at  # noqa: E402
from impasto.painting.step import Step  # noqa: E402
from impasto.painting.tuning import tune_allocator  # noqa: E402

DEFAULT = Config()
SMALL = DEFAULT.steps - DEFAULT.finish_steps  # steps of the small network
MOST = 300  # of VGG-19's steps after them
OURS = DEFAULT.changed(steps=SMALL + MOST, finish=MOST, history=50)
WITHIN = (0.10, 0.05, 0.02, 0.0)  # of the baseline's objective
NEAR = 0.005  # bound of the relative difference of our objective and the baseline's, at one picture


def baseline_of(pair: str, size: int, evaluations: int) -> dict:
    """Run the baseline in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--baseline",
        pair,
        "--size",
        str(size),
        "--evaluations",
        str(evaluations),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def scaled(content: Picture, style: Picture, config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """Both pictures as large as they are at full size."""
    problem = prepare_problem(content, [style], config)
    level = problem.levels[-1]
    ((pattern,),) = (region.styles for region in regions_at(problem, level, config))
    return resize(problem.content.pixels, level.height, level.width), pattern.pixels


def race(
    content: Picture, style: Picture, config: Config, backbone: Backbone, target: float
) -> tuple[dict[str, float | None], Step]:
    """The seconds to within each of WITHIN of `target`, and the defaults' last step."""
    seconds: dict[str, float | None] = {f"{share:g}": None for share in WITHIN}
    last = None
    prepared = Run.prepare(content, style, config, backbone=backbone)
    tune_allocator(prepared.plan, prepared.backbone)
    for step in prepared.steps():
        if step.number == DEFAULT.steps:
            last = step
        if step.level < step.levels:
            continue
        for share in WITHIN:
            if seconds[f"{share:g}"] is None and float(step.value) <= (1 + share) * target:
                seconds[f"{share:g}"] = step.seconds
        if last and None not in seconds.values():
            break
    assert last is not None
    return seconds, last


def main() -> None:
    """Paint, compare, record; each pair's row is saved when it is done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs", nargs="*", default=PAIRS, help="the others' rows are kept, if of today and here"
    )
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument(
        "--baseline", metavar="PAIR", help="run the baseline alone, print its figures as JSON"
    )
    args = parser.parse_args()
    weights, config = load("vgg19"), OURS.changed(size=args.size)
    if args.baseline:
        content, style = scaled(*map(read, pictures(args.baseline)), config)
        objective = DefaultBaseline(weights, content, style, config)
        print(json.dumps(run(objective, content, args.evaluations)._asdict()))
        return
    backbone = load_backbone(config)
    rows = [row for row in recorded("same_picture") if row["pair"] not in args.pairs]
    for pair in args.pairs:
        content, style = (read(path) for path in pictures(pair))
        small, pattern = scaled(content, style, config)
        objective = DefaultBaseline(weights, small, pattern, config)
        theirs = BaselineRun(**baseline_of(pair, args.size, args.evaluations))
        seconds, last = race(content, style, config, backbone, theirs.value)
        with torch.no_grad():
            of_defaults = float(objective(last.best.point))
            if abs(float(objective(last.picture)) / float(last.value) - 1) > NEAR:
                raise RuntimeError("the baseline's objective is not that of the defaults")
        rows.append(
            {
                "pair": pair,
                "width": small.shape[3],
                "height": small.shape[2],
                "baseline": theirs.value,
                "baseline_seconds": theirs.seconds,
                "baseline_wall": theirs.wall,
                "evaluations": theirs.evaluations,
                "seconds": seconds,
                "default": of_defaults,
                "default_seconds": last.seconds,
            }
        )
        print(rows[-1], flush=True)
        rows.sort(key=lambda row: [*PAIRS, row["pair"]].index(row["pair"]))
        record("same_picture", rows, network=weights.name)


if __name__ == "__main__":
    main()
