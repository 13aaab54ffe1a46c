"""Judge a run's result: why it stopped early, or why a complete painting is doubtful."""

from __future__ import annotations

from collections.abc import Mapping

from impasto.errors import ClusterError, SolverError, out_of_memory

__all__ = ["doubt_about", "why_stopped"]

TRIAL = 4  # runs of up to so many steps are not judged: the first steps may increase the objective
ZERO = 1e-6  # an objective below it cannot be improved
FEW, SHARE = 2, 0.05  # a normal run has up to so many failed steps, or up to this share of them


def why_stopped(error: BaseException) -> str:
    """Return why `error` ended a run early, for the user; "" if it is a bug."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped by hand"
    if out_of_memory(error):
        return "not enough memory for the next level: give a smaller --size"
    return str(error) if isinstance(error, (SolverError, ClusterError)) else ""


def doubt_about(improved: bool, mended: int, steps: int, terms: Mapping[str, float]) -> str:
    """Return why the result of a complete run is doubtful, or "" if it is not.

    Args:
        improved: whether any step decreased the objective below its level's first value.
        mended: the number of steps that went wrong and were undone.
        steps: the number of all steps.
        terms: the weighted terms of the objective at the end, by name.
    """
    total = sum(terms.values())
    if not improved and steps > TRIAL and total > ZERO:
        name = max(terms, key=lambda term: terms[term])
        return (
            "no step improved on the starting picture, and that is what was saved; the "
            "heaviest term is "
            f"{name}, {terms[name]:.3g} of {total:.3g}: give smaller weights, or more --steps"
        )
    if mended > max(FEW, SHARE * steps):
        return (
            f"{mended} of {steps} steps went wrong and were undone: give smaller weights, "
            "or --precision float32"
        )
    return ""
