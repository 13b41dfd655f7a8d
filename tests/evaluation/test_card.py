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
from vertiform.evaluation.card import NOT_RECORDED, model_card
from vertiform.evaluation.report import EvaluationReport, evaluate


def facts(*, skill: float = 0.6) -> dict:
    rows = class_rows(90, seed=0)
    task = {**class_task(rows), "language": "en", "split_rule": "by module"}
    report = evaluate(
        task,
        rows=rows,
        predictions=class_predictions(rows, skill=skill, seed=1),
        baseline=class_predictions(rows, skill=0.2, seed=2),
        resampling=RESAMPLING,
        slicing=SLICING,
        num_mistakes=3,
    )
    return {
        "name": "software-area",
        "task": task,
        "evaluation": report.to_json(),
        "data": {"domain": "software", "documents": 20_000, "hash": {"tokens": "cd" * 4}},
        "sources": [
            {"name": "numpy", "licence": "BSD-3-Clause", "documents": 1234},
            {"name": "rich", "documents": 12},
        ],
        "training": {"start": "MiniLM", "is_pretrained": True, "steps": 500},
        "lineage": {"commit": "abc123", "dirty_diff": None},
    }


def test_the_card_holds_every_fact_it_was_given():
    card = model_card(facts())
    for fact in ("# software-area", "`graphics`", "20,000", "BSD-3-Clause", "MiniLM", "abc123",
                 "| hash, tokens | cdcdcdcd |", "| is pretrained | yes |", "by module",
                 "models:/software-area@staging", "ab" * 32, "on 90 rows"):  # fmt: skip
        assert fact in card, fact


def test_every_score_of_the_report_is_on_the_card():
    given = facts()
    card = model_card(given)
    report = EvaluationReport.from_json(given["evaluation"])
    for metric, score in report.scores.items():
        assert f"| {metric} | {score.value:.3f} ({score.low:.3f} to {score.high:.3f})" in card
    assert all(f"| {label} | " in card for label in LABELS)


def test_the_weakest_classes_and_few_rows_are_named_as_limitations():
    card = model_card(facts())
    limitations = card.partition("## Limitations")[2].partition("##")[0]
    assert "Weakest, by F1: `" in limitations
    assert "Fewer than 30 in the test split, so hardly measured: `" in limitations
    assert "Measured on text in `en` alone." in limitations


def test_a_model_that_is_not_surely_better_than_its_baseline_says_so():
    assert "Not surely better than its baseline" in model_card(facts(skill=0.2))
    assert "Not surely better than its baseline" not in model_card(facts(skill=0.6))


def test_confidence_that_misleads_is_a_limitation():
    assert "do not read it as the chance of being right" in model_card(facts(skill=0.6))
    assert "do not read it" not in model_card(facts(skill=1.0))


@pytest.mark.parametrize("section", ["data", "sources", "training", "lineage"])
def test_what_no_fact_says_is_called_not_recorded(section):
    given = facts()
    del given[section]
    assert model_card(given).count(NOT_RECORDED) == 1


def test_a_score_that_the_test_split_does_not_define_is_not_claimed():
    given = facts()
    report = EvaluationReport.from_json(given["evaluation"])
    given["evaluation"] = replace(report, scores={}, baseline={}, difference={}).to_json()
    card = model_card(given)
    assert "The test split does not define test/f1_macro." in card
    assert "Not measured against a baseline." in card


def test_a_card_of_entities_names_their_types():
    task = {"task": "names", "kind": "entities", "labels": TYPES, "sha256": {"test": "ef"}}
    rows, predictions = [tagged("B-class O")], [tagging("B-class O")]
    report = evaluate(
        task,
        rows=rows,
        predictions=predictions,
        resampling=RESAMPLING,
        slicing=SLICING,
        num_mistakes=1,
    )
    card = model_card({"name": "n", "task": task, "evaluation": report.to_json()})
    assert "Marks the spans of a text that are one of 2 types of entity: `class`" in card


def test_a_long_list_of_labels_is_cut():
    given = facts()
    given["task"]["labels"] = [f"label {i}" for i in range(77)]
    assert "`label 59` and 17 more." in model_card(given)
