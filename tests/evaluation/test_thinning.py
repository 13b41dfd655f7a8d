import numpy as np
from hypothesis import given, seed, settings
from hypothesis import strategies as some

from vertiform.evaluation.thinning import Curve, bucket_means, one_value_a_step, thin

numbers = some.lists(some.floats(width=32), min_size=1, max_size=400)


def curve_of(values, steps=None):
    steps = np.arange(len(values)) if steps is None else steps
    seconds = np.arange(len(values), dtype=np.float64)
    return Curve(np.asarray(steps, np.float64), seconds, np.asarray(values, np.float64))


@seed(20260801)
@settings(max_examples=200, deadline=None)
@given(values=numbers, max_points=some.integers(5, 60))
def test_a_thinned_curve_keeps_its_ends_its_extremes_and_that_it_had_gaps(values, max_points):
    curve = curve_of(values)
    thinned = thin(curve, max_points=max_points)
    assert len(thinned) <= max_points
    assert set(thinned.steps) <= set(curve.steps)
    assert (np.diff(thinned.steps) > 0).all()
    assert thinned.steps[[0, -1]].tolist() == curve.steps[[0, -1]].tolist()
    finite = curve.values[np.isfinite(curve.values)]
    kept = thinned.values[np.isfinite(thinned.values)]
    if len(finite):
        assert (kept.min(), kept.max()) == (finite.min(), finite.max())
    assert np.isfinite(curve.values).all() == np.isfinite(thinned.values).all()


def test_a_spike_of_one_step_among_a_million_stays():
    values = np.zeros(1_000_000)
    values[123_456] = 9.0
    assert thin(curve_of(values), max_points=100).values.max() == 9.0


def test_a_bucket_means_what_its_points_mean_and_a_spike_weighs_as_one_point():
    values = np.ones(1000)
    values[500] = 101.0
    means = bucket_means(curve_of(values), max_points=10)
    assert len(means) == 10
    assert means.values.max() == 2.0  # one of a hundred
    assert means.values.mean() == values.mean()


def test_of_several_values_at_one_step_the_latest_stands():
    curve = Curve(np.array([2.0, 1.0, 2.0]), np.array([2.0, 1.0, 9.0]), np.array([0.2, 0.1, 0.9]))
    once = one_value_a_step(curve)
    assert (once.steps.tolist(), once.values.tolist()) == ([1.0, 2.0], [0.1, 0.9])


def test_an_empty_curve_stays_empty():
    assert len(one_value_a_step(curve_of([]))) == 0
