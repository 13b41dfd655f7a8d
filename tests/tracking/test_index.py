"""The index of runs, against real stores: it says what MLflow says, whatever happened between."""

import logging
import math
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as some

from tests.tracking.examples import a_run
from vertiform.errors import ConfigError, StorageError
from vertiform.evaluation.names import is_lower_better
from vertiform.tracking import index_refresh
from vertiform.tracking.index import Answers, Question, ask, find, mark_changed
from vertiform.tracking.index_changes import changes_of
from vertiform.tracking.index_file import (
    RunRecord,
    create_tables,
    opened,
    place_of,
    transaction,
    write_runs,
)
from vertiform.tracking.index_lock import refresh_lock
from vertiform.tracking.index_refresh import refresh
from vertiform.tracking.runs import reopened_run

F1 = "test/f1_macro"


def only_notes_count(monkeypatch):
    """From here on no run is new by its time, as if all had been seen long ago."""
    monkeypatch.setattr(index_refresh, "SLACK_MS", -3_600_000)


def scored(store, score, name="area", **config):
    """A run that has ended, with one score."""
    with a_run(store, name, config=config) as run:
        run.log_metrics({F1: score})
    return run.id


def best(store, *where, **options):
    return [run.id for run in find(store, Question(sort=F1, where=where), **options)]


def test_the_best_come_first_and_nan_last(store):
    low, nan, high = scored(store, 0.1), scored(store, math.nan), scored(store, 0.9)
    with a_run(store):
        pass  # has no score, so it has no place in the order
    assert best(store) == [high, low, nan]


def test_of_a_loss_the_lowest_comes_first_and_nan_last(store):
    ids = {}
    for value in (2.0, math.nan, 1.0, math.inf):
        with a_run(store) as run:
            run.log_metrics({"val/nats_per_token/general": value})
        ids[str(value)] = run.id
    found = find(store, Question(sort="val/nats_per_token/general"))
    assert [run.id for run in found] == [ids[value] for value in ("1.0", "2.0", "inf", "nan")]
    (infinite,) = ask(store, lambda answers: answers.named(ids["inf"]))
    assert ask(store, lambda answers: answers.everything(infinite))["metrics"] == {
        "val/nats_per_token/general": math.inf
    }


def test_a_run_that_goes_on_is_seen_anew_at_each_question(store):
    with a_run(store) as run:
        _ = run.id
        assert [found.state for found in find(store, Question())] == ["running"]
        store.client.log_metric(run.id, F1, 0.5)
        assert best(store) == [run.id]
    assert [found.state for found in find(store, Question())] == ["finished"]


def test_scores_added_after_the_end_are_seen_where_they_were_noted(store, monkeypatch):
    runs = [scored(store, value) for value in (0.8, 0.5)]
    assert best(store) == runs
    only_notes_count(monkeypatch)
    with reopened_run(store, runs[1]) as run:
        run.log_metrics({F1: 0.9})
    mark_changed(store, runs[1])
    assert best(store) == [runs[1], runs[0]]


def test_a_change_that_nobody_noted_is_seen_in_what_is_shown(store, monkeypatch):
    runs = [scored(store, value) for value in (0.8, 0.5)]
    best(store)
    only_notes_count(monkeypatch)
    store.client.log_metric(runs[0], F1, 0.1, step=1)
    assert best(store) == [runs[1], runs[0]]


def test_deleted_runs_disappear_and_come_back_by_a_rebuild(store, monkeypatch):
    kept, deleted = scored(store, 0.5), scored(store, 0.8)
    assert best(store) == [deleted, kept]
    only_notes_count(monkeypatch)
    store.client.delete_run(deleted)
    assert best(store) == [kept]
    store.client.restore_run(deleted)
    assert best(store, rebuild=True) == [deleted, kept]


def test_runs_of_a_deleted_experiment_disappear_and_come_back_with_it(store, monkeypatch):
    kept = scored(store, 0.5)
    with a_run(store, experiment="other") as run:
        run.log_metrics({F1: 0.8})
    assert best(store) == [run.id, kept]
    only_notes_count(monkeypatch)
    experiment = store.experiment_id("other")
    store.client.delete_experiment(experiment)
    assert ask(store, lambda answers: answers.count()) == 1
    store.client.restore_experiment(experiment)
    assert best(store) == [run.id, kept]


