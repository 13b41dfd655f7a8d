"""Measures a version that asks for an alias: what the gates of that alias name, and no more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vertiform.cli import layout
from vertiform.files import read_json

if TYPE_CHECKING:
    from vertiform.evaluation.evidence import (
        Evidence,
        Holder,
        Latency,
        Lineage,
        Robustness,
        Signatures,
    )
    from vertiform.evaluation.gates import Gates
    from vertiform.evaluation.report import EvaluationReport
    from vertiform.inference.predictor import Predictor
    from vertiform.tasks.rows import TaskData
    from vertiform.tracking.receipts import Receipt
    from vertiform.tracking.registry import Version
    from vertiform.tracking.store import Store


class CannotMeasure(Exception):  # noqa: N818 - a reason, not an error: its gate refuses with it
    """Why a gate's evidence could not be had."""


@dataclass(frozen=True)
class Asking:
    """The version that asks, with what it is measured by; loaded once, when first needed."""

    gates: "Gates"
    store: "Store"
    version: "Version"
    folder: Path  # of its verified files
    report: "EvaluationReport"
    task: Path  # folder of the task's rows
    tokens: Path  # folder of the pretraining text, with its manifest
    receipt: "Receipt"  # of its registration

    @cached_property
    def data(self) -> "TaskData":
        """The task's labelled rows."""
        from vertiform.tasks.rows import read_task

        return read_task(self.task)

    @cached_property
    def predictor(self) -> "Predictor":
        """The model, on the CPU."""
        return _predictor(self.folder)

    @cached_property
    def holder(self) -> "Version | None":
        """What stands at the alias now."""
        from vertiform.tracking.registry import aliases_of, find_version

        standing = aliases_of(self.store, self.version.name).get(self.gates.alias)
        return None if standing is None else find_version(self.store, self.version.name, standing)


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
    """Measure `version` for the gates of an alias; a gate that is not named costs nothing.

    tasks, tokens, evaluated: the folders of the domain that it was trained and scored on.
    receipt: of its registration.
    """
    from vertiform.evaluation.evidence import Evidence
    from vertiform.evaluation.report import EvaluationReport
    from vertiform.tracking.registry import verified_files

    report = EvaluationReport.from_json(read_json(evaluated / layout.EVALUATION))
    found: dict[str, Any] = {}
    unmeasured: dict[str, str] = {}
    with verified_files(store, version) as folder:
        task = tasks / report.task
        asking = Asking(gates, store, version, folder, report, task, tokens, receipt)
        for gate, options in gates.options.items():
            if gate not in MEASURED_FOR:
                continue  # it looks at the report alone
            part, measure = MEASURED_FOR[gate]
            try:
                found[part] = measure(asking, options)
            except CannotMeasure as why:
                unmeasured[gate] = str(why)
    return Evidence(report=report, unmeasured=unmeasured, **found)


def _holder(asking: Asking, options: Mapping[str, Any]) -> 'Holder | Literal["nobody"]':
    """Score what stands at the alias now on the same test rows, by the same predictor."""
    from vertiform.evaluation.evidence import NOBODY, Holder
    from vertiform.evaluation.report import compare
    from vertiform.tracking.registry import verified_files

    holder = asking.holder
    if holder is None:
        return NOBODY
    rows = asking.data.splits["test"]
    with verified_files(asking.store, holder) as folder:
        predictor = _predictor(folder)
        known = predictor.facts
        if (known.kind, known.labels) != (asking.data.kind, asking.data.labels):
            raise CannotMeasure(
                f"version {holder.number} knows other labels, so no score of it compares; "
                "if that is meant, promote with ~gates.not_worse_than_holder"
            )
        others = _said(predictor, rows, what=f"scoring version {holder.number}")
    ours = _said(asking.predictor, rows, what=f"scoring version {asking.version.number}")
    differences = compare(
        read_json(asking.task / "task.json"),
        rows=rows,
        predictions=ours,
        others=others,
        resampling=replace(asking.report.resampling, confidence=options["confidence"]),
    )
    return Holder(
        str(holder.number), data_sha256=asking.data.sha256["test"], differences=differences
    )


def _latency(asking: Asking, options: Mapping[str, Any]) -> "Latency":
    """Send real test texts, one at a time, to the model on the device that the gate states."""
    from vertiform.evaluation.evidence import Latency
    from vertiform.evaluation.latency import p95_interval
    from vertiform.evaluation.robustness import chosen_rows
    from vertiform.inference.timing import request_milliseconds

    predictor, device_name = _on_device(asking, options["device"])
    rows = chosen_rows(
        asking.data.splits["test"],
        max_rows=options["num_requests"],
        seed=asking.report.resampling.seed,
    )
    milliseconds = request_milliseconds(
        predictor,
        [row["text"] if "text" in row else " ".join(row["tokens"]) for row in rows],
        num_requests=options["num_requests"],
        num_warm_up=options["num_warm_up"],
    )
    return Latency(
        p95_milliseconds=p95_interval(milliseconds, resampling=asking.report.resampling),
        num_requests=len(milliseconds),
        device=options["device"],
        device_name=device_name,
    )


