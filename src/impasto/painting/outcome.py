"""How a run came out: why it stopped early, and why a painting that is whole may still not be what
was meant."""

from __future__ import annotations

from collections.abc import Mapping

from impasto.errors import ClusterError, SolverError, out_of_memory

__all__ = ["doubt_about", "why_stopped"]

# steps, up to which a run is a trial: the first ones may go up, and who asks for so few knows it
TRIAL = 4
NOTHING = 1e-6  # an objective below it is as good as 0: nothing was left to improve
NOW_AND_THEN, SHARE = 2, 0.05  # times, or of all steps, that a sound run may have to be mended


def why_stopped(error: BaseException) -> str:
    """Why a run ended with `error` although it had painted, or "" if that is nobody's fault but
    ours."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped by hand"
    if out_of_memory(error):
        return "not enough memory for the next level: give a smaller --size"
    return str(error) if isinstance(error, (SolverError, ClusterError)) else ""


def doubt_about(improved: bool, mended: int, steps: int, terms: Mapping[str, float]) -> str:
    """Why a run that made all its steps hardly made the painting that was meant, or "".

    Args:
        improved: whether any step led to a lower objective than the one that its level began with.
        mended: how many of the `steps` went wrong and were undone.
        terms: the weighted terms of the objective at the end, by name.
    """
    total = sum(terms.values())
    if not improved and steps > TRIAL and total > NOTHING:
        name = max(terms, key=lambda each: terms[each])
        return (
            "no step improved on the starting picture, and that is what was saved; the "
            "heaviest term is "
            f"{name}, {terms[name]:.3g} of {total:.3g}: give smaller weights, or more --steps"
        )
    if mended > max(NOW_AND_THEN, SHARE * steps):
        return (
            f"{mended} of {steps} steps went wrong and were undone: give smaller weights, "
            "or --precision float32"
        )
    return ""