def test_a_run_whose_clock_is_behind_is_seen_within_the_slack(store):
    scored(store, 0.5)
    assert len(best(store)) == 1
    behind_ms = time.time_ns() // 1_000_000 - index_refresh.SLACK_MS // 2
    late = store.client.create_run(store.experiment_id("software"), start_time=behind_ms)
    store.client.log_metric(late.info.run_id, F1, 0.9)
    store.client.set_terminated(late.info.run_id, end_time=behind_ms + 1)
    assert best(store)[0] == late.info.run_id


def test_a_clock_that_went_back_builds_the_index_anew(store, caplog):
    run = scored(store, 0.5)
    best(store)
    with closing(sqlite3.connect(place_of(store))) as index, index:
        index.execute("UPDATE meta SET value = value + 3600000 WHERE name = 'refreshed_ms'")
    assert best(store) == [run]
    assert "The clock went back" in caplog.text


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(b"not a database, but long enough" * 500), "is damaged"),
        (lambda file: overwrite(file, at=4096), "is damaged"),
        (lambda file: set_format(file, "0"), "is of format 0"),
        (lambda file: drop(file, "metrics"), "is damaged"),
    ],
    ids=["other bytes", "a page overwritten", "another format", "a table gone"],
)
def test_an_index_that_cannot_be_used_is_built_anew_and_a_line_says_so(store, caplog, damage, said):
    run = scored(store, 0.5)
    best(store)
    damage(place_of(store))
    assert best(store) == [run]
    assert said in caplog.text
    assert caplog.text.count("building it anew") == 1


def test_what_was_read_before_a_kill_is_not_read_again(store, monkeypatch):
    runs = [scored(store, value) for value in (0.1, 0.2, 0.3, 0.4)]
    monkeypatch.setattr(index_refresh, "RUNS_PER_PAGE", 2)
    calls = []
    search = store.client.search_runs

    def killed_at_the_third(*arguments, **options):
        calls.append(options)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return search(*arguments, **options)

    monkeypatch.setattr(store.client, "search_runs", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        refresh(store, place_of(store))
    with opened(place_of(store)) as index:
        assert Answers(index).count() == 3
    assert best(store) == runs[::-1]
    assert "start_time >= 0" not in calls[3]["filter_string"]


def test_a_thousand_runs_of_one_millisecond_are_all_read(store, monkeypatch):
    monkeypatch.setattr(index_refresh, "RUNS_PER_PAGE", 3)
    experiment = store.experiment_id("software")
    times = [1000] * 2 + [2000] * 8 + [3000] * 2
    for started_ms in times:
        store.client.create_run(experiment, start_time=started_ms)
    refresh(store, place_of(store))
    with opened(place_of(store)) as index:
        assert Answers(index).count() == len(times)


def test_a_second_process_waits_a_little_then_answers_from_just_before(store, monkeypatch, caplog):
    monkeypatch.setattr("vertiform.tracking.index_lock.SECONDS_FOR_OTHERS", 0.1)
    caplog.set_level(logging.INFO)
    first = scored(store, 0.5)
    assert best(store) == [first]
    scored(store, 0.9)
    with refresh_lock(place_of(store), patiently=False) as is_ours:
        assert is_ours
        assert best(store) == [first]
    assert "Another process is refreshing" in caplog.text
    assert len(best(store)) == 2


@pytest.mark.slow
def test_processes_that_refresh_at_once_leave_a_whole_index(store):
    runs = [scored(store, number / 10) for number in range(5)]
    code = (
        "import sys; from pathlib import Path; from vertiform.tracking.store import open_store; "
        "from vertiform.tracking.index import Question, find; "
        "store = open_store(sys.argv[1], root=Path('.')); "
        f"[find(store, Question(sort='{F1}'), rebuild=n % 2 == 0) for n in range(4)]; "
        f"print(*[run.id for run in find(store, Question(sort='{F1}'))])"
    )
    command = [sys.executable, "-c", code, store.uri]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0].split() for process in processes]
    assert said == [runs[::-1]] * 3


