import pytest

from tests.evaluation.examples import (
    LABELS,
    TYPES,
    class_predictions,
    class_rows,
    tagged,
    tagging,
)
from vertiform.errors import ConfigError, CorpusError
from vertiform.evaluation.predictions import measure_of


def measured(rows, predictions, *, kind="classification", labels=LABELS):
    return measure_of(kind, rows, predictions, labels=labels)


def test_a_kind_of_task_without_scores_is_named():
    with pytest.raises(ConfigError, match=r"kind `entitles`.*\n.*did you mean `entities`"):
        measured([], [], kind="entitles")


def test_no_rows_at_all_says_what_makes_them():
    with pytest.raises(CorpusError, match="no rows to score"):
        measured([], [])


def test_fewer_predictions_than_rows_are_refused():
    rows = class_rows(3, seed=0)
    with pytest.raises(CorpusError, match="2 predictions were given for 3 rows"):
        measured(rows, class_predictions(rows[:2], skill=1, seed=0))


def test_a_label_that_the_task_does_not_know_is_named_with_its_row():
    rows = class_rows(1, seed=0)
    predictions = class_predictions(rows, skill=1, seed=0)
    with pytest.raises(CorpusError, match=r"row-000 has `wev`[^\n]*\n.*did you mean `web`"):
        measured([{**rows[0], "label": "wev"}], predictions)


def test_a_model_of_another_task_is_refused():
    rows = class_rows(1, seed=0)
    other = {"label": "cat", "probabilities": {"cat": 1.0}}
    with pytest.raises(CorpusError, match="row-000 has other labels than the task: cat, data"):
        measured(rows, [other])


@pytest.mark.parametrize("value", [0.5, float("nan"), -1.0])
def test_probabilities_that_are_no_distribution_are_refused(value):
    rows = class_rows(1, seed=0)
    probabilities = {"data": value, "graphics": 0.9, "network": 0.0, "web": 0.0}
    with pytest.raises(CorpusError, match="row-000 are not a distribution"):
        measured(rows, [{"label": "graphics", "probabilities": probabilities}])


def test_a_label_that_is_not_the_most_probable_is_refused():
    rows = class_rows(1, seed=0)
    probabilities = {"data": 0.1, "graphics": 0.9, "network": 0.0, "web": 0.0}
    with pytest.raises(CorpusError, match="row-000 is `data`, which is not its most probable"):
        measured(rows, [{"label": "data", "probabilities": probabilities}])


def test_a_tag_that_the_task_does_not_know_is_named():
    with pytest.raises(CorpusError, match=r"has `B-clas`[^\n]*\n.*did you mean `B-class`"):
        measured([tagged("B-class")], [tagging("B-clas")], kind="entities", labels=TYPES)


def test_a_tagging_of_another_length_is_refused():
    with pytest.raises(CorpusError, match="has 2 tags, but 1 were predicted with 1 confidences"):
        measured([tagged("O O")], [tagging("O")], kind="entities", labels=TYPES)
