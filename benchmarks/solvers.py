"""Table 5: the objective that a solver reaches in so many evaluations. Needs ../shared.

The default's objective with the shipped network in float32 at 256 pixels, one size, nothing
clamped: torch.optim.LBFGS as the published recipes have it (lr 1, history 100), ours with the same
settings, ours with fewer pairs, and ours preconditioned.
"""

import torch
from common import PAIRS, pictures, record

from impasto import Config
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.images.read import read, resize
from impasto.objective.objective import Objective
from impasto.painting.allocator import keep_big_blocks
from impasto.painting.problem import prepare_problem, regions_at
from impasto.solver.lbfgs import LBFGS
from impasto.solver.preconditioner import SpectralPreconditioner

MARKS = (20, 50, 100, 150)
OURS = {
    "ours: history 100, as published": (100, 0.0, 0.0),
    "ours: history 10": (10, 0.01, 0.0),
    "ours: history 100, preconditioned": (100, 0.01, 0.5),
    "ours: history 10, preconditioned (the default)": (10, 0.01, 0.5),
}


def torchs(objective: Objective, start: torch.Tensor) -> list[float]:
    """The objective at each evaluation of torch.optim.LBFGS."""
    x, values = start.clone().requires_grad_(), []
    most = MARKS[-1]
    solver = torch.optim.LBFGS(
        [x], max_iter=most, max_eval=most, tolerance_grad=0, tolerance_change=0
    )

    def closure() -> torch.Tensor:
        value, x.grad = objective.evaluate(x.detach())
        values.append(float(value.total))
        return value.total

    solver.step(closure)
    return values


def ours(
    objective: Objective, start: torch.Tensor, history: int, first: float, power: float
) -> list[float]:
    """The objective at each evaluation of our LBFGS."""
    spectrum = SpectralPreconditioner(*start.shape[2:], power) if power else None
    x, values, solver = start, [], LBFGS(1.0, history, first, spectrum)
    for _ in range(MARKS[-1]):
        value, gradient = objective.evaluate(x)
        values.append(float(value.total))
        x = solver.step(x, gradient)
    return values


def main() -> None:
    """Run, print, record."""
    keep_big_blocks()
    config = Config(size=256, levels=1)
    backbone = Backbone(load("compact"), padding=config.padding)
    rows = []
    for pair in PAIRS:
        content, style = (read(path) for path in pictures(pair))
        problem = prepare_problem(content, [style], config)
        level = problem.levels[-1]
        start = resize(content.pixels, level.height, level.width)
        objective = Objective(config, backbone, start, regions_at(problem, level, config))
        found = {"torch.optim.LBFGS, history 100": torchs(objective, start)}
        found |= {name: ours(objective, start, *settings) for name, settings in OURS.items()}
        for name, values in found.items():
            rows.append(
                {"pair": pair, "solver": name, "values": [min(values[:mark]) for mark in MARKS]}
            )
            print(rows[-1], flush=True)
        record("solvers", rows, marks=MARKS)  # a run that is cut off has told this much


if __name__ == "__main__":
    main()
