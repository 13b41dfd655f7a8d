import time

import numpy as np
import pytest

from vertiform.evaluation.bootstrap import (
    Resampling,
    differences,
    intervals,
    point_values,
    resampled_values,
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
    samples = resampled_values(measure, rows=80, resampling=SMALL)
    found = intervals(point_values(measure, rows=80), samples, confidence=0.95)
    assert len(found) == 6 + 4 * 4
    assert all(i.low <= i.value <= i.high for i in found.values())


def test_the_interval_of_a_mean_is_the_one_of_the_central_limit_theorem():
    values = np.random.default_rng(0).normal(size=400)
    resampling = Resampling(seed=0, resamples=4000, confidence=0.95)
    samples = resampled_values(mean_measure(values), rows=400, resampling=resampling)
    interval = intervals({"mean": values.mean()}, samples, confidence=0.95)["mean"]
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
        samples = resampled_values(mean_measure(values), rows=100, resampling=resampling)
        interval = intervals({"mean": values.mean()}, samples, confidence=0.95)["mean"]
        held += interval.low <= 0.7 <= interval.high
    assert 180 <= held <= 198  # 190 expected, standard deviation 3


def test_a_system_differs_from_itself_by_exactly_nothing():
    samples = [
        resampled_values(measure_of(50, classes=3, seed=7), rows=50, resampling=SMALL)
        for _ in range(2)
    ]
    found = differences(*samples, confidence=0.9)
    assert {(d.mean, d.low, d.high, d.confidence) for d in found.values()} == {(0, 0, 0, 0.9)}


def test_a_difference_turned_round_changes_its_sign_alone():
    one = resampled_values(measure_of(50, classes=3, seed=7), rows=50, resampling=SMALL)
    two = resampled_values(measure_of(50, classes=3, seed=8), rows=50, resampling=SMALL)
    there, back = (differences(*pair, confidence=0.95) for pair in ((one, two), (two, one)))
    for name, difference in there.items():
        assert back[name].mean == -difference.mean
        assert (back[name].low, back[name].high) == pytest.approx(
            (-difference.high, -difference.low), abs=1e-12
        )


def test_pairing_makes_a_difference_surer_than_its_parts():
    values = np.random.default_rng(0).normal(size=200)
    one, two = (
        resampled_values(mean_measure(v), rows=200, resampling=SMALL)
        for v in (values, values + 0.01)
    )
    difference = differences(two, one, confidence=0.95)["mean"]
    assert difference.low > 0
    assert difference.high - difference.low < 1e-9


def test_one_seed_draws_the_same_rows_and_another_seed_others():
    measure = measure_of(50, classes=3, seed=0)
    draws = [
        resampled_values(measure, rows=50, resampling=Resampling(seed, 20, 0.95))["accuracy"]
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_resamples_past_one_block_are_drawn_too(monkeypatch):
    measure = mean_measure(np.arange(10.0))
    whole = resampled_values(measure, rows=10, resampling=Resampling(3, 25, 0.95))["mean"]
    monkeypatch.setattr("vertiform.evaluation.bootstrap._BLOCK_ELEMENTS", 40)
    blocks = resampled_values(measure, rows=10, resampling=Resampling(3, 25, 0.95))["mean"]
    assert np.array_equal(whole, blocks)


def test_a_score_that_no_resample_defines_has_no_difference():
    undefined = {"auc": np.full(5, np.nan)}
    assert differences(undefined, undefined, confidence=0.95) == {}


def test_a_thousand_resamples_of_3000_rows_and_16_classes_take_about_a_second():
    measure = measure_of(3000, classes=16, seed=0)
    started = time.process_time()
    resampled_values(measure, rows=3000, resampling=Resampling(0, 1000, 0.95))
    assert time.process_time() - started < 3  # 0.5 s alone; the machine may be shared
