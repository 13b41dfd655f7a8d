import time

import numpy as np
import pytest

from vertiform.evaluation.bootstrap import (
    DifferenceInterval,
    Resampling,
    differences,
    draw,
    intervals,
)
from vertiform.evaluation.scores import classification_measure


def measure_of(rows: int, *, classes: int, seed: int):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, rows)
    probabilities = generator.dirichlet(np.ones(classes), rows)
    probabilities[np.arange(rows), truth] += 0.2
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return classification_measure(truth, probabilities, labels=[f"c{i}" for i in range(classes)])


def mean_measure(values: np.ndarray):
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


SMALL = Resampling(seed=1, resamples=200, confidence=0.95)


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_holds_its_score(seed):
    measure = measure_of(80, classes=4, seed=seed)
    found = intervals(draw(measure, rows=80, resampling=SMALL))
    assert len(found) == 6 + 4 * 4
    assert all(i.low <= i.value <= i.high for i in found.values())


def test_the_interval_of_a_mean_is_the_one_of_the_central_limit_theorem():
    values = np.random.default_rng(0).normal(size=400)
    resampling = Resampling(seed=0, resamples=4000, confidence=0.95)
    interval = intervals(draw(mean_measure(values), rows=400, resampling=resampling))["mean"]
    half_width = 1.96 * values.std() / np.sqrt(400)
    # 4,000 resamples know a 2.5% percentile to about 3% of the half width.
    assert interval.high - interval.value == pytest.approx(half_width, rel=0.1)
    assert interval.value - interval.low == pytest.approx(half_width, rel=0.1)


def test_about_nineteen_in_twenty_intervals_hold_the_truth():
    generator = np.random.default_rng(5)
    held = 0
    for seed in range(200):
        values = (generator.random(100) < 0.7).astype(float)
        resampling = Resampling(seed=seed, resamples=200, confidence=0.95)
        interval = intervals(draw(mean_measure(values), rows=100, resampling=resampling))["mean"]
        held += interval.low <= 0.7 <= interval.high
    assert 180 <= held <= 198  # 190 expected, standard deviation 3


def test_a_system_differs_from_itself_by_exactly_nothing():
    resampling = Resampling(seed=1, resamples=50, confidence=0.9)
    one, two = (
        draw(measure_of(50, classes=3, seed=7), rows=50, resampling=resampling) for _ in range(2)
    )
    found = differences(one, two)
    assert len(found) == 6 + 3 * 4
    assert set(found.values()) == {DifferenceInterval(0.0, 0.0, 0.0, 0.9)}


def test_a_difference_is_that_of_the_scores_and_turned_round_changes_its_sign_alone():
    one, two = (
        draw(measure_of(50, classes=3, seed=seed), rows=50, resampling=SMALL) for seed in (7, 8)
    )
    there, back = differences(one, two), differences(two, one)
    for name, difference in there.items():
        assert difference.value == one.points[name] - two.points[name]
        turned = back[name]
        assert (turned.value, turned.low, turned.high) == pytest.approx(
            (-difference.value, -difference.high, -difference.low), abs=1e-12
        )


def test_pairing_makes_a_difference_surer_than_its_parts():
    values = np.random.default_rng(0).normal(size=200)
    one, two = (draw(mean_measure(v), rows=200, resampling=SMALL) for v in (values, values + 0.01))
    difference = differences(two, one)["mean"]
    assert difference.low > 0
    assert difference.high - difference.low < 1e-9
    assert intervals(one)["mean"].high - intervals(one)["mean"].low > 0.1


def test_only_one_resampling_pairs_two_systems():
    one, two = (
        draw(mean_measure(np.ones(5)), rows=5, resampling=Resampling(seed, 20, 0.95))
        for seed in (1, 2)
    )
    with pytest.raises(AssertionError, match="only one Resampling"):
        differences(one, two)


def test_one_seed_draws_the_same_rows_and_another_seed_others():
    measure = measure_of(50, classes=3, seed=0)
    draws = [
        draw(measure, rows=50, resampling=Resampling(seed, 20, 0.95)).samples["accuracy"]
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_resamples_past_one_block_are_drawn_too(monkeypatch):
    measure = mean_measure(np.arange(10.0))
    whole = draw(measure, rows=10, resampling=Resampling(3, 25, 0.95)).samples["mean"]
    monkeypatch.setattr("vertiform.evaluation.bootstrap._BLOCK_ELEMENTS", 40)
    blocks = draw(measure, rows=10, resampling=Resampling(3, 25, 0.95)).samples["mean"]
    assert len(whole) == 25
    assert np.array_equal(whole, blocks)


def test_a_score_that_the_rows_or_all_resamples_do_not_define_is_left_out():
    def only_whole(weights):  # defined for the rows as they are, for no resample of them
        is_whole = (weights == 1).all(axis=1)
        never = np.full(len(weights), np.nan)
        return {"never": never, "whole": np.where(is_whole, 1.0, np.nan)}

    drawn = draw(only_whole, rows=9, resampling=SMALL)
    assert drawn.points == {"whole": 1.0}
    assert intervals(drawn) == {}
    assert differences(drawn, drawn) == {}


def test_a_thousand_resamples_of_3000_rows_and_16_classes_take_about_a_second():
    measure = measure_of(3000, classes=16, seed=0)
    started = time.process_time()
    draw(measure, rows=3000, resampling=Resampling(0, 1000, 0.95))
    assert time.process_time() - started < 3  # 0.5 s alone; the machine may be shared
