from dataclasses import replace

import pytest

from tests.evaluation.gate_examples import decided, difference, holder, only_row, report_with
from vertiform.evaluation.bootstrap import Interval
from vertiform.evaluation.evidence import NOBODY, Drop, Evidence, Robustness
from vertiform.evaluation.robustness import PERTURBATIONS
from vertiform.evaluation.slices import Slice, Slicing

HELD_AT = {"not_worse_than_holder": {"confidence": 0.95, "f1_macro": 0.02}}
ROBUSTNESS = {
    "max_rows": 400,
    "confidence": 0.95,
    "typo_word_fraction": 0.1,
    "kept_fraction": 0.5,
    **{f"max_drop_{name}": 0.1 for name in PERTURBATIONS},
}


def test_a_floor_holds_against_the_low_end_of_the_interval():
    evidence = Evidence(report=report_with(f1_macro=Interval(0.6, 0.5, 0.7)))
    assert only_row({"floors": {"f1_macro": 0.5}}, evidence).passed
    row = only_row({"floors": {"f1_macro": 0.55}}, evidence)
    assert not row.passed
    assert (row.threshold, row.measured, row.interval) == (0.55, 0.6, (0.5, 0.7))
    assert row.reason == "the low end of the 95% interval is below the bound"


def test_a_calibration_error_is_held_below_its_ceiling_by_the_high_end():
    evidence = Evidence(report=report_with(calibration_error=Interval(0.1, 0.05, 0.2)))
    assert only_row({"calibration": {"calibration_error": 0.2}}, evidence).passed
    row = only_row({"calibration": {"calibration_error": 0.15}}, evidence)
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
    row = only_row(HELD_AT, evidence)
    assert row.passed is passed
    assert row.threshold == -0.02
    said = "not worse" if passed else "may be worse"
    assert row.reason == f"{said} than version 3 by over 0.02 (95% paired interval)"


def test_nobody_at_the_alias_cannot_be_worse_than():
    evidence = Evidence(report=report_with(), holder=NOBODY)
    row = only_row(HELD_AT, evidence)
    assert row.passed
    assert row.reason == "nobody stands there"


def test_a_holder_scored_on_other_rows_is_refused():
    evidence = Evidence(report=report_with(), holder=holder(0.1, 0.2, data_sha256="bb" * 32))
    row = only_row(HELD_AT, evidence)
    assert not row.passed
    assert row.reason.endswith("version 3 was scored on other test rows (bbbbbbbb, not aaaaaaaa)")


def test_a_holder_without_the_score_is_refused():
    evidence = Evidence(report=report_with(), holder=holder(0.1, 0.2))
    row = only_row({"not_worse_than_holder": {"confidence": 0.95, "accuracy": 0.02}}, evidence)
    assert not row.passed
    assert row.reason.endswith("version 3, which stands there, was not scored on test/accuracy")


def test_an_interval_of_another_confidence_than_stated_is_no_evidence():
    evidence = Evidence(report=report_with(), holder=holder(0.1, 0.2))
    row = only_row({"not_worse_than_holder": {"confidence": 0.99, "f1_macro": 0.02}}, evidence)
    assert not row.passed
    assert row.reason == "no evidence: the interval is of 95%, not of 99%"


def sliced(*slices: Slice) -> Evidence:
    return Evidence(report=replace(report_with(), slices=slices))


def a_slice(low: float, *, num_rows: int = 60, value: str = "numpy") -> Slice:
    return Slice("package", value, num_rows, "accuracy", Interval(low + 0.1, low, low + 0.2))


@pytest.mark.parametrize(("floor", "passed"), [(0.2, True), (0.21, False)])
def test_the_worst_slice_decides_by_its_low_end_and_is_named(floor, passed):
    evidence = sliced(a_slice(0.4), a_slice(0.2, value="scipy"))
    row = only_row({"worst_slice": {"min_rows": 50, "accuracy": floor}}, evidence)
    assert row.passed is passed
    assert row.interval == (0.2, 0.4)
    assert "package `scipy`, 60 rows, the worst of 2" in row.reason


def test_a_slice_of_few_rows_does_not_decide():
    evidence = sliced(a_slice(0.4), a_slice(0.0, num_rows=49, value="tiny"))
    row = only_row({"worst_slice": {"min_rows": 50, "accuracy": 0.3}}, evidence)
    assert row.passed
    assert "`numpy`" in row.reason


def test_without_a_slice_of_enough_rows_it_is_said_that_none_was_judged():
    row = only_row({"worst_slice": {"min_rows": 50, "class_f1": 0.3}}, sliced(a_slice(0.4)))
    assert row.passed
    assert row.reason == "no slice has 50 rows"


def test_slices_that_the_evaluation_left_out_cannot_be_judged():
    report = replace(report_with(), slicing=Slicing(min_rows=100, num_length_buckets=4))
    values = {"worst_slice": {"min_rows": 50, "accuracy": 0.3}}
    row = only_row(values, Evidence(report=report))
    assert not row.passed
    assert row.reason == "no evidence: the evaluation left out slices of under 100 rows"


def robust(**drops: Drop) -> Evidence:
    harmless = {name: Drop(400, 390, difference(-0.01, 0.01)) for name in PERTURBATIONS}
    return Evidence(robustness=Robustness("test/f1_macro", harmless | drops))


def rows_of(evidence: Evidence, **options: float) -> dict:
    return {row.gate: row for row in decided({"robustness": ROBUSTNESS | options}, evidence).rows}


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize(("low", "passed"), [(-0.1, True), (-0.11, False)])
def test_a_fall_further_than_allowed_is_refused_for_each_perturbation(name, low, passed):
    rows = rows_of(robust(**{name: Drop(400, 390, difference(low, 0))}))
    row = rows.pop(f"robustness {name}")
    assert row.passed is passed
    assert row.threshold == -0.1
    assert row.reason == "test/f1_macro, 390 of 400 texts changed (95% paired interval)"
    assert all(other.passed for other in rows.values())


def test_a_perturbation_that_changes_nothing_is_passed_over_and_says_so():
    row = rows_of(robust(capitals=Drop(400, 0, difference(0, 0))))["robustness capitals"]
    assert row.passed
    assert (row.measured, row.reason) == (None, "passed over: it changes none of 400 texts")


@pytest.mark.parametrize(
    ("drop", "reason"),
    [
        (Drop(400, 9, None), "no evidence: these rows do not define test/f1_macro"),
        (
            Drop(400, 9, replace(difference(0, 0), confidence=0.8)),
            "no evidence: the interval is of 80%, not of 95%",
        ),
    ],
)
def test_a_fall_that_was_not_measured_as_stated_is_refused(drop, reason):
    row = rows_of(robust(typos=drop))["robustness typos"]
    assert not row.passed
    assert row.reason == reason


def test_a_perturbation_that_was_not_tried_is_refused():
    evidence = Evidence(robustness=Robustness("test/f1_macro", {}))
    rows = rows_of(evidence)
    assert len(rows) == 4
    assert not any(row.passed for row in rows.values())
