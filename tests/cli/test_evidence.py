"""Evidence of a real version of the tiny model, in a real store."""

import random
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.tracking.examples import LINEAGE, REBUILD, a_lock, a_run, promoted, tiny_bundle
from vertiform.cli.evidence import MEASURED_FOR, gather
from vertiform.corpus.examples import LabelledTask, write_task
from vertiform.evaluation.bootstrap import Resampling
from vertiform.evaluation.evidence import NOBODY, Evidence, Holder
from vertiform.evaluation.gate import GATES
from vertiform.evaluation.gates import decide, read_gates
from vertiform.evaluation.report import evaluate
from vertiform.evaluation.robustness import PERTURBATIONS
from vertiform.evaluation.slices import Slicing
from vertiform.files import read_json, write_json
from vertiform.inference.predictor import Predictor
from vertiform.tasks.rows import read_task
from vertiform.tracking.lineage import Code, DataVersion
from vertiform.tracking.packaging import log_model
from vertiform.tracking.rebuildable import RECEIPT
from vertiform.tracking.receipts import Receipt, write_receipt
from vertiform.tracking.registry import Version, register
from vertiform.tracking.store import Store, open_store

COMMITTED = replace(
    LINEAGE,
    code=Code(commit="c0ffee", branch="main", diff="", diff_sha256=""),
    data=(DataVersion("data/tasks", "ab" * 16, "md5", "label@tiny", 10),),
    lock_sha256="cd" * 32,
)
FINETUNED = Path("reports/finetune.json")
LATENCY = {"max_p95_milliseconds": 60_000, "device": "cpu", "num_requests": 8, "num_warm_up": 2}
ROBUSTNESS = {
    "max_rows": 10,
    "confidence": 0.9,
    "typo_word_fraction": 1.0,
    "kept_fraction": 0.5,
    **{f"max_drop_{name}": 1.0 for name in PERTURBATIONS},
}
EVERY_GATE: dict[str, dict[str, Any]] = {
    "floors": {"accuracy": 0.0},
    "worst_slice": {"min_rows": 5, "accuracy": 0.0},
    "better_than_baseline": {"accuracy": -1.0},
    "not_worse_than_holder": {"confidence": 0.8, "accuracy": 0.01},
    "calibration": {"calibration_error": 1.0},
    "robustness": ROBUSTNESS,
    "latency": LATENCY,
    "size": {"max_megabytes": 10},
    "contamination": {"max_documents": 0},
    "predicts_its_example": {"max_difference": 0.0},
    "signature": {"allows_break": False},
    "lineage": {"requires_clean_tree": True},
}


@dataclass(frozen=True)
class Release:
    """What the stages before promotion left, with one version that asks."""

    store: Store
    version: Version
    receipt: Receipt

    def gather(self, values: dict[str, Any], **changes: Any) -> Evidence:
        places = {"tasks": Path("tasks"), "tokens": Path("tokens"), "evaluated": Path("evaluated")}
        gates = read_gates(values, alias="staging")
        given = {"receipt": self.receipt, **places, **changes}
        return gather(gates, self.store, self.version, **given)


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Iterator[Release]:
    root = tmp_path_factory.mktemp("release")
    with chdir(root):
        bundle = tiny_bundle(root)
        write_task(root / "tasks" / "area", a_task())
        store = open_store(None, root=root)
        report = evaluated(bundle)
        version, receipt = a_version(store, bundle)
        write_json(root / "evaluated" / "evaluation.json", report)
        yield Release(store, version, receipt)


def a_task() -> LabelledTask:
    rng = random.Random(0)

    def rows(split: str, number: int) -> list[dict[str, Any]]:
        return [
            {
                "id": f"{split}-{n}",
                "text": " ".join(f"w{rng.randrange(55)}" for _ in range(4 + n % 8)),
                "label": ("cli", "web")[n % 2],
                "group": f"{split}-{n}",
                "slices": {"package": ("numpy", "scipy")[n % 3 == 0]},
            }
            for n in range(number)
        ]

    sizes = {"train": 8, "validation": 8, "test": 24}
    splits = {split: rows(split, number) for split, number in sizes.items()}
    return LabelledTask("area", "classification", "en", "at random", splits)


def evaluated(bundle: Path) -> dict[str, Any]:
    rows = read_task(Path("tasks/area")).splits["test"]
    predictions = Predictor.load(bundle).score_rows(rows)
    return evaluate(
        read_json(Path("tasks/area/task.json")),
        rows=rows,
        predictions=predictions,
        baseline=predictions,
        resampling=Resampling(seed=0, resamples=100, confidence=0.95),
        slicing=Slicing(min_rows=5, num_length_buckets=2),
        num_mistakes=1,
    ).to_json()


