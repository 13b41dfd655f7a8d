import pytest

from vertiform.errors import ConfigError
from vertiform.training.budget import LENGTHS, Budget


def never() -> float:
    raise AssertionError("measured without need")


@pytest.mark.parametrize(
    ("length", "measured", "steps"),
    [
        ({"total_steps": 7}, {}, 7),
        ({"total_tokens": 100}, {}, 4),  # of 32 tokens, rounded up
        ({"total_flops": 1e6}, {"flops_per_step": lambda: 3e5}, 4),
        ({"total_hours": 1.0}, {"seconds_per_step": lambda: 7.0}, 514),  # rounded down
        ({"total_hours": 1e-6}, {"seconds_per_step": lambda: 7.0}, 1),
    ],
)
def test_each_length_becomes_steps_and_only_what_it_needs_is_measured(length, measured, steps):
    budget = Budget(**length, validate_every_steps=1)
    ways = {"flops_per_step": never, "seconds_per_step": never, **measured}
    assert budget.steps(tokens_per_step=32, **ways) == steps


@pytest.mark.parametrize("given", [(), ("total_steps", "total_hours"), LENGTHS])
def test_a_budget_with_no_length_or_several_is_refused(given):
    names = " and ".join(f"budget.{name}" for name in given) or "none"
    with pytest.raises(ConfigError, match=f"has {names}\\.\n.*set the others to null"):
        Budget(**dict.fromkeys(given, 1), validate_every_steps=1)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_length_of_nothing_is_refused(length):
    with pytest.raises(ConfigError, match=rf"budget\.{length} and .* must be more than 0"):
        Budget(**{length: 0}, validate_every_steps=1)
    with pytest.raises(ConfigError, match=r"budget\.validate_every_steps must be more than 0"):
        Budget(**{length: 1}, validate_every_steps=0)
