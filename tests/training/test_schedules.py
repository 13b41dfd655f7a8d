from itertools import pairwise

import pytest

from vertiform.errors import ConfigError
from vertiform.training.schedules import WarmupCosine, WarmupLinear

KINDS = [WarmupCosine, WarmupLinear]


@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_rises_to_1_falls_to_its_end_and_is_never_0_before(kind):
    schedule = kind(warmup_fraction=0.1, final_lr_fraction=0.1)
    factors = [schedule.factor(step, total_steps=100) for step in range(100)]
    assert all(a < b for a, b in pairwise(factors[:11]))
    assert factors[10] == 1.0
    assert all(a > b for a, b in pairwise(factors[10:]))
    assert factors[-1] == pytest.approx(0.1)
    assert min(factors) > 0


def test_halfway_down_a_cosine_and_a_line_agree():
    cosine, line = (kind(warmup_fraction=0, final_lr_fraction=0) for kind in KINDS)
    assert cosine.factor(50, total_steps=101) == pytest.approx(0.5)
    assert line.factor(50, total_steps=101) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_one_step_takes_it_at_the_full_rate(kind):
    schedule = kind(warmup_fraction=0.1, final_lr_fraction=0.0)
    assert schedule.factor(0, total_steps=1) == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_fraction_that_is_none_is_refused(kind):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        kind(warmup_fraction=6, final_lr_fraction=0.1)
