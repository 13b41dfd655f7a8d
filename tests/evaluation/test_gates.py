from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.evaluation.examples import RESAMPLING, class_predictions, class_rows, class_task
from vertiform.errors import ConfigError
from vertiform.evaluation.bootstrap import DifferenceInterval, Interval
from vertiform.evaluation.evidence import NOBODY, Evidence, Holder
from vertiform.evaluation.gates import decide, read_gates
from vertiform.evaluation.report import EvaluationReport, evaluate
from vertiform.evaluation.verdict import GateRow, Verdict, verdict_table

GATES = Path("conf/gates")


def report_with(**scores: Interval) -> EvaluationReport:
    """A report of a classification with these scores on test."""
    return EvaluationReport(
        task="area",
        kind="classification",
        split="test",
        labels=("a", "b"),
        num_rows=10,
        data_sha256="aa" * 32,
        resampling=RESAMPLING,
        scores={f"test/{name}": score for name, score in scores.items()},
        baseline={},
        difference={},
        by_class=(),
        mistakes=(),
    )


def decided(values: dict, evidence: Evidence) -> Verdict:
    return decide(read_gates(values, alias="staging"), evidence)


def only_row(values: dict, evidence: Evidence) -> GateRow:
    [row] = decided(values, evidence).rows
    return row


def difference(low: float, high: float) -> DifferenceInterval:
    return DifferenceInterval((low + high) / 2, low, high, 0.95)


def holder(low: float, high: float, *, data_sha256: str = "aa" * 32) -> Holder:
    return Holder(
        version="3", data_sha256=data_sha256, differences={"test/f1_macro": difference(low, high)}
    )


