"""What a sweep found, in a sentence or two, and no more than it did.

The best of many trials is partly luck, so it is called better only where runs over fresh seeds say
so; of several objectives nothing is called best.
"""

from vertiform.evaluation.comparison import number_shown
from vertiform.evaluation.seeds import SeedDifference, difference, is_noise
from vertiform.sweeps.labels import digits_after_the_point
from vertiform.sweeps.outcome import Confirmation, Outcome, Tried


def finding(outcome: Outcome) -> str:
    """Say in a sentence or two what the sweep found, and no more than it did."""
    if not outcome.best:
        return "No trial ended well, so nothing was found."
    if len(outcome.objectives) > 1:
        return _said_of_front(outcome)
    best = outcome.best[0]
    if best.number == 0:
        return (
            f"No trial beat the configuration as it was: {outcome.objectives[0]} "
            f"{number_shown(best.values[0])}."
        )
    if outcome.confirmation is None:
        return _said_unconfirmed(outcome, best)
    return _said_confirmed(outcome, best, outcome.confirmation)


def improvement(outcome: Outcome, confirmation: Confirmation) -> SeedDifference | None:
    """Return by how much the best trial is better over seeds: above 0 whichever way is better.

    None where no run of one of the two ended well.
    """
    if not confirmation.best or not confirmation.base:
        return None
    if outcome.is_lower_better[0]:
        return difference(confirmation.base, confirmation.best)
    return difference(confirmation.best, confirmation.base)


def is_shown_worse(outcome: Outcome) -> bool:
    """Whether runs over seeds say that the best trial is worse than the configuration as it was."""
    if outcome.confirmation is None:
        return False
    found = improvement(outcome, outcome.confirmation)
    return found is not None and found.high is not None and found.high < 0


def _said_of_front(outcome: Outcome) -> str:
    is_one = len(outcome.best) == 1
    count = "1 trial is" if is_one else f"{len(outcome.best)} trials are"
    return (
        f"Of {outcome.num_done} trials that ended well, {count} beaten by no other in "
        f"{' and '.join(outcome.objectives)} together. Each is a single run: between neighbours "
        "the difference may be noise. Which to take depends on what the model is for."
    )


def _said_unconfirmed(outcome: Outcome, best: Tried) -> str:
    said = f"Trial {best.number} came out best, with {outcome.objectives[0]} "
    said += number_shown(best.values[0])
    if outcome.base is not None and outcome.base.values:
        said += f"; the configuration as it was had {number_shown(outcome.base.values[0])}"
    return f"{said}. No runs over seeds confirm it, and the best of many trials is partly luck."


def _said_confirmed(outcome: Outcome, best: Tried, confirmation: Confirmation) -> str:
    found = improvement(outcome, confirmation)
    who = f"trial {best.number}"
    if found is None:
        side = who if not confirmation.best else "the configuration as it was"
        return f"Nothing can be said of {who}: no run of {side} over seeds ended well."
    if found.low is None or found.high is None:
        return f"The difference is not shown to be more than noise: {_no_interval(confirmation)}"
    if is_noise(found):
        return (
            f"The difference is noise: {who} and the configuration as it was differ by "
            f"{_by(found, outcome, confirmation, sign='+')}, which seeds alone may explain."
        )
    way = "better" if found.value > 0 else "worse"
    said = (
        f"{who.capitalize()} is {way} than the configuration as it was by "
        f"{_by(found, outcome, confirmation)}."
    )
    return said if found.value > 0 else f"{said} Its value in the search was luck."


def _by(found: SeedDifference, outcome: Outcome, confirmation: Confirmation, sign: str = "") -> str:
    """Write a difference with its interval: with signs, or without them as how far it is."""
    assert found.low is not None
    assert found.high is not None
    digits = digits_after_the_point(found.low, found.high)
    shown = (found.value, found.low, found.high)
    if not sign and found.value < 0:
        shown = (-found.value, -found.high, -found.low)
    value, low, high = (f"{number:{sign}.{digits}f}" for number in shown)
    level = f"{100 * found.confidence:.0f}% interval {low} to {high}"
    return f"{value} {outcome.objectives[0]} ({level}; {_runs(confirmation)})"


def _runs(confirmation: Confirmation) -> str:
    best, base = len(confirmation.best), len(confirmation.base)
    return f"{best} runs of each" if best == base else f"{best} and {base} runs"


def _no_interval(confirmation: Confirmation) -> str:
    if min(len(confirmation.best), len(confirmation.base)) < 2:
        return "one run alone does not say how much a seed changes."
    return "all runs of a side have the same value, so they do not say how much a seed changes."
