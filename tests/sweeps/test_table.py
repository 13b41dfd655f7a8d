import io
import os
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from tests.sweeps.studies import OPENED, pruned_study, study_of_several, trial_of
from vertiform.sweeps import table as module
from vertiform.sweeps.table import Table, Watched, lines_of, log_line, seconds_left

UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
RUNNING, DONE, PRUNED = TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED
WATCHED = Watched(
    title="Sweep", n_trials=20, objectives=("val/f1_macro",), directions=(UP,), opened=OPENED
)
TRIALS = [
    trial_of(0, DONE, 0.7, began=0, lasted=100, optimizer__lr=0.001),
    trial_of(1, PRUNED, 0.4, began=0, lasted=20, optimizer__lr=0.05),
    trial_of(2, DONE, 0.8125, began=100, lasted=60, optimizer__lr=0.0003, budget__epochs=8),
    trial_of(3, TrialState.FAIL, began=20, lasted=20, optimizer__lr=0.09),
    trial_of(4, RUNNING, began=160, heard={50: 0.5, 1200: 0.61}, optimizer__lr=0.0002),
    trial_of(5, RUNNING, began=195, optimizer__lr=0.01, optimizer="muon"),
]


def at(seconds: float):
    return OPENED + timedelta(seconds=seconds)


def lines(trials=TRIALS, *, watched=WATCHED, now=200.0, width=100, height=40):
    return lines_of(trials, watched, now=at(now), width=width, height=height)


