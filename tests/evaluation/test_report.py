import json
from dataclasses import replace

import pytest

from tests.evaluation.examples import (
    LABELS,
    RESAMPLING,
    SLICING,
    TYPES,
    class_predictions,
    class_rows,
    class_task,
    tagged,
    tagging,
)
from vertiform.errors import CorpusError
from vertiform.evaluation.report import EvaluationReport, compare, evaluate
from vertiform.evaluation.report_tables import score_table, slice_table, worst_slices


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    rows = class_rows(120, seed=0)
    return evaluate(
        class_task(rows),
        rows=rows,
        predictions=class_predictions(rows, skill=0.5, seed=1),
        baseline=class_predictions(rows, skill=0.2, seed=2),
        resampling=RESAMPLING,
        slicing=SLICING,
        num_mistakes=5,
    )


def test_a_report_comes_back_from_json_as_it_was(report):
    written = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert EvaluationReport.from_json(written).to_json() == report.to_json()


def test_a_report_holds_every_score_the_baseline_and_their_difference(report):
    assert report.main_score == "test/f1_macro"
    assert report.scores.keys() == report.baseline.keys() == report.difference.keys()
    assert "test/calibration_error" in report.scores
    assert report.difference["test/f1_macro"].low > 0
    assert (report.num_rows, report.data_sha256) == (120, "ab" * 32)


def test_each_class_has_its_counts_and_scores(report):
    assert [c.label for c in report.by_class] == LABELS
    assert sum(c.num_true for c in report.by_class) == 120
    assert sum(c.num_predicted for c in report.by_class) == 120
    assert all(set(c.scores) == {"precision", "recall", "f1", "roc_auc"} for c in report.by_class)


def test_the_same_inputs_give_the_same_report_to_the_byte():
    rows = class_rows(30, seed=0)
    predictions = class_predictions(rows, skill=0.5, seed=1)
    written = [
        json.dumps(
            evaluate(
                class_task(rows),
                rows=rows,
                predictions=predictions,
                resampling=RESAMPLING,
                slicing=SLICING,
                num_mistakes=5,
            ).to_json()
        )
        for _ in range(2)
    ]
    assert written[0] == written[1]


def test_entities_are_reported_by_type():
    rows = [tagged("B-class I-class O B-function"), tagged("O O B-function I-function")]
    task = {"task": "entities", "kind": "entities", "labels": TYPES, "sha256": {"validation": "cd"}}
    predictions = [tagging("B-class I-class O O"), tagging("O O B-function I-function")]
    report = evaluate(
        task,
        rows=rows,
        predictions=predictions,
        split="validation",
        resampling=RESAMPLING,
        slicing=SLICING,
        num_mistakes=5,
    )
    assert report.main_score == "val/entity_f1"
    assert report.scores["val/entity_f1"].value == pytest.approx(4 / 5)
    assert [(c.label, c.num_true, c.num_predicted) for c in report.by_class] == [
        ("class", 1, 1),
        ("function", 2, 1),
    ]
    assert report.baseline == {}


def test_a_model_compared_with_itself_differs_by_nothing():
    rows = class_rows(30, seed=0)
    predictions = class_predictions(rows, skill=0.3, seed=1)
    found = compare(
        class_task(rows),
        rows=rows,
        predictions=predictions,
        others=predictions,
        resampling=RESAMPLING,
    )
    assert found["test/f1_macro"].low == found["test/f1_macro"].high == 0


def test_the_score_table_shows_model_baseline_and_difference(report):
    lines = score_table(report).splitlines()
    assert lines[0].split("  ")[0] == "metric"
    assert "model - baseline" in lines[0]
    assert len(lines) == 2 + len(report.scores)
    assert score_table(report, as_markdown=True).startswith("| metric |")


def test_without_a_baseline_the_score_table_leaves_its_columns_out():
    rows = class_rows(30, seed=0)
    report = evaluate(
        class_task(rows),
        rows=rows,
        predictions=class_predictions(rows, skill=0.3, seed=1),
        resampling=RESAMPLING,
        slicing=SLICING,
        num_mistakes=0,
    )
    assert "baseline" not in score_table(report)
    assert report.mistakes == ()


def test_a_report_of_another_format_names_the_stage_that_writes_it_again(report):
    old = {**report.to_json(), "format": 1}
    with pytest.raises(CorpusError, match=r"format 1 cannot be read(.|\n)*dvc repro evaluate@area"):
        EvaluationReport.from_json(old)


def test_the_slices_of_a_report_are_shown_worst_first(report):
    lines = slice_table(report).splitlines()
    assert lines[0].split() == ["slice", "of", "which", "rows", "score", "model"]
    lowest = min(report.slices, key=lambda found: found.interval.low)
    assert lowest.value in lines[2]
    assert f"of {len(report.slices)} slices of at least 10 rows." in lines[-1]


def test_the_worst_slice_of_each_score_is_a_metric(report):
    found = worst_slices(report)
    assert set(found) == {"test/worst_slice/class_f1"}  # these rows are all of one length
    assert found["test/worst_slice/class_f1"] in {s.interval.value for s in report.slices}


def test_a_report_without_slices_says_how_many_rows_one_needs(report):
    assert slice_table(replace(report, slices=())) == "No slice has 10 rows."
