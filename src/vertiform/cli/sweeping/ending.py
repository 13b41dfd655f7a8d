"""What a sweep ends with: its pictures and its report under its run, and the recipe to keep."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vertiform.cli.sweeping.jobs import AS_IT_IS, BEST, CONFIGURATION, SEED, Confirmation
from vertiform.cli.sweeping.setup import Setup
from vertiform.sweeps.dimensions import Value

if TYPE_CHECKING:
    from vertiform.sweeps.outcome import Confirmation as Confirmed
    from vertiform.sweeps.study import Study
    from vertiform.tracking.runs import Run

PICTURES = "pictures"  # in the sweep's folder, and among the artifacts of its run


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What a person reads at the end.

    found: the sentence that says what was found.
    best:  the settings to keep: of the best trial, if it is one, is not the configuration as it is,
           and was not shown to be worse.
    """

    lines: list[str]
    found: str
    best: Mapping[str, Value] | None


def end(run: "Run", setup: Setup, study: "Study", confirmed: "Confirmed | None") -> Ending:
    """Keep what came out under the sweep's run: pictures, a note, and the numbers of its best."""
    from vertiform.evaluation import names
    from vertiform.sweeps.finding import finding, is_shown_worse
    from vertiform.sweeps.pictures import write_pictures
    from vertiform.sweeps.report import closing_lines, markdown_of

    outcome = study.outcome(setup.objectives.names, confirmation=confirmed)
    pictures = write_pictures(
        study.optuna,
        setup.folder / PICTURES,
        objectives=setup.objectives.names,
        title=f"Sweep {setup.name}",
    )
    for path in pictures.paths:
        run.log_file(path, folder=PICTURES)
    run.note(markdown_of(outcome))
    run.log_table("trials", study.rows(setup.objectives.names))
    best = outcome.best[0] if len(outcome.best) == 1 else None
    if best is not None:
        run.set_tags({"vertiform.best_trial": str(best.number)})
        points = zip(setup.objectives.names, best.values, strict=True)
        run.log_metrics({names.best(name): value for name, value in points})
    is_kept = best is not None and best.number != 0 and not is_shown_worse(outcome)
    return Ending(
        lines=[*closing_lines(outcome), "", f"Pictures: {pictures.page}"],
        found=finding(outcome),
        best=best.settings if best is not None and is_kept else None,
    )


def values_over_seeds(job: Confirmation, study: "Study") -> "Confirmed":
    """Gather what both configurations came to over the seeds."""
    from vertiform.sweeps.outcome import Confirmation as Confirmed

    ended = [(job.space.values(t.params), t.values[0]) for t in study.trials() if t.values]

    def of(configuration: str) -> tuple[float, ...]:
        return tuple(
            value
            for given, value in ended
            if given[CONFIGURATION] == configuration and given[SEED] in job.seeds
        )

    return Confirmed(seeds=tuple(job.seeds), best=of(BEST), base=of(AS_IT_IS))