def a_version(store: Store, bundle: Path) -> tuple[Version, Receipt]:
    texts = ["w1 w2", "w3"]
    with a_run(store, lineage=COMMITTED) as run:
        logged = log_model(
            run,
            bundle,
            name="tiny-area",
            card="# A model\n",
            example_inputs=texts,
            example_predictions=Predictor.load(bundle).predict(texts),
            lock=a_lock(Path()),
            facts={"task": "area"},
            rebuild=REBUILD,
        )
    version = register(
        store, "tiny-area", logged, card="", rebuild=REBUILD, tags={RECEIPT: FINETUNED.as_posix()}
    )
    receipt = Receipt(
        stage="register@area",
        run_id=version.run_id,
        run_name="area",
        scores={},
        data={},
        config_sha256="",
        model="tiny-area",
        version=version.number,
        facts={"size_bytes": logged.size_bytes},
    )
    write_receipt(FINETUNED, replace(receipt, stage="finetune@area", model=None, version=None))
    return version, receipt


def test_every_gate_has_its_evidence_of_a_real_version(release):
    evidence = release.gather(EVERY_GATE)
    verdict = decide(read_gates(EVERY_GATE, alias="staging"), evidence)
    assert set(EVERY_GATE) == set(GATES)
    refused = {row.gate: row.reason for row in verdict.refusals}
    assert not refused, refused
    assert evidence.holder == NOBODY
    assert evidence.latency is not None
    assert evidence.latency.num_requests == 8
    assert evidence.latency.device_name.endswith("threads")
    assert evidence.lineage is not None
    assert evidence.lineage.gaps == ()


def test_what_no_gate_names_is_not_measured(release, monkeypatch):
    for gate, (part, _) in MEASURED_FOR.items():
        monkeypatch.setitem(MEASURED_FOR, gate, (part, None))  # calling it would fail
    assert release.gather({"floors": {"accuracy": 0.0}}) == Evidence(
        report=release.gather({"calibration": {"calibration_error": 1.0}}).report
    )


def test_every_gate_but_those_of_the_report_has_something_that_measures_it():
    of_the_report = {"floors", "worst_slice", "better_than_baseline", "calibration"}
    assert set(MEASURED_FOR) == set(GATES) - of_the_report


def test_perturbed_rows_are_as_many_as_asked_for_and_upper_case_is_unknown_to_it(release):
    found = release.gather({"robustness": ROBUSTNESS}).robustness
    assert found is not None
    assert found.score == "test/f1_macro"
    assert set(found.drops) == set(PERTURBATIONS)
    assert {drop.num_rows for drop in found.drops.values()} == {10}
    # The texts are w1, w2, ...: in lower case already, and shorter than a word that gets typos.
    changed = {name: drop.num_changed for name, drop in found.drops.items()}
    assert changed["capitals"] == changed["truncation"] == 10
    assert changed["lower_case"] == 0
    assert found.drops["capitals"].difference.confidence == 0.9


def test_a_device_that_is_not_here_is_the_reason_of_the_refusal(release, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    values = {"latency": {**LATENCY, "device": "cuda"}}
    (row,) = decide(read_gates(values, alias="staging"), release.gather(values)).rows
    assert not row.passed
    assert row.reason == "no evidence: this machine has no cuda; promote on one that has"


def test_a_receipt_of_another_version_is_a_gap_in_the_lineage(release):
    other = replace(release.receipt, version=9)
    found = release.gather({"lineage": {"requires_clean_tree": False}}, receipt=other).lineage
    assert found is not None
    assert found.gaps == ("the receipt of its registration tells of version 9",)


def test_the_holder_is_scored_on_the_same_rows_at_the_stated_confidence(release):
    """Last, since something stands at the alias from here on."""
    promoted(release.store, release.version)
    values = {name: EVERY_GATE[name] for name in ("not_worse_than_holder", "signature")}
    evidence = release.gather(values)
    assert isinstance(evidence.holder, Holder)
    difference = evidence.holder.differences["test/accuracy"]
    assert (difference.low, difference.high, difference.confidence) == (0, 0, 0.8)
    assert evidence.holder.data_sha256 == read_task(Path("tasks/area")).sha256["test"]
    verdict = decide(read_gates(values, alias="staging"), evidence)
    assert verdict.passed
    assert verdict.rows[-1].reason == f"as version {release.version.number}"

    relabelled(Path("tasks/area"))
    (row,) = decide(
        read_gates({"not_worse_than_holder": values["not_worse_than_holder"]}, alias="staging"),
        release.gather({"not_worse_than_holder": values["not_worse_than_holder"]}),
    ).rows
    assert not row.passed
    assert "knows other labels" in row.reason
    assert "~gates.not_worse_than_holder" in row.reason


def relabelled(folder: Path) -> None:
    """Write the task again with another name for one of its labels."""
    task = a_task()
    names = {"cli": "cli", "web": "internet"}
    splits = {
        split: [{**row, "label": names[row["label"]]} for row in rows]
        for split, rows in task.rows.items()
    }
    folder.rename(folder.with_name("area-before"))
    write_task(folder, replace(task, rows=splits))
