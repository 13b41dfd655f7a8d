"""vertiform finetune: one task from several starts, and the best network of them."""

import argparse
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli import identity, layout, session
from vertiform.cli.compose import compose, instantiate
from vertiform.errors import EXIT_DONE
from vertiform.files import read_json, write_json

if TYPE_CHECKING:
    from vertiform.tasks.rows import TaskData
    from vertiform.tracking.lineage import Lineage
    from vertiform.tracking.receipts import Receipt
    from vertiform.tracking.runs import Run
    from vertiform.tracking.starts import FetchedStart
    from vertiform.tracking.store import Store
    from vertiform.training.finetune import FinetuneResult

BASELINE = "baseline"


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    parser.add_argument(
        "overrides",
        nargs="+",
        metavar="KEY=VALUE",
        help="domain=... task.name=..., and any key or group of conf/finetune.yaml",
    )
    parser.add_argument("--out", type=Path, help="folder for the best (runs/finetune/<identity>)")


def run(options: argparse.Namespace) -> int:
    """Compose, fine-tune every start, and say which was best and where it is."""
    config = compose("finetune", options.overrides)
    tasks, pretrained = places_of(config)
    receipt = run_finetune(config, tasks=tasks, pretrained=pretrained, out=options.out)
    print(f"\nThe best network is in {receipt.facts['model']}. Compare the starts: make ui")
    return EXIT_DONE


def places_of(config: Mapping[str, Any]) -> tuple[Path, Path]:
    """Return the folders of the domain's tasks and of its pretrained encoder; both are there."""
    domain, task = config["domain"], config["task"]["name"]

    def place(name: str, stage: str) -> Path:
        path = layout.option("finetune", name, domain=domain, task=task)
        return layout.existing(path, made_by=stage)

    return place("tasks", f"label@{domain}"), place("pretrained", "pretrain")


@dataclass(frozen=True)
class StartOutcome:
    """What one start came to: its own run in MLflow, and its scores on validation."""

    name: str
    journal: str  # of its run
    metrics: Mapping[str, float]
    seconds: float
    bundle: Path | None  # None: the baseline, which is not a network


def run_finetune(
    config: dict[str, Any], *, tasks: Path, pretrained: Path, out: Path | None
) -> "Receipt":
    """Fine-tune from every start, each a run under one parent; the best network goes to `out`."""
    from vertiform.evaluation import names
    from vertiform.tasks.task import open_task
    from vertiform.tracking.receipts import Receipt
    from vertiform.tracking.run_notes import finetune_note
    from vertiform.tracking.runs import run_id_of, start_run

    task = instantiate(config["task"])
    data = open_task(task, tasks)
    store = session.training_store_of(config)
    fetched = _fetched(config["starts"], store)
    read = [sorted(data.sha256.items()), identity.weights_sha256(pretrained)]
    read += [start.sha256 for start in fetched.values()]
    fingerprint = identity.identity_of(config, data_sha256=" ".join(map(str, read)))
    aside = identity.UNFINISHED / fingerprint
    lineage = session.lineage_of(config, data=[tasks, pretrained])
    with start_run(
        store,
        f"{data.name}: {len(config['starts'])} starts and a baseline",
        experiment=session.experiment_of(config, data.name),
        kind="finetune",
        config={key: value for key, value in config.items() if key != "starts"},
        lineage=lineage,
        identity=fingerprint,
    ) as parent:
        sources = _Sources(config, data, pretrained, fetched, aside, store, lineage)
        outcomes = list(_each_start(sources, parent=parent))
        monitor = config["monitor"]
        best = _best(outcomes, monitor=monitor)
        run_ids = {outcome.name: run_id_of(store, outcome.journal) for outcome in outcomes}
        rows = {o.name: _row(o, run_id=run_ids[o.name]) for o in outcomes}
        parent.log_table("starts", list(rows.values()))
        parent.log_metrics({names.best(name): value for name, value in best.metrics.items()})
        parent.set_tags({"vertiform.best_start": best.name})
        digests = session.digests_of(lineage)
        told = finetune_note(
            parent.name, config, best=best.name, starts=list(rows.values()), data=digests
        )
        parent.note(told)
        parent_id = parent.id
    assert best.bundle is not None
    out = out or identity.OUTSIDE_RELEASE / "finetune" / fingerprint
    identity.put(best.bundle, at=out)
    shutil.rmtree(aside, ignore_errors=True)
    return Receipt(
        stage=f"finetune@{data.name}",
        run_id=run_ids[best.name],
        run_name=f"{data.name} from {best.name}",
        scores=best.metrics,
        data=digests,
        config_sha256=fingerprint,
        facts={
            "model": out.as_posix(),
            "task": data.name,
            "kind": data.kind,
            "monitor": monitor,
            "best_start": best.name,
            "parent_run_id": parent_id,
            "seed": config["seed"],
            "baseline": config["task"]["baseline"],
            "starts": rows,
        },
    )


