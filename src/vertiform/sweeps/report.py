"""What came of a sweep, for people: a page of Markdown, and the lines that a terminal ends with."""

from collections.abc import Iterator, Mapping, Sequence

from vertiform.evaluation.comparison import number_shown
from vertiform.evaluation.seeds import (
    CONFIDENCE,
    SeedDifference,
    SeedInterval,
    of_seeds,
)
from vertiform.evaluation.tables import markdown_table, text_table
from vertiform.sweeps.dimensions import Value
from vertiform.sweeps.finding import finding, improvement
from vertiform.sweeps.labels import (
    digits_after_the_point,
    short_names,
    value_text,
)
from vertiform.sweeps.outcome import Confirmation, Outcome, Tried

_AS_IT_WAS = "as it was"


def markdown_of(outcome: Outcome) -> str:
    """Write the page, which ends with a newline."""
    return "\n\n".join(_sections(outcome)) + "\n"


def closing_lines(outcome: Outcome) -> list[str]:
    """Write the last lines of a sweep in a terminal: the counts, the tables, what was found."""
    parts = [_counts(outcome)]
    if outcome.best:
        parts.append(text_table(*_best_table(outcome)))
    if outcome.confirmation is not None and _has_one_that_beat(outcome):
        parts.append(text_table(*_confirmation_table(outcome, outcome.confirmation)))
    parts += [f"{reason}: {_trials(numbers)}" for reason, numbers in outcome.failures.items()]
    return "\n\n".join([*parts, finding(outcome)]).splitlines()


def _sections(outcome: Outcome) -> Iterator[str]:
    yield f"# Sweep {outcome.name}"
    yield finding(outcome)
    yield _counts(outcome)
    if outcome.best:
        is_one = len(outcome.objectives) == 1
        yield f"## {'The best trial' if is_one else 'The trials that no other beats'}"
        yield markdown_table(*_best_table(outcome))
    if outcome.confirmation is not None and _has_one_that_beat(outcome):
        yield "## Over seeds"
        yield markdown_table(*_confirmation_table(outcome, outcome.confirmation))
        yield (
            "Intervals are Student's, of the difference Welch's (1947). They hold what a seed "
            "changes in training. The rows that were scored are those by which the search chose; "
            "what the recipe is worth on others, a test set says."
        )
    yield "## What was searched"
    yield markdown_table(["dimension", "values"], [list(row) for row in outcome.space])
    if outcome.failures:
        yield "## What failed"
        rows = [[reason, _trials(numbers)] for reason, numbers in outcome.failures.items()]
        yield markdown_table(["reason", "trials"], rows)


def _counts(outcome: Outcome) -> str:
    said = (
        f"{outcome.num_ended} of {outcome.n_trials} trials have ended: {outcome.num_done} done, "
        f"{outcome.num_pruned} pruned, {outcome.num_failed} failed."
    )
    steps = f" They trained {outcome.num_steps:,} steps together." if outcome.num_steps else ""
    return said + steps


def _has_one_that_beat(outcome: Outcome) -> bool:
    """Whether there is one best trial, and it is not the configuration as it was."""
    return len(outcome.objectives) == 1 and bool(outcome.best) and outcome.best[0].number != 0


def _best_table(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    """The settings in which the best trial differs from the configuration as it was, and values.

    Of several objectives a row for each trial, else a row for each setting.
    """
    if len(outcome.objectives) > 1:
        return _front_table(outcome)
    best, base = outcome.best[0], outcome.base
    before = dict(base.settings) if base is not None else {}
    keys = list(dict.fromkeys([*before, *best.settings]))
    rows = [
        [key, _setting(before, key), _setting(best.settings, key)]
        for key in keys
        if (key in before, before.get(key)) != (key in best.settings, best.settings.get(key))
    ]
    value = number_shown(base.values[0]) if base is not None and base.values else "-"
    rows.append([outcome.objectives[0], value, number_shown(best.values[0])])
    return ["in the search", _AS_IT_WAS, f"trial {best.number}"], rows


def _front_table(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    tried = list(outcome.best)
    if outcome.base is not None and outcome.base.number not in {trial.number for trial in tried}:
        tried.append(outcome.base)
    keys = list(dict.fromkeys(key for trial in tried for key in trial.settings))
    varied = [key for key in keys if len({_setting(t.settings, key) for t in tried}) > 1]
    names = short_names(keys)
    rows = [
        [
            _named(trial, outcome),
            *(map(number_shown, trial.values) if trial.values else ["-"] * len(outcome.objectives)),
            *(_setting(trial.settings, key) for key in varied),
        ]
        for trial in tried
    ]
    return ["trial", *outcome.objectives, *(names[key] for key in varied)], rows


def _named(trial: Tried, outcome: Outcome) -> str:
    if trial.number:
        return str(trial.number)
    if trial in outcome.best:
        return f"0 ({_AS_IT_WAS})"
    return f"0 ({_AS_IT_WAS}; {'beaten' if trial.values else 'no value'})"


def _confirmation_table(
    outcome: Outcome, confirmation: Confirmation
) -> tuple[list[str], list[list[str]]]:
    sides = {f"trial {outcome.best[0].number}": confirmation.best, _AS_IT_WAS: confirmation.base}
    rows = []
    for name, values in sides.items():
        failed = len(confirmation.seeds) - len(values)
        runs = ", ".join(map(number_shown, values)) + (f" ({failed} failed)" if failed else "")
        rows.append([name, _with_interval(of_seeds(values)) if values else "-", runs.strip()])
    found = improvement(outcome, confirmation)
    if found is not None:
        rows.append(["better by", _signed_with_interval(found), ""])
    header = f"{outcome.objectives[0]} ({100 * CONFIDENCE:.0f}% interval)"
    return ["over seeds", header, "runs"], rows


def _with_interval(found: SeedInterval) -> str:
    if found.low is None or found.high is None:
        return f"{number_shown(found.mean)} (no interval)"
    digits = digits_after_the_point(found.low, found.high)
    return f"{found.mean:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def _signed_with_interval(found: SeedDifference) -> str:
    if found.low is None or found.high is None:
        return f"{found.value:+.3g} (no interval)"
    digits = digits_after_the_point(found.low, found.high)
    return f"{found.value:+.{digits}f} ({found.low:+.{digits}f} to {found.high:+.{digits}f})"


def _setting(settings: Mapping[str, Value], key: str) -> str:
    return value_text(settings[key]) if key in settings else "-"


def _trials(numbers: Sequence[int]) -> str:
    return f"trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