def test_a_place_that_cannot_be_written_is_named(store):
    blocked = place_of(store)
    blocked.mkdir()
    with pytest.raises(StorageError, match=r"mlflow\.index\.db cannot be written"):
        find(store, Question())


def test_noting_a_change_survives_a_half_written_line(store, monkeypatch):
    runs = [scored(store, value) for value in (0.8, 0.5)]
    best(store)
    only_notes_count(monkeypatch)
    with changes_of(place_of(store)).open("a") as noted:
        noted.write("not a run\n" + runs[0][:7])
    assert best(store) == runs
    with changes_of(place_of(store)).open("a") as noted:
        noted.write(runs[0][7:] + "\n")
    store.client.log_metric(runs[0], F1, 0.1, step=1)
    refresh(store, place_of(store))
    assert ask(store, lambda answers: answers.find(Question(sort=F1)))[0].id == runs[1]


def test_the_index_of_a_server_is_named_without_its_password(store, tmp_path):
    from dataclasses import replace

    one = replace(store, uri="https://ann:secret@tracking.example/")
    other = replace(store, uri="https://tracking.example")
    assert place_of(one, root=tmp_path) == place_of(other, root=tmp_path)
    assert place_of(one, root=tmp_path).parent == tmp_path / "runs" / "index"


@pytest.mark.parametrize(
    ("condition", "number"),
    [
        ("domain=software", 2),
        ("domain!=software", 1),
        ("params.domain=software", 2),
        ("optimizer.lr=1e-3", 1),
        ("optimizer.lr>=0.001", 2),
        (f"{F1}>0.4", 2),
        (f"metrics.{F1} <= 0.4", 1),
        ("name~MINI", 1),
        ("domain~oft", 2),
        ("kind=finetune", 3),
        ("state=finished", 3),
        ("started>2020-01-01", 3),
        ("seconds<3600", 3),
        ("tags.mlflow.source.git.commit=c0ffee", 3),
    ],
)
def test_conditions(store, condition, number):
    scored(store, 0.3, domain="software", optimizer={"lr": 0.001})
    scored(store, 0.5, "area from MiniLM", domain="software", optimizer={"lr": 0.01})
    scored(store, 0.6, domain="biomed", optimizer={"lr": 0.0001})
    assert ask(store, lambda answers: answers.count([condition])) == number


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("domian=software", "did you mean `domain`"),
        ("f1_macro>0.5", f"did you mean `{F1}`"),
        ("domain", "is not a condition"),
        ("seconds>soon", "compared with numbers, and `soon` is none"),
        (f"{F1}~0.5", "is not a text"),
        ("started>yesterday", "is not a time"),
    ],
)
def test_a_condition_that_cannot_be_read_says_why(store, condition, said):
    scored(store, 0.5, domain="software")
    with pytest.raises(ConfigError, match=said):
        ask(store, lambda answers: answers.count([condition]))


def test_a_run_whose_owner_gives_no_sign_is_lost_and_one_of_another_tool_is_not(store):
    experiment = store.experiment_id("software")
    ours = {"vertiform.kind": "pretrain"}
    now = time.time()
    for name, tags in {
        "alive": {**ours, "vertiform.seen": f"{now - 60:.0f}"},
        "lost": {**ours, "vertiform.seen": f"{now - 120:.0f}"},
        "no tool of ours": {},
        "never gave a sign": ours,
    }.items():
        store.client.create_run(experiment, start_time=1000, run_name=name, tags=tags)
    states = {run.name: run.state for run in find(store, Question())}
    assert states == {
        "alive": "running",
        "lost": "lost?",
        "no tool of ours": "running",
        "never gave a sign": "lost?",
    }