@dataclass(frozen=True)
class _Sources:
    """What every start of one fine-tuning reads, and where what it leaves lies until the end."""

    config: dict[str, Any]
    data: Any
    pretrained: Path
    fetched: Mapping[str, "FetchedStart"]
    aside: Path
    store: "Store"
    lineage: "Lineage"


def _each_start(sources: _Sources, *, parent: "Run") -> Iterator[StartOutcome]:
    """Train every start after the baseline; one that ended before a kill is read back instead."""
    from vertiform.tracking.runs import has_finished

    monitor = sources.config["monitor"]
    for name in (BASELINE, *sources.config["starts"]):
        kept = _kept(sources, name)
        outcome = (
            kept
            if kept is not None and has_finished(sources.store, kept.journal)
            else _tracked(sources, name, kept=kept, parent=parent)
        )
        shown = f"{monitor} {outcome.metrics[monitor]:.3f} ({outcome.seconds:.0f} s)"
        print(f"finetune@{sources.data.name} from {name}: {shown}", flush=True)
        yield outcome


def _tracked(
    sources: _Sources, name: str, *, kept: StartOutcome | None, parent: "Run"
) -> StartOutcome:
    """Train one start under a run of its own; `kept` has trained, but its run did not end."""
    from vertiform.evaluation import names
    from vertiform.tracking.run_notes import start_note
    from vertiform.tracking.runs import start_run
    from vertiform.training.checkpoints import fingerprint_of

    config, data = sources.config, sources.data
    own = {key: value for key, value in config.items() if key != "starts"}
    if name != BASELINE:
        own["start"] = config["starts"][name]
    fingerprint = fingerprint_of(own, data_sha256=sources.aside.name)
    with start_run(
        sources.store,
        f"{data.name} from {name}",
        experiment=session.experiment_of(config, data.name),
        kind=BASELINE if name == BASELINE else "start",
        config=own,
        lineage=sources.lineage,
        identity=fingerprint,
        parent=parent,
        tags={"vertiform.start": name, **_source(sources.fetched.get(name))},
    ) as run:
        started = time.monotonic()
        if kept is not None:
            metrics, seconds = kept.metrics, kept.seconds
        else:
            train = _baseline if name == BASELINE else _network
            metrics = train(sources, name, fingerprint=fingerprint, run=run)
            seconds = round(time.monotonic() - started, 1)
        run.log_metrics({names.best(key): value for key, value in metrics.items()})
        read = session.digests_of(sources.lineage)
        run.note(
            start_note(run.name, config, start=name, metrics=metrics, seconds=seconds, data=read)
        )
        values = {"journal": run.journal_name, "metrics": metrics, "seconds": seconds}
        write_json(_finished(sources, name), values)
    return StartOutcome(name, run.journal_name, metrics, seconds, _bundle(sources, name))


