import numpy as np
import pytest

from tests.evaluation.examples import RESAMPLING, tagged, tagging
from vertiform.evaluation.bootstrap import Interval
from vertiform.evaluation.slices import Slice, Slicing, class_slices, num_words, row_slices, worst

SLICING = Slicing(min_rows=20, num_length_buckets=2)


def labelled(number: int, *, package: str, words: int, is_right: bool) -> list[tuple[dict, dict]]:
    return [
        (
            {"id": "r", "text": "w " * words, "label": "a", "slices": {"package": package}},
            {"label": "a" if is_right else "b"},
        )
        for _ in range(number)
    ]


def slices_of(kind: str, pairs: list[tuple[dict, dict]], slicing: Slicing = SLICING):
    rows, predictions = zip(*pairs, strict=True)
    found = row_slices(kind, rows, predictions, slicing=slicing, resampling=RESAMPLING)
    return {(s.by, s.value): s for s in found}


def test_rows_are_scored_apart_by_what_they_say_they_are_of():
    pairs = labelled(30, package="numpy", words=5, is_right=True)
    pairs += labelled(10, package="scipy", words=5, is_right=True)
    pairs += labelled(10, package="scipy", words=5, is_right=False)
    found = slices_of("classification", pairs)
    assert set(found) == {("package", "numpy"), ("package", "scipy")}
    scipy = found["package", "scipy"]
    assert (scipy.num_rows, scipy.score, scipy.interval.value) == (20, "accuracy", 0.5)
    assert scipy.interval.low < 0.5 < scipy.interval.high
    assert found["package", "numpy"].interval == Interval(1, 1, 1)


def test_a_slice_of_too_few_rows_is_not_scored():
    pairs = labelled(30, package="numpy", words=5, is_right=True)
    pairs += labelled(19, package="tiny", words=5, is_right=False)
    assert set(slices_of("classification", pairs)) == {("package", "numpy")}


def test_lengths_are_divided_into_buckets_of_about_equally_many_rows():
    pairs = [
        pair
        for words in range(1, 41)
        for pair in labelled(2, package="p", words=words, is_right=words <= 20)
    ]
    found = slices_of("classification", pairs)
    short, long = found["length", "1 to 20 words"], found["length", "21 to 40 words"]
    assert (short.num_rows, long.num_rows) == (40, 40)
    assert (short.interval.value, long.interval.value) == (1, 0)


def test_rows_of_one_length_are_no_slice():
    pairs = labelled(40, package="p", words=7, is_right=True)
    assert ("length", "7 to 7 words") not in slices_of("classification", pairs)


def test_each_row_is_in_one_length_bucket():
    lengths = np.random.default_rng(0).integers(1, 100, size=200)
    pairs = [labelled(1, package="p", words=int(n), is_right=True)[0] for n in lengths]
    found = slices_of("classification", pairs, Slicing(min_rows=1, num_length_buckets=5))
    assert sum(s.num_rows for s in found.values() if s.by == "length") == 200


def test_entities_are_scored_by_exact_span_and_type_in_each_slice():
    right = (tagged("B-class I-class O", slices={"package": "flask"}), tagging("B-class I-class O"))
    wrong = (tagged("B-class O O", slices={"package": "flask"}), tagging("B-function O O"))
    found = slices_of("entities", [right] * 15 + [wrong] * 5)["package", "flask"]
    assert found.score == "entity_f1"
    assert found.interval.value == pytest.approx(15 / 20)


def test_a_slice_without_any_entity_has_no_score():
    row = (tagged("O O", slices={"package": "none"}), tagging("O O"))
    assert slices_of("entities", [row] * 25) == {}


def test_classes_with_enough_true_rows_are_slices_of_their_f1():
    scores = {"f1/a": Interval(0.5, 0.4, 0.6), "f1/b": Interval(0.1, 0, 0.2)}
    (found,) = class_slices("entities", {"a": 20, "b": 19, "c": 90}, scores, slicing=SLICING)
    assert (found.name, found.score, found.num_rows) == ("class `a`", "type_f1", 20)


def test_the_worst_slice_is_the_one_whose_interval_reaches_lowest():
    wide = Slice("package", "wide", 60, "accuracy", Interval(0.5, 0.1, 0.9))
    narrow = Slice("package", "narrow", 900, "accuracy", Interval(0.4, 0.3, 0.5))
    assert worst([narrow, wide], score="accuracy", min_rows=50) is wide
    assert worst([narrow, wide], score="accuracy", min_rows=61) is narrow
    assert worst([narrow, wide], score="class_f1", min_rows=1) is None


def test_a_text_in_a_script_without_spaces_has_as_many_words_as_characters():
    assert num_words("classification", {"text": "\u4eca\u65e5\u306f"}) == 3
    assert num_words("entities", {"tokens": ["a", "b"]}) == 2