class Terminal(io.StringIO):
    """What a terminal shows of what is written: enough of it to see overwriting and clearing."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        rows, row = [""], 0
        for part in re.split(r"(\x1b\[\d*[FKJ]|\n)", self.getvalue()):
            if part == "\n":
                row += 1
                rows += [""] * (row + 1 - len(rows))
            elif part.endswith("F") and part.startswith("\x1b"):
                row -= int(part[2:-1])
                assert row >= 0, "went above what was written"
            elif part == "\x1b[J":
                del rows[row:]
                rows.append("")
            elif part != "\x1b[K" and part:
                rows[row] = part  # we write whole lines alone, each cleared to its end
        return rows


def test_the_table_says_what_is_there_what_is_best_and_what_runs():
    assert lines() == [
        "Sweep: 4 of 20 trials; 2 running, 2 done, 1 pruned, 1 failed; about 6:18 min left",
        "Best:  trial 2, val/f1_macro 0.812; lr 0.0003, epochs 8",
        "trial  runs for   step  val/f1_macro  parameters",
        "-----  --------  -----  ------------  -----------------------",
        "    4      40 s  1,200         0.610  lr 0.0002",
        "    5       5 s      -             -  lr 0.01, optimizer muon",
    ]


def test_no_line_is_wider_than_the_terminal_and_none_is_too_many():
    for width in (10, 40, 79):
        assert max(map(len, lines(width=width))) <= width
    many = [trial_of(n, RUNNING, began=0, optimizer__lr=0.1) for n in range(50)]
    assert len(lines(many, height=24)) == 24
    assert lines(many, height=24)[-1] == "and 31 more that run"
    assert len(lines(many, height=3)) == 3


def test_before_the_first_trial_ends_nothing_is_best_and_the_time_is_not_known():
    waiting = [trial_of(0, TrialState.WAITING, began=None), trial_of(1, RUNNING)]
    assert lines(waiting)[:2] == [
        "Sweep: 0 of 20 trials; 1 running, 0 done, 0 pruned, 0 failed",
        "Best:  none yet",
    ]
    assert seconds_left(waiting, WATCHED, now=at(10)) is None
    assert lines([])[1] == "Best:  none yet"


def test_less_is_better_where_the_objective_says_so():
    down = replace(WATCHED, objectives=("val/nats_per_token",), directions=(DOWN,))
    assert lines(watched=down)[1].startswith("Best:  trial 0, val/nats_per_token 0.700")


def test_several_objectives_have_no_single_best():
    both = replace(WATCHED, objectives=("quality", "size"), directions=(UP, DOWN))
    trials = [trial_of(n, DONE, 0.5 + n / 10, 10.0 + n) for n in range(5)]
    assert lines(trials, watched=both, width=200)[1] == (
        "Best:  trial 0 (quality 0.500, size 10.000); trial 1 (quality 0.600, size 11.000); "
        "trial 2 (quality 0.700, size 12.000); and 2 more that none beats"
    )


@pytest.mark.parametrize("make", [pruned_study, lambda: study_of_several(3)], ids=["one", "three"])
def test_the_trials_of_a_real_study_are_shown(make):
    study = make()
    names = ("quality", "latency", "size")[: len(study.directions)]
    watched = Watched("Sweep", 30, names, tuple(study.directions), study.trials[0].datetime_start)
    now = study.trials[-1].datetime_complete
    shown = lines_of(study.trials, watched, now=now, width=120, height=30)
    assert shown[0].startswith("Sweep: 24 of 30 trials; 0 running")
    assert f"trial {min(t.number for t in study.best_trials)}" in shown[1]


def test_the_time_left_is_of_the_trials_to_come_shared_by_those_that_run():
    ended = [trial_of(n, DONE, 0.5, began=100 * n, lasted=100) for n in range(4)]
    one = [*ended, trial_of(4, RUNNING, began=400)]
    assert seconds_left(one, WATCHED, now=at(450)) == 15 * 100 + 50
    two = [*one, trial_of(5, RUNNING, began=450)]
    assert seconds_left(two, WATCHED, now=at(450)) == (14 * 100 + 50 + 100) / 2
    late = [*ended, trial_of(4, RUNNING, began=0)]
    assert seconds_left(late, replace(WATCHED, n_trials=5), now=at(900)) == 0


def test_the_last_trials_take_as_long_as_the_longest_of_them():
    ended = [trial_of(n, DONE, 0.5, began=100 * n, lasted=100) for n in range(2)]
    last = [trial_of(2, RUNNING, began=120), trial_of(3, RUNNING, began=190)]
    assert seconds_left([*ended, *last], replace(WATCHED, n_trials=4), now=at(200)) == 90


def test_a_trial_that_lay_still_for_a_night_does_not_count_in_the_time_left():
    night = trial_of(0, DONE, 0.5, began=-30_000, lasted=30_100)
    recent = trial_of(1, DONE, 0.5, began=100, lasted=60)
    two = replace(WATCHED, n_trials=3)
    assert seconds_left([night, recent], two, now=at(200)) == 60
    assert seconds_left([night], replace(WATCHED, n_trials=2), now=at(200)) == 30_100


def test_a_terminal_shows_the_newest_table_alone(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "40")
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    table = Table(out, WATCHED)
    table.show(TRIALS, now=at(200))
    table.show(TRIALS[:3], now=at(201))
    assert out.screen() == [*lines(TRIALS[:3], now=201, width=99), ""]
    table.say("trial 3 failed: the loss is not a number")
    table.show(TRIALS, now=at(202))
    table.close(TRIALS, now=at(203))
    stays = ["trial 3 failed: the loss is not a number", *lines(now=203, width=99)]
    assert out.screen() == [*stays, ""]
    out.write("next\n")
    assert out.screen() == [*stays, "next", ""]


def test_a_table_is_drawn_in_one_write_that_blanks_nothing_first(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    written = []
    out = Terminal()
    monkeypatch.setattr(out, "write", written.append)
    table = Table(out, WATCHED)
    table.show(TRIALS, now=at(200))
    table.show(TRIALS, now=at(201))
    assert len(written) == 2
    assert "\x1b[2J" not in written[1]
    assert written[1].index("\x1b[J") > written[1].rindex("\n")


def test_a_log_gets_a_line_where_something_changed_and_one_a_minute(monkeypatch):
    out = io.StringIO()
    table = Table(out, WATCHED)
    for second in range(200, 330):
        trials = TRIALS if second < 210 else [*TRIALS, trial_of(6, DONE, 0.9, began=200)]
        table.show(trials, now=at(second))
    written = out.getvalue().splitlines()
    assert len(written) == 3  # at 200, at 210 for the new best, and 60 s later
    assert "\x1b" not in out.getvalue()
    assert written[0] == log_line(TRIALS, WATCHED, now=at(200))
    assert "best: trial 6, val/f1_macro 0.900" in written[1]


def test_a_log_is_not_flooded_by_quick_trials():
    out = io.StringIO()
    table = Table(out, WATCHED)
    for tenth in range(100):
        table.show([trial_of(n, DONE, n / 100) for n in range(tenth)], now=at(tenth / 10))
    assert len(out.getvalue().splitlines()) == 2
    assert module.SECONDS_BETWEEN_LOG_LINES == 5.0


def test_a_log_ends_with_the_last_state():
    out = io.StringIO()
    table = Table(out, WATCHED)
    table.show(TRIALS[:1], now=at(200))
    table.close(TRIALS, now=at(201))
    table.close(TRIALS, now=at(201))
    assert out.getvalue().splitlines()[1:] == [log_line(TRIALS, WATCHED, now=at(201))]


def test_a_terminal_that_cannot_move_its_cursor_is_written_to_like_a_log(monkeypatch):
    monkeypatch.setitem(os.environ, "TERM", "dumb")
    out = Terminal()
    Table(out, WATCHED).show(TRIALS, now=at(200))
    assert "\x1b" not in out.getvalue()
