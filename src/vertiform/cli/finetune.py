"""vertiform finetune: one task from several starts, and the best network of them."""

import argparse
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli import identity, layout, session
from vertiform.cli.compose import compose, instantiate
from vertiform.errors import EXIT_DONE
from vertiform.files import read_json, write_json

if TYPE_CHECKING:
    from vertiform.tracking.lineage import Lineage
    from vertiform.tracking.receipts import Receipt
    from vertiform.tracking.starts import FetchedStart
    from vertiform.tracking.store import Store

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
    domain, task = config["domain"], config["task"]["name"]

    def place(name: str, stage: str) -> Path:
        path = layout.option("finetune", name, domain=domain, task=task)
        return layout.existing(path, made_by=stage)

    receipt = run_finetune(
        config,
        tasks=place("tasks", f"label@{domain}"),
        pretrained=place("pretrained", "pretrain"),
        out=options.out,
    )
    print(f"\nThe best network is in {receipt.facts['model']}. Compare the starts: make ui")
    return EXIT_DONE


@dataclass(frozen=True)
class StartOutcome:
    """What one start came to: its own run in MLflow, and its scores on validation."""

    name: str
    run_id: str
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
    from vertiform.tracking.runs import start_run

    task = instantiate(config["task"])
    data = open_task(task, tasks)
    store = session.store_of(config)
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
    ) as parent:
        outcomes = list(
            _each_start(
                config,
                data=data,
                pretrained=pretrained,
                fetched=fetched,
                aside=aside,
                store=store,
                lineage=lineage,
                parent_id=parent.id,
            )
        )
        monitor = config["monitor"]
        best = _best(outcomes, monitor=monitor)
        parent.log_table("starts", [_row(outcome) for outcome in outcomes])
        parent.log_metrics({names.best(name): value for name, value in best.metrics.items()})
        parent.set_tags({"vertiform.best_start": best.name})
    assert best.bundle is not None
    out = out or identity.OUTSIDE_RELEASE / "finetune" / fingerprint
    identity.put(best.bundle, at=out)
    shutil.rmtree(aside, ignore_errors=True)
    return Receipt(
        stage=f"finetune@{data.name}",
        run_id=best.run_id,
        run_name=f"{data.name} from {best.name}",
        scores=best.metrics,
        data=session.digests_of(lineage),
        config_sha256=fingerprint,
        facts={
            "model": out.as_posix(),
            "task": data.name,
            "kind": data.kind,
            "monitor": monitor,
            "best_start": best.name,
            "parent_run_id": parent.id,
            "seed": config["seed"],
            "baseline": config["task"]["baseline"],
            "starts": {outcome.name: _row(outcome) for outcome in outcomes},
        },
    )


def _each_start(
    config: dict[str, Any],
    *,
    data: Any,
    pretrained: Path,
    fetched: Mapping[str, "FetchedStart"],
    aside: Path,
    store: "Store",
    lineage: "Lineage",
    parent_id: str,
) -> Iterator[StartOutcome]:
    from vertiform.evaluation import names
    from vertiform.tracking.runs import start_run
    from vertiform.training.checkpoints import fingerprint_of

    for name in (BASELINE, *config["starts"]):
        own = {key: value for key, value in config.items() if key != "starts"}
        if name != BASELINE:
            own["start"] = config["starts"][name]
        with start_run(
            store,
            f"{data.name} from {name}",
            experiment=session.experiment_of(config, data.name),
            kind=BASELINE if name == BASELINE else "start",
            config=own,
            lineage=lineage,
            parent_id=parent_id,
            tags={"vertiform.start": name, **_source(fetched.get(name))},
        ) as run:
            outcome = (
                _baseline(config, data=data, run_id=run.id)
                if name == BASELINE
                else _network(
                    config,
                    name,
                    data=data,
                    pretrained=pretrained,
                    fetched=fetched.get(name),
                    aside=aside,
                    fingerprint=fingerprint_of(own, data_sha256=aside.name),
                    run=run,
                )
            )
            run.log_metrics({names.best(key): value for key, value in outcome.metrics.items()})
        monitor = config["monitor"]
        shown = f"{monitor} {outcome.metrics[monitor]:.3f} ({outcome.seconds:.0f} s)"
        print(f"finetune@{data.name} from {name}: {shown}", flush=True)
        yield outcome


def _baseline(config: dict[str, Any], *, data: Any, run_id: str) -> StartOutcome:
    import time

    from vertiform.tasks.baselines import fit_baseline
    from vertiform.tasks.task import scores_of, task_of

    started = time.monotonic()
    rows = data.splits["validation"]
    baseline = fit_baseline(data, instantiate(config["task"]["baseline"]), seed=config["seed"])
    metrics = scores_of(
        task_of(data.kind, data.labels), rows, baseline.predict(rows), split="validation"
    )
    return StartOutcome(BASELINE, run_id, metrics, time.monotonic() - started, bundle=None)


def _network(
    config: dict[str, Any],
    name: str,
    *,
    data: Any,
    pretrained: Path,
    fetched: "FetchedStart | None",
    aside: Path,
    fingerprint: str,
    run: Any,
) -> StartOutcome:
    """Train one start; one that ended before a kill is read back instead."""
    from vertiform.training.finetune import Recipe, finetune

    bundle = aside / "starts" / name
    finished = bundle.with_suffix(".json")
    if not finished.exists():
        result = finetune(
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
            out=bundle,
            checkpoints=aside,
            fingerprint=fingerprint,
            trainer=instantiate(config["trainer"]),
            sink=run.sink,
        )
        write_json(finished, {"metrics": result.metrics, "seconds": round(result.seconds, 1)})
    kept = read_json(finished)
    return StartOutcome(name, run.id, kept["metrics"], kept["seconds"], bundle=bundle)


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


def _row(outcome: StartOutcome) -> dict[str, Any]:
    return {
        "start": outcome.name,
        "run_id": outcome.run_id,
        **{name: round(value, 6) for name, value in outcome.metrics.items()},
        "seconds": round(outcome.seconds, 1),
    }
