import pytest

from tests.tasks.small import (
    classification_task,
    entities_task,
    high_or_low,
    ones_and_twos,
    write_task,
)
from vertiform.errors import ConfigError
from vertiform.evaluation import names
from vertiform.tasks.baselines import TfidfParams, WordFeaturesParams, fit_baseline
from vertiform.tasks.rows import SPLITS, read_task
from vertiform.tasks.task import scores_of, task_of

TFIDF = TfidfParams(
    word_ngrams=2, character_ngrams=3, common_fraction=0.5, inverse_regularizations=(0.1, 1.0)
)
FEATURES = WordFeaturesParams(
    window_words=2, affix_characters=3, inverse_regularizations=(0.1, 1.0)
)


def score_on_test(data, baseline):
    rows = data.splits["test"]
    task = task_of(data.kind, data.labels)
    scores = scores_of(task, rows, baseline.predict(rows), split="test")
    return scores[names.on("test", names.MAIN_SCORE[data.kind])]


def test_counted_words_tell_texts_apart(tmp_path):
    data = read_task(classification_task(tmp_path / "area"))
    assert score_on_test(data, fit_baseline(data, TFIDF, seed=0)) > 0.85


def test_features_of_words_find_entities_of_several_words(tmp_path):
    data = read_task(entities_task(tmp_path / "names"))
    baseline = fit_baseline(data, FEATURES, seed=0)
    assert score_on_test(data, baseline) > 0.95
    tags = baseline.predict([{"tokens": ["w20", "w5", "w22", "w1"]}])[0]["tags"]
    assert tags == ["O", "B-two", "I-two", "B-one"]


@pytest.mark.parametrize(
    ("make", "params"), [(classification_task, TFIDF), (entities_task, FEATURES)]
)
def test_the_same_task_gives_the_same_baseline(tmp_path, make, params):
    data = read_task(make(tmp_path / "task"))
    rows = data.splits["test"]
    first, second = (fit_baseline(data, params, seed=3) for _ in range(2))
    assert first.predict(rows) == second.predict(rows)
    assert first.settings == second.settings


def test_confidences_of_classes_are_a_distribution(tmp_path):
    data = read_task(classification_task(tmp_path / "area"))
    for prediction in fit_baseline(data, TFIDF, seed=0).predict(data.splits["test"]):
        assert sum(prediction["probabilities"].values()) == pytest.approx(1.0)


def test_a_label_with_no_training_row_is_never_predicted(tmp_path):
    splits = {split: high_or_low(60, seed=s) for s, split in enumerate(SPLITS)}
    data = read_task(
        write_task(tmp_path / "area", "classification", ["high", "low", "rare"], splits)
    )
    predictions = fit_baseline(data, TFIDF, seed=0).predict(data.splits["test"])
    assert "rare" not in {prediction["label"] for prediction in predictions}


def test_a_type_with_no_training_row_is_never_predicted(tmp_path):
    splits = {split: ones_and_twos(60, seed=s) for s, split in enumerate(SPLITS)}
    data = read_task(write_task(tmp_path / "names", "entities", ["one", "rare", "two"], splits))
    predictions = fit_baseline(data, FEATURES, seed=0).predict(data.splits["test"])
    assert not {tag for p in predictions for tag in p["tags"] if tag.endswith("rare")}


def test_a_single_tag_besides_o_is_learned(tmp_path):
    rows = [{"id": "1", "tokens": ["a", "b"], "tags": ["O", "B-one"], "group": "g"}] * 4
    splits = {"train": rows, "validation": rows, "test": rows}
    data = read_task(write_task(tmp_path / "names", "entities", ["one"], splits))
    assert fit_baseline(data, FEATURES, seed=0).predict(rows)[0]["tags"] == ["O", "B-one"]


def test_a_language_without_spaces_is_read_by_characters(tmp_path):
    texts = {
        "weather": ["今天下雨", "明天下雪", "昨天刮风"],
        "food": ["我吃米饭", "他吃面条", "她吃水果"],
    }
    rows = [
        {"id": text, "text": text, "label": label, "group": "g"}
        for label, each in texts.items()
        for text in each
    ]
    folder = write_task(
        tmp_path / "zh",
        "classification",
        ["food", "weather"],
        {"train": rows, "validation": rows, "test": rows},
    )
    task = (folder / "task.json").read_text().replace('"en"', '"zh"')
    (folder / "task.json").write_text(task)
    baseline = fit_baseline(read_task(folder), TFIDF, seed=0)
    predictions = baseline.predict([{"text": "后天下雨"}, {"text": "我吃水果"}])
    assert [prediction["label"] for prediction in predictions] == ["weather", "food"]


def test_no_words_have_no_tags(tmp_path):
    data = read_task(entities_task(tmp_path / "names"))
    baseline = fit_baseline(data, FEATURES, seed=0)
    assert baseline.predict([{"tokens": []}]) == [{"tags": [], "confidences": []}]


@pytest.mark.parametrize(
    ("make", "params", "file"),
    [
        (classification_task, FEATURES, "classification.yaml"),
        (entities_task, TFIDF, "entities.yaml"),
    ],
)
def test_a_baseline_for_another_kind_of_task_is_refused(tmp_path, make, params, file):
    with pytest.raises(ConfigError, match=rf"is no baseline of tasks(.|\n)*conf/task/{file}"):
        fit_baseline(read_task(make(tmp_path / "task")), params, seed=0)
