"""Table 6: how the steps are split over the sizes, against time. Needs ../shared.

Each split paints the five pairs at 512 pixels with the defaults otherwise. The objective is that at
full size in float32, whatever sizes the run went through; the referee scores the pictures.
"""

import statistics
import tempfile
from pathlib import Path

from common import PAIRS, SHARED, load_referee, pictures, record

from impasto import Config, paint
from impasto.backbone.load import load_backbone
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.images.read import read, resize
from impasto.objective.objective import Objective
from impasto.painting.problem import prepare_problem, regions_at

SPLITS: tuple[dict[str, float], ...] = (
    {},
    {"precondition": 0},
    {"levels": 1},
    {"levels": 2},
    {"step_ratio": 0.5},
    {"step_ratio": 1},
    {"steps": 200},
)


def main() -> None:
    """Paint, score, print, record."""
    referee, default = load_referee(SHARED), Config()
    backbone, exact = (
        load_backbone(default),
        Backbone(load(default.backbone), padding=default.padding),
    )
    rows = []
    for split in SPLITS:
        config, scores = default.changed(**split), []
        for pair in PAIRS:
            content, style = pictures(pair)
            painting = paint(content, style, config, backbone=backbone)
            problem = prepare_problem(read(content), [read(style)], default)
            whole = problem.levels[-1]
            small = resize(read(content).pixels, whole.height, whole.width)
            objective = Objective(default, exact, small, regions_at(problem, whole, default))
            with tempfile.TemporaryDirectory() as folder:
                score = referee.score(
                    content, style, [painting.save(Path(folder) / "painting.png")]
                )[0]
            scores.append(
                {
                    "objective": float(objective(painting.pixels).total),
                    "seconds": painting.seconds,
                    **score,
                }
            )
        mean = {
            key: statistics.mean(row[key] for row in scores)
            for key in ("objective", "seconds", "style", "content", "noise")
        }
        rows.append({"split": split, **mean, "slowest": max(row["seconds"] for row in scores)})
        print(rows[-1], flush=True)
        record("levels", rows)  # a run that is cut off has told this much


if __name__ == "__main__":
    main()
