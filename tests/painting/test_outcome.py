"""How a run came out: pictures that are whole and still not what was meant are not passed off as
finished."""

import json
from dataclasses import replace

import pytest
import torch

from impasto import Config, paint
from impasto.objective.objective import Objective
from impasto.painting.outcome import doubt_about
from impasto.painting.run import Run
from impasto.solver.safeguard import Safeguard
from machines import EXACT

TERMS = {"content relu4_2": 1.5, "grain": 1e12}


@pytest.fixture
def nan_gradients(monkeypatch):
    """Has every so manieth gradient of a run be NaN."""

    def every(count: int) -> None:
        evaluate, made = Objective.evaluate, []

        def evaluated(self: Objective, x: torch.Tensor):
            value, gradient = evaluate(self, x)
            made.append(x.shape)
            return value, gradient * torch.nan if len(made) % count == 0 else gradient

        monkeypatch.setattr(Objective, "evaluate", evaluated)

    return every


def test_a_run_that_ends_where_it_began_says_so_and_exits_with_4(painted, nan_gradients) -> None:
    nan_gradients(2)
    code, out, err = painted("--steps", 12, "--json")
    assert code == 4
    assert "impasto: no step improved on the starting picture, and that is what was saved" in err
    line = json.loads(out)
    assert line["finished"]
    assert line["doubt"].startswith("no step improved")


def test_a_run_that_is_mended_all_the_time_says_so(
    tiny_weights, photo, style, nan_gradients
) -> None:
    nan_gradients(5)
    settings = {"backbone": str(tiny_weights), "size": 48}
    config = Config(**settings, steps=40, levels=1, learning_rate=0.1)
    painting = paint(photo, style, config, EXACT)
    assert painting.finished
    assert "8 of 40 steps went wrong and were undone" in painting.doubt


def test_a_sound_run_leaves_no_doubt(painted) -> None:
    code, _, err = painted("--steps", 12, "--start", "noise")
    assert code == 0
    assert "impasto:" not in err


def test_a_texture_that_ends_where_it_began_exits_with_4(
    impasto, style, tiny_weights, nan_gradients
) -> None:
    nan_gradients(2)
    options = (
        f"--backbone {tiny_weights} --steps 8 --levels 1 --device cpu --precision float32".split()
    )
    code, _, err = impasto("texture", style, "--size", "32x32", "-o", "out.png", *options)
    assert code == 4
    assert "no step improved" in err


def test_a_batch_says_which_paintings_to_doubt(impasto, photo, style, tiny, nan_gradients) -> None:
    nan_gradients(2)
    code, _, err = impasto("batch", photo, "--style", style, "-o", "out", *tiny, "--steps", 8)
    assert code == 4
    assert "in the style of" in err
    assert "no step improved" in " ".join(err.split())


def test_a_run_that_was_cut_off_knows_that_it_had_improved(
    tiny_weights, photo, style, nan_gradients
) -> None:
    """Nothing after the cut improves; what did before it counts."""
    settings = {
        "backbone": str(tiny_weights),
        "size": 96,
        "steps": 30,
    }
    config = Config(**settings, levels=1, start="noise")
    run = Run.prepare(photo, style, config, EXACT)
    for at in (9, 20):
        state = next(step.state() for step in run.steps() if step.number == at)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Objective, "evaluate", nan_at(Objective.evaluate))
            doubt = replace(run, resume=state).paint().doubt
        assert doubt.startswith(f"{30 - at} of 30 steps went wrong")


def nan_at(evaluate):
    def evaluated(self: Objective, x: torch.Tensor):
        value, gradient = evaluate(self, x)
        return value, gradient * torch.nan

    return evaluated


@pytest.mark.parametrize(
    ("improved", "mended", "steps", "doubt"),
    [
        (True, 0, 120, ""),
        (True, 2, 10, ""),
        (True, 6, 120, ""),
        (True, 7, 120, "7 of 120 steps went wrong"),
        (True, 3, 10, "3 of 10 steps went wrong"),
        (False, 0, 4, ""),  # a trial
        (False, 0, 5, "the heaviest term is grain, 1e+12 of 1e+12: give smaller weights"),
        (False, 60, 120, "no step improved on the starting picture"),
    ],
)
def test_what_is_doubted(improved, mended, steps, doubt) -> None:
    found = doubt_about(improved, mended, steps, TERMS)
    assert doubt in found
    assert bool(found) == bool(doubt)


@pytest.mark.parametrize("terms", [{}, {"content": 0.0, "grain": -1e-9}, {"content": 1e-9}])
def test_where_nothing_was_left_to_improve_there_is_no_doubt(terms) -> None:
    assert doubt_about(False, 0, 9, terms) == ""


def test_a_picture_in_its_own_style_is_finished(impasto, style, tiny) -> None:
    assert impasto("paint", style, style, "-o", "out.png", *tiny, "--steps", 6)[0] == 0


def troubles(values: list[float]) -> list[str]:
    safeguard, x = Safeguard(), torch.zeros(1)
    return [safeguard.check(x, torch.tensor(value), torch.zeros(1), x) for value in values]


@pytest.mark.parametrize(
    "values",
    [
        [0.0] * 60,
        [-1.0, -0.5, -0.9] * 20,
        [1.0, 0.0, *[1e-10] * 60],
        [1.0, -1e-12, *[1e-11] * 60],
        [-2.0, *[-1.5] * 60],
    ],
    ids=[
        "zero",
        "below zero",
        "rounded to zero",
        "rounded below zero",
        "a little worse, below zero",
    ],
)
def test_an_objective_that_is_not_above_zero_is_no_alarm(values) -> None:
    assert not any(troubles(values))


def test_an_objective_below_zero_that_rises_is_one() -> None:
    assert troubles([-1.0, 9.0])[1] == "the objective rose from -1 to 9"