def _baseline(sources: _Sources, name: str, *, fingerprint: str, run: "Run") -> Mapping[str, float]:
    from vertiform.tasks.baselines import fit_baseline
    from vertiform.tasks.task import scores_of, task_of

    config, data = sources.config, sources.data
    rows = data.splits["validation"]
    baseline = fit_baseline(data, instantiate(config["task"]["baseline"]), seed=config["seed"])
    return scores_of(
        task_of(data.kind, data.labels), rows, baseline.predict(rows), split="validation"
    )


def _network(sources: _Sources, name: str, *, fingerprint: str, run: "Run") -> Mapping[str, float]:
    result = train_start(
        sources.config,
        sources.data,
        name,
        fetched=sources.fetched.get(name),
        pretrained=sources.pretrained,
        out=sources.aside / "starts" / name,
        checkpoints=sources.aside,
        fingerprint=fingerprint,
        trainer=instantiate(sources.config["trainer"]),
        sink=run,
    )
    run.set_tags({"energy.method": result.fit.energy_method})
    return result.metrics


def train_start(
    config: Mapping[str, Any],
    data: "TaskData",
    name: str,
    *,
    fetched: "FetchedStart | None",
    pretrained: Path,
    **place: Any,
) -> "FinetuneResult":
    """Fine-tune from the start `name` of a composed conf/finetune.yaml, and from no other.

    fetched: that start, if it is in MLflow. place: what training.finetune takes besides its recipe.
    """
    from vertiform.training.finetune import Recipe, finetune

    return finetune(
        data,
        name=name,
        start=instantiate(config["starts"][name] | _weights(fetched)),
        recipe=Recipe(
            max_tokens=config["task"]["max_tokens"],
            batches=instantiate(config["batches"]),
            optimizer=instantiate(config["optimizer"]),
            schedule=instantiate(config["schedule"]),
            validate_every_epochs=config["budget"]["validate_every_epochs"],
            monitor=config["monitor"],
            seed=config["seed"],
        ),
        pretrained=pretrained,
        **place,
    )


def _finished(sources: _Sources, name: str) -> Path:
    """The file that says that a start has trained."""
    return sources.aside / "starts" / f"{name}.json"


def _kept(sources: _Sources, name: str) -> StartOutcome | None:
    """What a start came to before a kill of another one."""
    file = _finished(sources, name)
    if not file.exists():
        return None
    kept = read_json(file)
    bundle = _bundle(sources, name)
    return StartOutcome(name, kept["journal"], kept["metrics"], kept["seconds"], bundle)


def _bundle(sources: _Sources, name: str) -> Path | None:
    return None if name == BASELINE else sources.aside / "starts" / name


def _fetched(starts: Mapping[str, Mapping[str, Any]], store: "Store") -> dict[str, "FetchedStart"]:
    """Bring the starts that are in MLflow here, before anything trains."""
    found = {
        name: session.fetched_start(store, start["weights"], into=identity.FETCHED)
        for name, start in starts.items()
    }
    return {name: start for name, start in found.items() if start is not None}


def _weights(fetched: "FetchedStart | None") -> dict[str, str]:
    return {} if fetched is None else {"weights": fetched.folder.as_posix()}


def _source(fetched: "FetchedStart | None") -> dict[str, str]:
    """What the run says of a start whose name may mean something else tomorrow."""
    if fetched is None:
        return {}
    return {"vertiform.start_source": fetched.source, "vertiform.start_sha256": fetched.sha256}


def _best(outcomes: list[StartOutcome], *, monitor: str) -> StartOutcome:
    """The network with the best `monitor` on validation; the baseline is what it must beat."""
    from vertiform.evaluation import names

    sign = -1.0 if names.is_lower_better(monitor) else 1.0
    networks = [outcome for outcome in outcomes if outcome.bundle is not None]
    return max(networks, key=lambda outcome: sign * outcome.metrics[monitor])


def _row(outcome: StartOutcome, *, run_id: str) -> dict[str, Any]:
    return {
        "start": outcome.name,
        "run_id": run_id,
        **{name: round(value, 6) for name, value in outcome.metrics.items()},
        "seconds": round(outcome.seconds, 1),
    }