def test_runs_are_found_by_the_beginning_of_their_id_and_by_name(store):
    run = scored(store, 0.5, "area [a] from *")
    for reference in (run, run[:6], "area [a] from *"):
        found = ask(store, lambda answers, word=reference: answers.named(word))
        assert [one.id for one in found] == [run]
    assert ask(store, lambda answers: answers.named("area")) == []


def test_children_stand_below_their_parents(store):
    with a_run(store, "three starts") as parent:
        children = []
        for name in ("scratch", "MiniLM"):
            with a_run(store, name, parent=parent) as child:
                children.append(child.id)
    (top,) = find(store, Question(only_top=True))
    assert (top.id, top.num_children) == (parent.id, 2)
    below = ask(store, lambda answers: answers.children([parent.id]))[parent.id]
    assert [run.id for run in below] == children


values = some.one_of(some.none(), some.floats(width=32), some.sampled_from([0.0, 1.0, math.nan]))
runs = some.lists(some.tuples(values, values, some.sampled_from(["a", "b", "1e-3", "0.001"])))


@seed(20260801)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    runs=runs,
    metric=some.sampled_from(["val/f1_macro", "val/loss_nats"]),
    limit=some.one_of(some.none(), some.integers(0, 5)),
    is_reversed=some.booleans(),
    floor=some.one_of(some.none(), some.floats(-1, 1)),
    kind=some.one_of(some.none(), some.sampled_from(["a", "0.001"])),
)
def test_the_index_answers_as_a_look_at_every_run_does(
    tmp_path_factory, runs, metric, limit, is_reversed, floor, kind
):
    records = [record(number, f1, nats, tag) for number, (f1, nats, tag) in enumerate(runs)]
    where = ([] if floor is None else [f"val/f1_macro>{floor!r}"]) + (
        [] if kind is None else [f"data={kind}"]
    )
    question = Question(sort=metric, where=tuple(where), limit=limit, is_reversed=is_reversed)
    file = tmp_path_factory.mktemp("index") / "a.db"
    with opened(file) as index:
        create_tables(index)
        with transaction(index):
            # Every name is known to the index, so that asking for it is no mistake.
            write_runs(index, [record(10**6, 0.0, 0.0, "a")])
            write_runs(index, records)
        index.execute("DELETE FROM metrics WHERE run = 1")
        index.execute("DELETE FROM runs WHERE row = 1")
        index.execute("DELETE FROM facts WHERE run = 1")
        found = [run.id for run in Answers(index).find(question)]
    assert found == by_looking(records, metric, floor, kind, limit, is_reversed)


def by_looking(records, metric, floor, kind, limit, is_reversed):
    kept = [r for r in records if metric in r.metrics]
    if floor is not None:
        kept = [r for r in kept if r.metrics.get("val/f1_macro", math.nan) > floor]
    if kind is not None:
        same = {"0.001", "1e-3"} if kind == "0.001" else {kind}
        kept = [r for r in kept if r.params["data"] in same]
    sign = 1 if is_lower_better(metric) != is_reversed else -1

    def place(r):
        value = r.metrics[metric]
        is_nan = math.isnan(value)
        return (is_nan, 0 if is_nan else sign * value, -r.started_ms, r.run_id)

    return [r.run_id for r in sorted(kept, key=place)][:limit]


def record(number, f1, nats, data):
    metrics = {"val/f1_macro": f1, "val/loss_nats": nats}
    return RunRecord(
        run_id=f"{number:032x}",
        name="area",
        experiment_id="0",
        status="FINISHED",
        started_ms=1000 * (number // 2),  # ties, too
        ended_ms=10**9,
        metrics={name: value for name, value in metrics.items() if value is not None},
        params={"data": data},
        tags={},
    )


def overwrite(file, *, at):
    with file.open("r+b") as damaged:
        damaged.seek(at)
        damaged.write(b"\xff" * 4096 * 6)


def set_format(file, value):
    with closing(sqlite3.connect(file)) as index, index:
        index.execute("UPDATE meta SET value = ? WHERE name = 'format'", [value])


def drop(file, table):
    with closing(sqlite3.connect(file)) as index, index:
        index.execute(f"DROP TABLE {table}")
