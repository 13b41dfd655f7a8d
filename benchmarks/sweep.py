"""What a sweep costs and spares: `python -m benchmarks.sweep [--smoke] [--only PART ...]`.

Parts: overhead (a trial beyond its own training), storage (a study's file), workers (the second
one), pruning (the steps it spares, and the best score). They read the demo's task and encoder, in
the folder --demo. What pruning spares does not depend on the load: --seeds gives it more sweeps,
which --keep lets go on where they were stopped. Rows go to reports/benchmarks.json part by part.
"""

import argparse
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report, sweep_storage
from benchmarks.measure import ROOT, in_turn, limit_row, row
from benchmarks.sweep_pruning import standard_error
from vertiform.doors import prepare_environment

OVERHEAD, OVERHEAD_ROUNDS = {"trials": 12}, 3
WORKERS, WORKERS_ROUNDS = {"trials": 48, "epochs": 8}, 1
PRUNING = {
    "trials": 32,
    "words": ["search=finetune"],
    "pruners": ["none", "third", "median", "hyperband"],
    "at_once": 2,
}
SMOKE = {"trials": 3, "epochs": 1}
SMOKE_PRUNING = PRUNING | {
    "trials": 4,
    "words": ["starts.domain.lr=tag(log, interval(0.0002, 0.01))", "budget.epochs=3"],
}
UNPRUNED, DEFAULT = "none", "third"  # the second is conf/sweep.yaml's
Row = dict[str, Any]


def overhead_rows(options: argparse.Namespace) -> list[Row]:
    """A worker's loop beside the same trainings called directly."""
    spec, rounds = (SMOKE, 1) if options.smoke else (OVERHEAD, OVERHEAD_ROUNDS)
    spec = spec | {"demo": str(options.demo)}
    runs = in_turn("sweep_overhead", ("all",), spec, rounds=rounds)["all"]
    assert not any(run["failed"] for run in runs)
    cpu = [_beyond(run, "cpu") for run in runs]
    trained = statistics.median(ms for run in runs for ms in run["direct_wall_ms"])
    return [
        limit_row(
            "a trial beyond its own training, journal file",
            [_beyond(run, "wall") for run in runs],
            limit=100,
            measure="milliseconds",
            checked=f"the training itself {trained:,.0f} ms; of CPU time in this process "
            f"{statistics.median(cpu):.0f} ms ({min(cpu):.0f} to {max(cpu):.0f})",
        )
    ]


def _beyond(run: Row, kind: str) -> float:
    """The median of what each trial took more than the training before it, in milliseconds.

    At least 0.1: where other work takes the cores, it may come out as less than nothing.
    """
    pairs = zip(run[f"trial_{kind}_ms"], run[f"direct_{kind}_ms"], strict=True)
    return max(0.1, statistics.median(trial - direct for trial, direct in pairs))


def workers_rows(options: argparse.Namespace) -> list[Row]:
    """The same trials by two workers and by one."""
    spec, rounds = (SMOKE, 1) if options.smoke else (WORKERS, WORKERS_ROUNDS)
    spec = spec | {"demo": str(options.demo)}
    runs = in_turn("sweep_workers", ("2", "1"), spec, rounds=rounds)
    assert all(run["ended_well"] == spec["trials"] for side in runs.values() for run in side)
    measures = ("command_seconds", "trials_seconds", "cpu_seconds")
    parts = {key: _median(runs["2"], key) / _median(runs["1"], key) for key in measures}
    made = row(
        "a sweep of one-thread trials, two workers on two cores",
        round(1 / 0.6, 2),
        runs["2"],
        runs["1"],
        peer_is="one worker",
        key="command_seconds",
        less_is_better=True,
    )
    said = (
        f"{spec['trials']} trials; {parts['command_seconds']:.2f} of one worker's time, of the "
        f"trials alone {parts['trials_seconds']:.2f}; of its CPU time {parts['cpu_seconds']:.2f}"
    )
    return [made | {"checked": said}]


def _median(runs: Sequence[Row], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def pruning_rows(options: argparse.Namespace) -> list[Row]:
    """Each pruner beside the unpruned sweep of the same seeds."""
    asked = {"demo": str(options.demo), "seeds": options.seeds, "kept": options.keep}
    spec = (SMOKE_PRUNING if options.smoke else PRUNING) | asked
    (found,) = in_turn("sweep_pruning", ("all",), spec, rounds=1)["all"]
    sweeps = found["sweeps"]
    pruners = [name for name in sweeps if name != UNPRUNED]
    return [
        _pruned_row(name, sweeps[name], sweeps[UNPRUNED], rows=found["validation_rows"])
        for name in pruners
    ]


def _pruned_row(name: str, ours: Sequence[Row], peer: Sequence[Row], *, rows: int) -> Row:
    errors = [standard_error(each["best_accuracy"], rows=rows) for each in peer]
    pairs = list(zip(ours, peer, errors, strict=True))
    reached = [our["best"] >= other["best"] - error for our, other, error in pairs]
    bests = ", ".join(f"{our['best']:.3f} to {other['best']:.3f}" for our, other, _ in pairs)
    target = 1 / 0.4 if name == DEFAULT else None
    made = row(
        f"training steps of a sweep of {ours[0]['trials']} fine-tunings, pruner={name}",
        target,
        ours,
        peer,
        peer_is="the same sweep with pruner=none",
        key="training_steps",
        less_is_better=True,
    )
    said = (
        f"{1 / made['ratio']:.2f} of the steps; best val/f1_macro {bests}: within one standard "
        f"error ({max(errors):.3f}) with {sum(reached)} of {len(reached)} seeds"
    )
    caution = {} if target is None or all(reached) else {"caution": "missed: a worse best score"}
    return made | {"checked": said} | caution


def storage_rows(options: argparse.Namespace) -> list[Row]:
    """A study's file beside Optuna's, and an ask in a large study."""
    return sweep_storage.rows(is_smoke=options.smoke)


PARTS: Mapping[str, Callable[..., list[Row]]] = {
    "overhead": overhead_rows,
    "storage": storage_rows,
    "workers": workers_rows,
    "pruning": pruning_rows,
}


def main() -> None:
    """Measure part by part, and write each part's rows with the load that stood beside it."""
    options = _parser().parse_args()
    prepare_environment()
    for name in options.only:
        before = os.getloadavg()[0]
        rows = PARTS[name](options)
        loads = f"load before {before:.1f}, after {os.getloadavg()[0]:.1f}"
        for each in rows:
            if "load before" not in each.get("checked", ""):
                each["checked"] = "; ".join(filter(None, (each.get("checked"), loads)))
        report.add(rows, smoke=options.smoke)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--smoke", action="store_true", help="small sizes: does it run?")
    add("--only", choices=PARTS, nargs="+", default=list(PARTS), help="some parts")
    add("--demo", type=_folder, default=ROOT, help="where the demo's data/ and models/ are")
    add("--seeds", type=int, nargs="+", default=[1], help="of the sampler, a sweep each (pruning)")
    add("--keep", metavar="FOLDER", help="where the sweeps are kept, and go on (pruning)")
    return parser


def _folder(name: str) -> Path:
    return Path(name).resolve()


if __name__ == "__main__":
    main()
