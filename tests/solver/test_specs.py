"""The descriptors of solvers: what Config.optimizer can name."""

from typing import get_args

import pytest
import torch

from impasto import Config
from impasto.solver import SOLVERS, learning_rate, make_solver

CPU = torch.device("cpu")


def test_every_optimizer_of_the_config_has_a_descriptor() -> None:
    assert set(SOLVERS) == set(get_args(Config.model_fields["optimizer"].annotation))


@pytest.mark.parametrize(("name", "rate"), [("lbfgs", 1.0), ("adam", 0.02)])
def test_each_has_its_own_rate_unless_the_config_gives_one(name: str, rate: float) -> None:
    assert learning_rate(Config(optimizer=name)) == rate
    assert make_solver(Config(optimizer=name), (20, 30), 9, CPU).rate == rate
    assert make_solver(Config(optimizer=name, learning_rate=0.5), (20, 30), 9, CPU).rate == 0.5


def test_lbfgs_keeps_no_more_pairs_than_there_are_steps() -> None:
    config = Config(history=20, precondition=0.5)
    assert make_solver(config, (20, 30), 7, CPU).history == 7
    assert make_solver(config, (20, 30), 70, CPU).history == 20


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_lbfgs_is_preconditioned_where_the_config_says_so(power: float) -> None:
    gradient = torch.randn(1, 3, 20, 30, generator=torch.Generator().manual_seed(1))
    solver = make_solver(Config(precondition=power), (20, 30), 7, CPU)
    assert torch.equal(solver.precondition(gradient), gradient) == (power == 0)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_restored_solver_goes_on_as_the_saved_one(name: str) -> None:
    config = Config(optimizer=name, history=3, precondition=0.5)
    one, other = (make_solver(config, (6, 8), 20, CPU) for _ in range(2))
    x, target = torch.zeros(1, 3, 6, 8), torch.rand(1, 3, 6, 8)
    for _ in range(5):
        x = one.step(x, x - target)
    one.rate /= 2
    other.restore({key: value.clone() for key, value in one.state().items()})
    assert other.rate == one.rate
    for _ in range(5):
        after = one.step(x, x - target)
        assert torch.equal(other.step(x, x - target), after)
        x = after


@pytest.mark.parametrize("name", SOLVERS)
def test_the_memory_is_that_of_the_state(name: str) -> None:
    config = Config(optimizer=name, history=4, precondition=0)
    solver = make_solver(config, (6, 8), 20, CPU)
    x = torch.zeros(1, 3, 6, 8)
    for k in range(8):
        x = solver.step(x, x - k)
    vectors = {"pairs", "m", "v"}
    kept = sum(v.numel() for key, v in solver.state().items() if key in vectors) / x.numel()
    assert kept <= SOLVERS[name].vectors(config.history)
    assert SOLVERS[name].vectors(config.history) - kept <= 2  # while a step is made
