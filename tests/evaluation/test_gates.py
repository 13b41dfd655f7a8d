from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.evaluation.examples import (
    RESAMPLING,
    SLICING,
    class_predictions,
    class_rows,
    class_task,
)
from tests.evaluation.gate_examples import RETRAIN, SIGNATURE, decided, difference, latency
from vertiform.errors import ConfigError
from vertiform.evaluation.evidence import (
    NOBODY,
    Drop,
    Evidence,
    Lineage,
    Robustness,
    Signatures,
)
from vertiform.evaluation.gates import decide, read_gates
from vertiform.evaluation.report import evaluate
from vertiform.evaluation.robustness import PERTURBATIONS
from vertiform.evaluation.verdict import verdict_table

GATES = Path("conf/gates")


@pytest.fixture(scope="module")
def good() -> Evidence:
    rows = class_rows(200, seed=0)
    report = evaluate(
        class_task(rows),
        rows=rows,
        predictions=class_predictions(rows, skill=0.9, seed=1),
        baseline=class_predictions(rows, skill=0.1, seed=2),
        resampling=RESAMPLING,
        slicing=SLICING,
        num_mistakes=0,
    )
    return Evidence(
        report=report,
        holder=NOBODY,
        num_contaminated_documents=0,
        example_difference=0.0,
        size_megabytes=90.0,
        latency=latency(high=40),
        robustness=Robustness(
            "test/f1_macro", {name: Drop(400, 390, difference(-0.05, 0)) for name in PERTURBATIONS}
        ),
        signatures=Signatures(SIGNATURE, holder=None, holder_version=""),
        lineage=Lineage(gaps=(), is_clean=True, dirty_files=(), retrain=RETRAIN),
    )


def staging() -> dict:
    return OmegaConf.to_container(OmegaConf.load(GATES / "staging.yaml"))  # type: ignore[return-value]


def test_a_good_model_passes_every_gate_of_staging(good):
    verdict = decided(staging(), good)
    assert verdict.passed, verdict_table(verdict)
    assert {row.gate.split()[0] for row in verdict.rows} == set(staging())


@pytest.mark.parametrize("alias", [path.stem for path in sorted(GATES.glob("*.yaml"))])
def test_without_evidence_every_gate_of_an_alias_fails_and_says_what_is_missing(alias):
    values = OmegaConf.to_container(OmegaConf.load(GATES / f"{alias}.yaml"))
    verdict = decide(read_gates(values, alias=alias), Evidence())  # type: ignore[arg-type]
    assert len(verdict.refusals) == len(verdict.rows) == len(values)
    assert all(row.reason.startswith("no evidence: ") for row in verdict.rows)


def test_one_refusal_refuses_the_model_and_names_its_gate(good):
    verdict = decided(staging(), replace(good, num_contaminated_documents=2))
    assert not verdict.passed
    assert [row.gate for row in verdict.refusals] == ["contamination"]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "has no gates"),
        ({"flors": {"f1_macro": 0.1}}, "has no gate `flors`.\n  Fix: did you mean `floors`"),
        (
            {"floors": {"f1_marco": 0.1}},
            "floors does not know `f1_marco`.\n  Fix: did you mean `f1_macro`",
        ),
        (
            {"size": {"max_megabyte": 1}},
            "size does not know `max_megabyte`.\n  Fix: did you mean `max_megabytes`",
        ),
        ({"size": {}}, "size needs `max_megabytes`"),
        ({"floors": {}}, "floors needs a score"),
        ({"floors": None}, "floors must be a mapping, not None"),
        ({"floors": {"f1_macro": "0.1"}}, "floors.f1_macro is '0.1'"),
        ({"floors": {"f1_macro": True}}, "floors.f1_macro is True"),
        ({"floors": {"f1_macro": float("nan")}}, "floors.f1_macro is nan"),
        ({"floors": {"calibration_error": 0.1}}, "floors does not know `calibration_error`"),
        ({"calibration": {"f1_macro": 0.1}}, "calibration does not know `f1_macro`"),
        ({"worst_slice": {"min_rows": 50}}, "worst_slice needs a score"),
        ({"worst_slice": {"accuracy": 0.1}}, "worst_slice needs `min_rows`"),
        (
            {"worst_slice": {"min_rows": 0.5, "accuracy": 0.1}},
            "min_rows is 0.5.\n  Fix: write a whole number there",
        ),
        (
            {"signature": {"allows_break": 1}},
            "allows_break is 1.\n  Fix: write true or false there",
        ),
        (
            {"latency": {"device": "tpu"}},
            "latency.device is 'tpu'.\n  Fix: write cpu or cuda there",
        ),
    ],
)
def test_a_wrong_gate_file_is_refused_with_the_place(values, problem):
    with pytest.raises(ConfigError) as refused:
        read_gates(values, alias="staging")
    assert "conf/gates/staging.yaml" in str(refused.value)
    assert problem in str(refused.value)
