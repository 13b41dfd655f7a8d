"""vertiform evaluate: the best network and the baseline, on rows that neither was chosen by."""

import argparse
import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli import layout, session
from vertiform.cli.compose import compose, instantiate
from vertiform.errors import EXIT_DONE
from vertiform.files import folder_written_whole

if TYPE_CHECKING:
    from vertiform.evaluation.report import EvaluationReport

PREDICTIONS = "predictions.jsonl"


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    parser.add_argument(
        "overrides",
        nargs="+",
        metavar="KEY=VALUE",
        help="domain=... task.name=..., and any key of conf/evaluate.yaml",
    )


def run(options: argparse.Namespace) -> int:
    """Score the task's released model again, and show the scores."""
    config = compose("evaluate", options.overrides)
    domain, task = config["domain"], config["task"]["name"]
    places = {
        name: layout.existing(
            layout.option("evaluate", name, domain=domain, task=task), made_by=f"finetune@{task}"
        )
        for name in ("tasks", "model", "finetuned")
    }
    run_evaluate(config, **places, out=layout.option("evaluate", "out", domain=domain, task=task))
    return EXIT_DONE


def run_evaluate(
    config: dict[str, Any], *, tasks: Path, model: Path, finetuned: Path, out: Path
) -> None:
    """Score on the test split; write the report and its plots to `out`, and add both to the run."""
    from vertiform.evaluation.bootstrap import Resampling
    from vertiform.evaluation.curves import plot_records
    from vertiform.evaluation.plots import pictures
    from vertiform.evaluation.report import evaluate
    from vertiform.evaluation.report_tables import score_table, slice_table
    from vertiform.evaluation.slices import Slicing
    from vertiform.files import read_json
    from vertiform.inference.predictor import Predictor
    from vertiform.tasks.baselines import fit_baseline
    from vertiform.tasks.rows import read_task
    from vertiform.tracking.receipts import read_receipt

    store = session.store_of(config)
    receipt = read_receipt(finetuned, store=store)
    folder = tasks / receipt.facts["task"]
    data = read_task(folder)
    rows = data.splits["test"]
    predictions = Predictor.load(model).score_rows(rows)
    # Fitted again rather than kept: the same rows and seed give the same baseline, in seconds.
    baseline = fit_baseline(
        data, instantiate(receipt.facts["baseline"]), seed=receipt.facts["seed"]
    ).predict(rows)
    report = evaluate(
        read_json(folder / "task.json"),
        rows=rows,
        predictions=predictions,
        baseline=baseline,
        resampling=Resampling(**config["bootstrap"]),
        slicing=Slicing(**config["slices"]),
        num_mistakes=config["mistakes"],
    )
    records = plot_records(data.kind, rows, predictions, labels=data.labels)
    with folder_written_whole(out) as aside:
        _write_json(aside / layout.EVALUATION, report.to_json())
        for name, table in records.items():
            (aside / f"{name}.csv").write_text(_as_csv(table), encoding="utf-8", newline="")
        for name, picture in pictures(
            records, labels=data.labels, title=f"{data.name}, test split"
        ).items():
            (aside / f"{name}.png").write_bytes(picture)
    _add_to_runs(store, report, receipt, out, said=_as_lines(rows, predictions))
    print(f"evaluate@{data.name}: from {receipt.facts['best_start']}, {len(rows):,} test rows\n")
    print(f"{score_table(report)}\n\n{slice_table(report)}")


def _add_to_runs(
    store: Any, report: "EvaluationReport", receipt: Any, out: Path, *, said: str
) -> None:
    """Test scores stand beside the validation scores of the run that trained, in MLflow too."""
    from vertiform.evaluation.report_tables import worst_slices
    from vertiform.tracking.runs import reopened_run

    with reopened_run(store, receipt.run_id) as run:
        for name, score in report.scores.items():
            run.log_metrics({name: score.value})
        run.log_metrics(worst_slices(report))
        run.log_file(out, folder="evaluation")
        run.log_text(said, f"evaluation/{PREDICTIONS}")
        run.log_table("evaluation/mistakes", list(report.mistakes))
    with reopened_run(store, receipt.facts["starts"]["baseline"]["run_id"]) as run:
        run.log_metrics({name: score.value for name, score in report.baseline.items()})


def _write_json(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _as_lines(rows: Any, predictions: Any) -> str:
    """What was said to each row, by its id, as JSON Lines."""
    said = zip(rows, predictions, strict=True)
    return "".join(
        json.dumps({"id": row["id"], **prediction}, ensure_ascii=False) + "\n"
        for row, prediction in said
    )


def _as_csv(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(
        text, fieldnames=list(records[0]) if records else [], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
