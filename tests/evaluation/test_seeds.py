import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vertiform.evaluation.seeds import SeedDifference, difference, is_noise, of_seeds

scores = st.floats(-1e3, 1e3).map(lambda value: round(value, 4))
runs = st.lists(scores, min_size=2, max_size=6).filter(lambda values: len(set(values)) > 1)


@given(runs)
def test_the_interval_of_a_mean_is_students(values):
    found = of_seeds(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(
        (expected.low, expected.high), rel=1e-6, abs=1e-9
    )
    assert found.low < found.mean < found.high


@given(runs, runs)
def test_the_interval_of_a_difference_is_welchs(values, others):
    found = difference(values, others)
    expected = stats.ttest_ind(values, others, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(
        (expected.low, expected.high), rel=1e-6, abs=1e-9
    )


@given(runs, runs)
def test_the_other_way_round_a_difference_is_its_negative(values, others):
    one, other = difference(values, others), difference(others, values)
    mirrored = (-other.value, -other.high, -other.low)
    assert (one.value, one.low, one.high) == pytest.approx(mirrored, abs=1e-9)


def test_three_seeds_give_an_interval_of_four_standard_errors_to_each_side():
    found = of_seeds([0.70, 0.72, 0.74])
    assert found.mean == pytest.approx(0.72)
    assert found.high - found.mean == pytest.approx(4.303 * 0.02 / np.sqrt(3), rel=1e-3)


def test_more_confidence_is_a_wider_interval():
    narrow, wide = (of_seeds([0.70, 0.72, 0.74], confidence=c) for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("values", [[0.7], [0.7, 0.7, 0.7]], ids=["one seed", "no spread"])
def test_runs_that_do_not_say_how_much_a_seed_moves_the_score_have_no_interval(values):
    found = of_seeds(values)
    assert (found.mean, found.low, found.high) == (pytest.approx(0.7), None, None)


@pytest.mark.parametrize(
    ("values", "others"),
    [([0.9], [0.7, 0.71]), ([0.9, 0.91], [0.7]), ([0.9, 0.9], [0.7, 0.7])],
    ids=["one run", "one other run", "no spread on either side"],
)
def test_a_difference_without_an_interval_is_not_shown_to_be_more_than_noise(values, others):
    found = difference(values, others)
    assert (found.low, found.high) == (None, None)
    assert found.value == pytest.approx(0.2, abs=0.01)
    assert is_noise(found)


def test_one_side_without_spread_leaves_the_others_degrees_of_freedom():
    found = difference([0.9, 0.9, 0.9], [0.70, 0.72, 0.74])
    alone = of_seeds([0.70, 0.72, 0.74])
    assert found.high - found.value == pytest.approx(alone.high - alone.mean)


def test_spreads_too_small_to_square_still_give_an_interval():
    found = difference([1e-160, 3e-160], [2e-160, 7e-160])
    assert found.low is not None
    assert np.isfinite([found.low, found.high]).all()


def test_a_difference_is_noise_where_its_interval_holds_zero():
    assert is_noise(SeedDifference(0.1, -0.01, 0.21, 0.95))
    assert is_noise(SeedDifference(0.1, 0.0, 0.2, 0.95))
    assert not is_noise(SeedDifference(0.1, 0.01, 0.19, 0.95))
    assert not is_noise(SeedDifference(-0.1, -0.19, -0.01, 0.95))


def test_about_one_in_twenty_differences_of_nothing_is_taken_for_something():
    draws = np.random.default_rng(3).normal(0.7, [[0.01], [0.03]], size=(2_000, 2, 3))
    wrong = sum(not is_noise(difference(list(a), list(b))) for a, b in draws)
    # Welch's interval errs to the careful side for three runs a side of unequal spread.
    assert 0.02 < wrong / 2_000 < 0.065
