"""Measures a version that asks for an alias: all that the gates of that alias look at."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.cli import layout
from vertiform.files import read_json

if TYPE_CHECKING:
    from vertiform.evaluation.evidence import Evidence
    from vertiform.evaluation.gates import Gates
    from vertiform.evaluation.report import EvaluationReport
    from vertiform.tracking.receipts import Receipt
    from vertiform.tracking.registry import Version
    from vertiform.tracking.store import Store


def gather(
    gates: "Gates",
    store: "Store",
    version: "Version",
    *,
    tasks: Path,
    tokens: Path,
    evaluated: Path,
    receipt: "Receipt",
) -> "Evidence":
    """Measure `version` for the alias of `gates`.

    tasks, tokens, evaluated: the folders of the domain that it was trained and scored on.
    receipt: of its registration.
    """
    from vertiform.evaluation.evidence import Evidence
    from vertiform.evaluation.report import EvaluationReport

    report = EvaluationReport.from_json(read_json(evaluated / layout.EVALUATION))
    contamination = read_json(tokens / "manifest.json")["contamination"]
    return Evidence(
        report=report,
        holder=_holder(store, version, alias=gates.alias, report=report, task=tasks / report.task),
        num_contaminated_documents=contamination["overlap_after"],
        example_difference=_example_difference(store, version),
        size_megabytes=receipt.facts["size_bytes"] / 1e6,
    )


def _holder(
    store: "Store", version: "Version", *, alias: str, report: "EvaluationReport", task: Path
) -> Any:
    """Score what stands at the alias now on the same test rows, by the same predictor."""
    from vertiform.evaluation.evidence import NOBODY, Holder
    from vertiform.evaluation.report import compare
    from vertiform.inference.predictor import Predictor
    from vertiform.tasks.rows import read_task
    from vertiform.tracking.model_files import BUNDLE
    from vertiform.tracking.registry import aliases_of, find_version, verified_files

    standing = aliases_of(store, version.name).get(alias)
    if standing is None:
        return NOBODY
    holder = find_version(store, version.name, standing)
    data = read_task(task)
    rows = data.splits["test"]
    predicted = []
    for each in (version, holder):
        with verified_files(store, each) as folder:
            predicted.append(Predictor.load(folder / BUNDLE).score_rows(rows))
    differences = compare(
        read_json(task / "task.json"),
        rows=rows,
        predictions=predicted[0],
        others=predicted[1],
        resampling=report.resampling,
    )
    return Holder(str(standing), data_sha256=data.sha256["test"], differences=differences)


def _example_difference(store: "Store", version: "Version") -> float:
    """Load the version from where it is registered and ask what it was asked when logged."""
    from vertiform.tracking.packaging import example_difference
    from vertiform.tracking.registry import verified_files

    with verified_files(store, version) as folder:
        return example_difference(folder)
