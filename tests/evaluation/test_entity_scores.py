import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tests.evaluation.examples import TYPES
from vertiform.evaluation import names
from vertiform.evaluation.bootstrap import Resampling, draw, intervals
from vertiform.evaluation.entity_scores import (
    Entity,
    entities_of,
    entity_confidence,
    entity_measure,
    entity_scores,
)

TAGS = ["O", *(f"{prefix}-{kind}" for prefix in "BI" for kind in TYPES)]
sentences = st.lists(
    st.lists(st.sampled_from(TAGS), min_size=3, max_size=3), min_size=1, max_size=8
)


def scores_of(truth: list[str], predicted: list[str], confidences=None) -> dict[str, float]:
    tags = [line.split() for line in predicted]
    confidences = confidences or [[0.9] * len(line) for line in tags]
    return entity_scores([line.split() for line in truth], tags, confidences, types=TYPES)


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("B-class I-class O B-function", [(0, 2, "class"), (3, 4, "function")]),
        ("B-class B-class", [(0, 1, "class"), (1, 2, "class")]),
        ("O I-class I-class", [(1, 3, "class")]),
        ("B-class I-function", [(0, 1, "class"), (1, 2, "function")]),
        ("I-class B-class I-class", [(0, 1, "class"), (1, 3, "class")]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities_are_read_as_conlleval_reads_them(tags, entities):
    assert entities_of(tags.split()) == [Entity(*e) for e in entities]


def test_an_example_worked_by_hand():
    truth = ["B-class I-class O B-function", "B-function O O B-class", "O O"]
    predicted = ["B-class I-class O B-class", "B-function O O O", "O B-function"]
    # True: class 2, function 2. Predicted: class 2, function 2. Both: class 1, function 1.
    scores = scores_of(truth, predicted)
    assert scores[names.ENTITY_PRECISION] == 2 / 4
    assert scores[names.ENTITY_RECALL] == 2 / 4
    assert scores[names.ENTITY_F1] == 2 / 4
    assert scores["f1/class"] == 1 / 2
    assert scores["f1/function"] == 1 / 2
    assert scores[names.TOKEN_ACCURACY] == 7 / 10


def test_micro_counts_entities_and_macro_counts_types():
    truth = ["B-class O", "B-class O", "B-class O", "B-function O"]
    predicted = ["B-class O", "B-class O", "B-class O", "O B-class"]
    scores = scores_of(truth, predicted)
    assert scores[names.ENTITY_PRECISION] == 3 / 4
    assert scores[names.ENTITY_RECALL] == 3 / 4
    assert scores[names.ENTITY_PRECISION_MACRO] == (3 / 4 + 0) / 2
    assert scores[names.ENTITY_RECALL_MACRO] == (1 + 0) / 2
    assert scores[names.ENTITY_F1_MACRO] == pytest.approx((6 / 7 + 0) / 2)


def test_half_of_an_entity_is_not_an_entity():
    scores = scores_of(["B-class I-class O"], ["B-class O O"])
    assert scores[names.ENTITY_F1] == 0
    assert scores[names.TOKEN_ACCURACY] == 2 / 3


def test_a_perfect_tagging_scores_one_and_leaves_ranking_undefined():
    scores = scores_of(["B-class I-class O"], ["B-class I-class O"], [[1.0, 1.0, 0.6]])
    assert names.ENTITY_ROC_AUC not in scores  # no wrong entity to rank below the right one
    assert scores.pop(names.ENTITY_CALIBRATION_ERROR) == 0
    assert set(scores.values()) == {1.0}


def test_an_entity_is_as_sure_as_its_least_sure_token():
    assert entity_confidence([0.9, 0.4, 0.8, 0.1], Entity(0, 3, "class")) == 0.4


def test_confidence_ranks_right_entities_above_wrong_ones():
    truth = ["B-class O", "O B-function", "O O"]
    predicted = ["B-class O", "O B-function", "B-class O"]
    scores = scores_of(truth, predicted, [[0.9, 0.5], [0.5, 0.2], [0.6, 0.5]])
    assert scores[names.ENTITY_ROC_AUC] == 1 / 2  # 0.9 above 0.6, 0.2 below it
    # |1 - 0.9|, |1 - 0.2| and |0 - 0.6|, each in a bin of its own with a third of the weight.
    assert scores[names.ENTITY_CALIBRATION_ERROR] == pytest.approx((0.1 + 0.8 + 0.6) / 3)


def test_no_entity_true_or_predicted_leaves_only_the_tokens_scored():
    assert scores_of(["O O"], ["O O"]) == {names.TOKEN_ACCURACY: 1.0}


def test_a_sentence_without_tokens_counts_for_nothing():
    assert scores_of(["B-class", ""], ["B-class", ""])[names.TOKEN_ACCURACY] == 1.0
    assert scores_of([""], [""]) == {}


@given(sentences, st.integers(0, 10_000))
def test_a_resample_scores_as_its_sentences_written_out(truth, seed):
    generator = np.random.default_rng(seed)
    predicted = [generator.choice(TAGS, 3).tolist() for _ in truth]
    confidences = [generator.random(3).tolist() for _ in truth]
    drawn = generator.integers(0, len(truth), len(truth))
    weights = np.bincount(drawn, minlength=len(truth))[None].astype(float)
    measured = entity_measure(truth, predicted, confidences, types=TYPES)(weights)
    written = entity_scores(
        *([part[i] for i in drawn] for part in (truth, predicted, confidences)), types=TYPES
    )
    assert {n: v[0] for n, v in measured.items() if not np.isnan(v[0])} == pytest.approx(written)


@given(sentences)
def test_an_interval_of_entities_holds_its_score(truth):
    predicted = [sentence[::-1] for sentence in truth]
    confidences = [[0.2, 0.7, 0.9] for _ in truth]
    measure = entity_measure(truth, predicted, confidences, types=TYPES)
    found = intervals(draw(measure, rows=len(truth), resampling=Resampling(0, 20, 0.9)))
    assert all(i.low <= i.value <= i.high for i in found.values())