def _robustness(asking: Asking, options: Mapping[str, Any]) -> "Robustness":
    """Ask for the same test rows again, written as people also write them."""
    from vertiform.evaluation import names
    from vertiform.evaluation.evidence import Drop, Robustness
    from vertiform.evaluation.robustness import PERTURBATIONS, Severity, chosen_rows, drop_of

    resampling = replace(asking.report.resampling, confidence=options["confidence"])
    severity = Severity(
        typo_word_fraction=options["typo_word_fraction"],
        kept_fraction=options["kept_fraction"],
        seed=resampling.seed,
    )
    data = asking.data
    rows = chosen_rows(data.splits["test"], max_rows=options["max_rows"], seed=resampling.seed)
    clean = _said(asking.predictor, rows, what="robustness: as written")
    drops: dict[str, Drop] = {}
    for name, perturb in PERTURBATIONS.items():
        perturbed = [perturb(row, severity) for row in rows]
        drops[name] = drop_of(
            data.kind,
            rows,
            clean,
            perturbed=perturbed,
            perturbed_predictions=_said(asking.predictor, perturbed, what=f"robustness: {name}"),
            labels=data.labels,
            score=names.MAIN_SCORE[data.kind],
            resampling=resampling,
        )
    return Robustness(score=asking.report.main_score, drops=drops)


def _signatures(asking: Asking, options: Mapping[str, Any]) -> "Signatures":
    from vertiform.evaluation.evidence import Signatures
    from vertiform.tracking.registry import verified_files
    from vertiform.tracking.signatures import signature_of

    ours = signature_of(asking.folder)
    if asking.holder is None:
        return Signatures(ours, holder=None, holder_version="")
    with verified_files(asking.store, asking.holder) as folder:
        return Signatures(ours, signature_of(folder), str(asking.holder.number))


def _lineage(asking: Asking, options: Mapping[str, Any]) -> "Lineage":
    from vertiform.tracking.rebuildable import lineage_of

    return lineage_of(asking.store, asking.version, registered=asking.receipt, root=Path.cwd())


def _example_difference(asking: Asking, options: Mapping[str, Any]) -> float:
    from vertiform.tracking.packaging import example_difference

    return example_difference(asking.folder)


def _num_contaminated(asking: Asking, options: Mapping[str, Any]) -> int:
    return read_json(asking.tokens / "manifest.json")["contamination"]["overlap_after"]


def _size_megabytes(asking: Asking, options: Mapping[str, Any]) -> float:
    return asking.receipt.facts["size_bytes"] / 1e6


# A gate: the part of the evidence that it looks at beside the report, and what measures it.
MEASURED_FOR: dict[str, tuple[str, Callable[[Asking, Mapping[str, Any]], Any]]] = {
    "not_worse_than_holder": ("holder", _holder),
    "latency": ("latency", _latency),
    "robustness": ("robustness", _robustness),
    "signature": ("signatures", _signatures),
    "lineage": ("lineage", _lineage),
    "predicts_its_example": ("example_difference", _example_difference),
    "contamination": ("num_contaminated_documents", _num_contaminated),
    "size": ("size_megabytes", _size_megabytes),
}


def _predictor(folder: Path) -> "Predictor":
    from vertiform.inference.predictor import Predictor
    from vertiform.tracking.model_files import BUNDLE

    return Predictor.load(folder / BUNDLE)


def _said(predictor: "Predictor", rows: Sequence[Any], *, what: str) -> list[Any]:
    """What the model says to each row, one at a time, so that the bar moves."""
    from vertiform.progress import progress

    bar = progress(rows, what=what, unit="texts", total=len(rows))
    return [predictor.score_rows([row])[0] for row in bar]


def _on_device(asking: Asking, device: str) -> tuple["Predictor", str]:
    """The model on a device, and what that is called."""
    import torch

    from vertiform.tracking.lineage import cpu_name

    if device == "cpu":
        return asking.predictor, f"{cpu_name()}, {torch.get_num_threads()} threads"
    if not torch.cuda.is_available():
        raise CannotMeasure(f"this machine has no {device}; promote on one that has")
    predictor = _predictor(asking.folder)  # the other stays where it is: it scores, too
    predictor.bundle.network.to(device)
    return predictor, torch.cuda.get_device_name()
