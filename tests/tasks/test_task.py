import pytest

from tests.tasks.small import classification_task, high_or_low
from vertiform.errors import ConfigError
from vertiform.evaluation import names
from vertiform.tasks.task import TaskParams, open_task, scores_of, task_of


def params(**changes):
    plain = {"name": "area", "kind": "classification", "score": "f1_macro", "max_tokens": 32}
    return TaskParams(**{**plain, "baseline": None, **changes})


def test_a_task_is_opened_by_its_name(tmp_path):
    classification_task(tmp_path / "area")
    assert open_task(params(), tmp_path).name == "area"


def test_a_run_set_for_another_kind_of_task_is_refused(tmp_path):
    classification_task(tmp_path / "area")
    with pytest.raises(ConfigError, match=r"is of kind classification(.|\n)*task=classification"):
        open_task(params(kind="entities"), tmp_path)


def test_scores_have_their_full_names_and_none_of_single_classes():
    rows = high_or_low(20, seed=0)
    right = [
        {"label": row["label"], "probabilities": {"high": 0.0, "low": 0.0, row["label"]: 1.0}}
        for row in rows
    ]
    scores = scores_of(task_of("classification", ["high", "low"]), rows, right, split="validation")
    assert scores[names.VAL_F1_MACRO] == 1.0
    assert set(scores) == {names.on("validation", n) for n in names.CLASSIFICATION_SCORES}