@pytest.fixture(scope="module")
def good() -> Evidence:
    rows = class_rows(200, seed=0)
    report = evaluate(
        class_task(rows),
        rows=rows,
        predictions=class_predictions(rows, skill=0.9, seed=1),
        baseline=class_predictions(rows, skill=0.1, seed=2),
        resampling=RESAMPLING,
        num_mistakes=0,
    )
    return Evidence(
        report=report,
        holder=NOBODY,
        num_contaminated_documents=0,
        example_difference=0.0,
        size_megabytes=90.0,
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


def test_a_floor_holds_against_the_low_end_of_the_interval():
    evidence = Evidence(report=report_with(f1_macro=Interval(0.6, 0.5, 0.7)))
    assert only_row({"floors": {"f1_macro": 0.5}}, evidence).passed
    row = only_row({"floors": {"f1_macro": 0.55}}, evidence)
    assert not row.passed
    assert (row.threshold, row.measured, row.interval) == (0.55, 0.6, (0.5, 0.7))
    assert row.reason == "the low end of the 95% interval is below the bound"


def test_the_floor_of_a_calibration_error_is_a_ceiling():
    evidence = Evidence(report=report_with(calibration_error=Interval(0.1, 0.05, 0.2)))
    assert only_row({"floors": {"calibration_error": 0.2}}, evidence).passed
    row = only_row({"floors": {"calibration_error": 0.15}}, evidence)
    assert not row.passed
    assert row.reason == "the high end of the 95% interval is above the bound"


def test_a_floor_on_a_score_that_was_not_measured_fails():
    row = only_row({"floors": {"roc_auc_macro": 0.1}}, Evidence(report=report_with()))
    assert not row.passed
    assert row.reason == "no evidence: the evaluation holds no test/roc_auc_macro"


def test_a_gate_that_names_no_score_of_the_tasks_kind_fails():
    row = only_row({"floors": {"entity_f1": 0.1}}, Evidence(report=report_with()))
    assert not row.passed
    assert row.reason == "no evidence: no score of a task of kind classification is named for it"


def test_scores_on_validation_are_no_evidence():
    report = replace(report_with(f1_macro=Interval(1, 1, 1)), split="validation")
    row = only_row({"floors": {"f1_macro": 0.1}}, Evidence(report=report))
    assert not row.passed
    assert row.reason == "no evidence: the model was evaluated on validation, not on test"


@pytest.mark.parametrize(("low", "passed"), [(0.01, True), (0.0, False), (-0.01, False)])
def test_better_than_the_baseline_is_a_paired_interval_above_zero(low, passed):
    report = replace(report_with(), difference={"test/f1_macro": difference(low, 0.2)})
    row = only_row({"better_than_baseline": {"f1_macro": 0.0}}, Evidence(report=report))
    assert row.passed is passed
    assert row.reason.endswith("better than the baseline (95% paired interval)")


def test_a_model_without_a_baseline_is_not_better_than_it():
    row = only_row({"better_than_baseline": {"f1_macro": 0}}, Evidence(report=report_with()))
    assert not row.passed
    assert row.reason == "no evidence: no baseline was scored on test/f1_macro"


def test_less_calibration_error_than_the_baseline_is_better():
    report = replace(report_with(), difference={"test/calibration_error": difference(-0.2, -0.1)})
    row = only_row({"better_than_baseline": {"calibration_error": 0}}, Evidence(report=report))
    assert row.passed
    assert row.interval == (0.1, 0.2)


@pytest.mark.parametrize(("low", "passed"), [(0.0, True), (-0.02, True), (-0.03, False)])
def test_not_worse_than_the_holder_allows_the_margin(low, passed):
    evidence = Evidence(report=report_with(), holder=holder(low, 0.1))
    row = only_row({"not_worse_than_holder": {"f1_macro": 0.02}}, evidence)
    assert row.passed is passed
    assert row.threshold == -0.02
    said = "not worse" if passed else "may be worse"
    assert row.reason == f"{said} than version 3 by over 0.02 (95% paired interval)"


def test_nobody_at_the_alias_cannot_be_worse_than():
    evidence = Evidence(report=report_with(), holder=NOBODY)
    row = only_row({"not_worse_than_holder": {"f1_macro": 0.02}}, evidence)
    assert row.passed
    assert row.reason == "nobody stands there"


def test_a_holder_scored_on_other_rows_is_refused():
    evidence = Evidence(report=report_with(), holder=holder(0.1, 0.2, data_sha256="bb" * 32))
    row = only_row({"not_worse_than_holder": {"f1_macro": 0.02}}, evidence)
    assert not row.passed
    assert row.reason.endswith("version 3 was scored on other test rows (bbbbbbbb, not aaaaaaaa)")


def test_a_holder_without_the_score_is_refused():
    evidence = Evidence(report=report_with(), holder=holder(0.1, 0.2))
    row = only_row({"not_worse_than_holder": {"accuracy": 0.02}}, evidence)
    assert not row.passed
    assert row.reason.endswith("version 3, which stands there, was not scored on test/accuracy")


@pytest.mark.parametrize(
    ("values", "evidence", "reason"),
    [
        (
            {"contamination": {"max_documents": 0}},
            Evidence(num_contaminated_documents=1),
            "1 pretraining documents share text with the test or validation split",
        ),
        (
            {"predicts_its_example": {"max_difference": 0.0}},
            Evidence(example_difference=1e-9),
            "predicts otherwise than stored",
        ),
        ({"size": {"max_megabytes": 50}}, Evidence(size_megabytes=90), "90.0 MB, over 50 MB"),
    ],
)
def test_a_measure_above_its_maximum_is_refused(values, evidence, reason):
    row = only_row(values, evidence)
    assert not row.passed
    assert row.reason == reason


@pytest.mark.parametrize("gate", ["contamination", "predicts_its_example", "size"])
def test_a_measure_that_is_not_a_number_is_refused(gate, good):
    nan = float("nan")
    evidence = Evidence(num_contaminated_documents=nan, example_difference=nan, size_megabytes=nan)  # type: ignore[arg-type]
    assert not only_row({gate: staging()[gate]}, evidence).passed


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
    ],
)
def test_a_wrong_gate_file_is_refused_with_the_place(values, problem):
    with pytest.raises(ConfigError) as refused:
        read_gates(values, alias="staging")
    assert "conf/gates/staging.yaml" in str(refused.value)
    assert problem in str(refused.value)
