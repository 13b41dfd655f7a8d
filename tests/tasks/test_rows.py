import pytest

from tests.tasks.small import classification_task, entities_task, high_or_low, write_task
from vertiform.errors import ConfigError, CorpusError
from vertiform.tasks.rows import read_task


def row(label, text="w1 w2"):
    return {"id": "1", "text": text, "label": label, "group": "g"}


def test_a_task_is_read_as_it_was_written(tmp_path):
    task = read_task(classification_task(tmp_path / "size"))
    assert (task.name, task.kind, task.labels) == ("size", "classification", ("high", "low"))
    assert [len(rows) for rows in task.splits.values()] == [96, 40, 40]
    assert list(task.splits["test"]) == high_or_low(40, seed=2)


def test_a_task_that_does_not_exist_is_answered_with_the_nearest(tmp_path):
    classification_task(tmp_path / "area")
    with pytest.raises(CorpusError, match=r"no task `aera`(.|\n)*did you mean `area`"):
        read_task(tmp_path / "aera")


def test_a_domain_without_tasks_says_which_stage_to_run(tmp_path):
    with pytest.raises(CorpusError, match=r"no task.json(.|\n)*stage `label`"):
        read_task(tmp_path / "area")


def test_a_changed_file_is_noticed(tmp_path):
    folder = classification_task(tmp_path / "area")
    with (folder / "validation.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(CorpusError, match=r"validation.jsonl is not what(.|\n)*dvc checkout"):
        read_task(folder)


def test_a_missing_file_is_noticed(tmp_path):
    folder = classification_task(tmp_path / "area")
    (folder / "test.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"test.jsonl is missing(.|\n)*dvc checkout"):
        read_task(folder)


def test_a_split_without_rows_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"has no validation rows"):
        read_task(classification_task(tmp_path / "area", validation=[]))


def test_a_task_of_one_class_is_refused(tmp_path):
    one = [row("low")]
    splits = {"train": one, "validation": one, "test": one}
    with pytest.raises(CorpusError, match=r"one class, `low`, to train on"):
        read_task(write_task(tmp_path / "area", "classification", ["low"], splits))


def test_entities_without_any_entity_are_refused(tmp_path):
    nothing = [{"id": "1", "tokens": ["a", "b"], "tags": ["O", "O"], "group": "g"}]
    with pytest.raises(CorpusError, match=r"no labels to train on"):
        read_task(entities_task(tmp_path / "names", train=nothing))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_label_that_is_not_in_training_is_refused(tmp_path, split):
    with pytest.raises(CorpusError, match=rf"only {split} has the label `medium`"):
        read_task(classification_task(tmp_path / "area", **{split: [row("medium")]}))


def test_an_unknown_kind_is_answered_with_the_nearest(tmp_path):
    rows = high_or_low(4, seed=0)
    splits = {"train": rows, "validation": rows, "test": rows}
    with pytest.raises(ConfigError, match=r"did you mean `classification`"):
        read_task(write_task(tmp_path / "area", "clasification", ["high", "low"], splits))
