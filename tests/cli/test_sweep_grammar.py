"""Sweeps in Hydra's grammar as dimensions, beside what Hydra's own parser makes of them."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from vertiform.cli.sweep_grammar import dimension_of, parsed
from vertiform.errors import ConfigError
from vertiform.sweeps.dimensions import Choice, Float, Int

ROOT = Path(__file__).parents[2]

numbers = st.integers(-50, 50) | st.floats(-50, 50).map(lambda number: round(number, 3))
options = st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
words = st.from_regex(r"[a-z][a-z0-9_/:@-]{0,8}", fullmatch=True).filter(
    lambda word: word not in ("true", "false", "null", "nan", "inf")
)


@pytest.fixture(autouse=True, scope="module")
def at_the_root():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield


def dimension(text: str):
    return dimension_of(parsed(text))


def hydras(text: str) -> list:
    """The values that Hydra itself would run, one after the other."""
    return list(OverridesParser.create().parse_override(text).sweep_iterator())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(start=numbers, stop=numbers, step=numbers.filter(lambda step: abs(step) > 0.2))
def test_a_range_has_the_values_that_hydra_lists(start, stop, step):
    text = f"k=range({start},{stop},{step})"
    listed = sorted(hydras(text))
    if len(listed) < 2:
        with pytest.raises(ConfigError, match=r"is empty|has one value"):
            dimension(text)
    else:
        assert dimension(text).options_or_none() == pytest.approx(listed, abs=1e-9)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(named=st.lists(options | words, min_size=2, max_size=5, unique_by=lambda o: (o,)))
def test_a_choice_has_the_options_that_hydra_lists(named):
    written = ",".join(str(option) for option in named)
    for text in (f"k=choice({written})", f"k={written}"):
        listed = hydras(text)
        assert dimension(text) == Choice("k", tuple(listed))
        assert [type(option) for option in dimension(text).options] == [*map(type, listed)]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(low=numbers, high=numbers)
def test_an_interval_has_the_ends_that_hydra_reads(low, high):
    read = OverridesParser.create().parse_override(f"k=interval({low},{high})").value()
    if low < high:
        assert dimension(f"k=interval({low},{high})") == Float("k", read.start, read.end)
    else:
        with pytest.raises(ConfigError, match=r"is empty: .* is not below"):
            dimension(f"k=interval({low},{high})")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("k=tag(log, interval(1e-5, 1e-2))", Float("k", 1e-5, 1e-2, is_log=True)),
        ("k=int(interval(1, 8))", Int("k", 1, 8)),
        ("k=tag(log, int(interval(8, 64)))", Int("k", 8, 64, is_log=True)),
        ("k=tag(log, range(1, 9))", Int("k", 1, 8, is_log=True)),
        ("k=range(1, 10, 2)", Int("k", 1, 9, step=2)),
        ("k=range(10, 0, -3)", Int("k", 1, 10, step=3)),
        ("k=range(4)", Int("k", 0, 3)),
        ("k=range(0.1, 0.45, 0.1)", Float("k", 0.1, 0.4, step=0.1)),
        ("k=float(range(1, 4))", Float("k", 1.0, 3.0, step=1.0)),
        ("k=null, 0.15", Choice("k", (None, 0.15))),
        ("k=choice(true, 'no', \"a b\")", Choice("k", (True, "no", "a b"))),
        ("k=sort(3, 1, 2)", Choice("k", (1, 2, 3))),
        ("optimizer=glob(*)", Choice("optimizer", ("adamw", "muon"))),
        (
            "start@starts.domain=glob([d*,s*])",
            Choice("start@starts.domain", ("domain", "scratch")),
        ),
    ],
)
def test_a_sweep_is_the_dimension_that_it_says(text, meant):
    assert dimension(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("k=intervall(1, 2)", r"does not have(.|\n)*did you mean `interval`"),
        ("k=interval(1)", r"is not in Hydra's grammar(.|\n)*write interval"),
        ("k=[1", r"is not in Hydra's grammar"),
        ("k=5", r"is one value(.|\n)*as an override"),
        ("k=", r"is one value"),
        ("k=[a,b]", r"is one value"),
        ("k=choice()", r"is empty"),
        ("k=choice(a)", r"has one value, a"),
        ("k=choice(a, b, a)", r"has the option a twice"),
        ("k=choice(1, 1.0)", r"has the option 1 twice"),
        ("k=choice([1], [2])", r"plain values alone"),
        ("k=choice(${seed}, 2)", r"plain values alone"),
        ("k=choice(1.0, inf)", r"not finite"),
        ("k=range(5, 5)", r"is empty"),
        ("k=range(1, 2, 0)", r"never ends"),
        ("k=range(0, inf, 0.5)", r"never ends"),
        ("k=range(0, 1, 0.00001)", r"over 10,000 values(.|\n)*write interval"),
        ("k=interval(0.2, 0.1)", r"is empty(.|\n)*write interval\(0.1, 0.2\)"),
        ("k=interval(1, 1)", r"is empty(.|\n)*give k=1 as an override"),
        ("k=interval(0, inf)", r"not finite"),
        ("k=tag(log, interval(0, 1))", r"starts a log scale at 0"),
        ("k=tag(log, range(-1, 3))", r"starts a log scale at -1"),
        ("k=tag(log, range(1, 9, 2))", r"steps on a log scale"),
        ("k=tag(log, range(1.0, 9.0))", r"steps on a log scale"),
        ("k=tag(log, choice(1, 2))", r"a choice has no scale"),
        ("k=tag(lgo, interval(1, 2))", r"the tag `lgo`(.|\n)*did you mean `log`"),
        ("k=shuffle(choice(1, 2))", r"shuffles"),
        ("k=shuffle(range(1, 4))", r"shuffles"),
        ("k=glob(*)", r"conf/ has no group `k`"),
        ("+k=1,2", r"does not have(.|\n)*\+k=..."),
    ],
)
def test_what_is_wrong_with_a_sweep_is_said_with_what_to_do(text, said):
    with pytest.raises(ConfigError, match=said):
        dimension(text)
