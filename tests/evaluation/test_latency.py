import pytest

from tests.evaluation.examples import RESAMPLING
from vertiform.evaluation.latency import p95_interval


def test_the_p95_is_the_time_that_19_of_20_requests_stay_within():
    found = p95_interval([float(n) for n in range(20, 0, -1)], resampling=RESAMPLING)
    assert found.value == 19


def test_one_slow_request_in_a_hundred_does_not_move_it_and_ten_do():
    fast = [10.0] * 99
    assert p95_interval([*fast, 900.0], resampling=RESAMPLING).value == 10
    assert p95_interval([*fast[:90], *[900.0] * 10], resampling=RESAMPLING).value == 900


def test_its_interval_holds_it_and_is_the_same_again():
    times = [float(n % 37) for n in range(200)]
    found = p95_interval(times, resampling=RESAMPLING)
    assert found.low <= found.value <= found.high
    assert found == p95_interval(times, resampling=RESAMPLING)


def test_requests_that_all_take_as_long_have_no_width():
    found = p95_interval([5.0] * 50, resampling=RESAMPLING)
    assert (found.low, found.high) == (pytest.approx(5), pytest.approx(5))
