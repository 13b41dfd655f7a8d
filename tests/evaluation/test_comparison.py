import pytest

from vertiform.evaluation.bootstrap import Interval
from vertiform.evaluation.comparison import (
    ComparedRun,
    differing_facts,
    has_best,
    labels,
    metric_rows,
    num_alike,
    said_of_intervals,
)

F1 = "test/f1_macro"


def a_run(name="a", *, lr="0.001", score=None, rows="rows", **metrics):
    intervals = {} if score is None else {F1: Interval(*score)}
    return ComparedRun(
        id=f"id of {name}",
        name=name,
        kind="start",
        state="finished",
        started_ms=0,
        seconds=1.0,
        facts={"configuration": {"optimizer.lr": lr, "seed": "1"}, "code": {"commit": "c0ffee"}},
        metrics=metrics | ({F1: score[0]} if score else {}),
        intervals=intervals,
        rows_sha256=rows,
    )


def test_only_what_differs_is_left_and_what_one_lacks_differs():
    one, other = a_run(), a_run(lr="0.01")
    other.facts["code"]["uncommitted changes"] = "true"
    rows = differing_facts([one, other])
    assert [(row.name, row.values) for row in rows] == [
        ("optimizer.lr", ("0.001", "0.01")),
        ("uncommitted changes", (None, "true")),
    ]
    assert num_alike([one, other]) == 2


def test_a_metric_is_shown_with_its_interval_where_it_is_known():
    rows = metric_rows([a_run(score=(0.534, 0.513, 0.554)), a_run(**{F1: 0.5, "train/loss": 2.0})])
    assert rows[0].values == ("0.534 (0.513 to 0.554)", "0.500")
    assert [row.name for row in rows] == [F1, "train/loss"]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ((0.52, 0.50, 0.54), "b 0.520 (0.500 to 0.540) is within its interval: not told apart."),
        ((0.40, 0.38, 0.42), "b 0.400 (0.380 to 0.420) is below it, outside the intervals."),
    ],
)
def test_it_is_said_whether_intervals_tell_runs_apart(second, said):
    (line,) = said_of_intervals([a_run("b", score=second), a_run("a", score=(0.53, 0.51, 0.55))])
    assert line == f"{F1}: a 0.530 (0.510 to 0.550) is best; {said}"


def test_of_three_runs_some_may_be_within_and_some_outside():
    scores = {"a": (0.5, 0.4, 0.6), "b": (0.45, 0.35, 0.55), "c": (0.2, 0.1, 0.3)}
    (line,) = said_of_intervals([a_run(name, score=score) for name, score in scores.items()])
    assert "b 0.450 (0.350 to 0.550) is within its interval, c 0.200" in line


def test_runs_tested_on_other_rows_are_not_compared():
    scored = (0.5, 0.4, 0.6)
    (line,) = said_of_intervals([a_run(score=scored), a_run("b", score=scored, rows="others")])
    assert "only runs tested on the same rows are compared" in line


def test_runs_of_one_name_are_told_apart_by_their_ids():
    assert labels([a_run("a"), a_run("a"), a_run("b")]) == ["a (id of a)", "a (id of a)", "b"]


def test_a_step_size_has_no_best():
    assert has_best("val/f1_macro")
    assert has_best("train/loss_nats")
    assert not has_best("train/learning_rate")
    assert not has_best("system/memory_bytes")
