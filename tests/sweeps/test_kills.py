"""Workers killed in the middle of what they do: nothing lost that was said, and no number twice."""

import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.sweeps.worker import Work, started
from vertiform.sweeps.journal_file import JournalFile

APPENDS = """
import itertools, sys
from pathlib import Path
from vertiform.sweeps.journal_file import JournalFile
journal = JournalFile(Path(sys.argv[1]))
for number in itertools.count():
    # Of many sizes, and every other one synced.
    journal.append_logs([{"op_code": 4 + number % 2, "writer": sys.argv[2], "number": number,
                          "text": "x" * (number * 37 % 9000)}])
    print(number, flush=True)
"""
NUM_WRITERS, NUM_KILLS = 3, 12
N_TRIALS = 120


@pytest.mark.slow
def test_writers_killed_while_they_append_lose_no_record_that_had_returned(tmp_path):
    path, said = tmp_path / "journal.lines", {}
    chance = random.Random(1)
    for kill in range(NUM_KILLS):
        names = [f"{kill}.{number}" for number in range(NUM_WRITERS)]
        processes = {name: _writer(path, name) for name in names}
        for process in processes.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "0\n"  # all of them write by now
        time.sleep(chance.random() / 2)
        for name, process in processes.items():
            process.kill()
            said[name] = ["0", *process.communicate()[0].splitlines()]
    kept = defaultdict(list)
    for each in JournalFile(path).read_logs(0):
        kept[each["writer"]].append(each["number"])
    for name, lines in said.items():
        assert kept[name] == list(range(len(kept[name]))), "each record once, in its order"
        assert len(lines) <= len(kept[name]) <= len(lines) + 1, "what returned, and one at most"


def _writer(path: Path, name: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", APPENDS, str(path), name], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_sweep_whose_workers_are_killed_ends_with_every_trial_once(tmp_path):
    said: list[str] = []
    workers = [_running(tmp_path) for _ in range(NUM_WRITERS)]
    for _kill in range(NUM_KILLS):
        process = workers.pop(0)
        said += _killed_in_a_trial(process)
        workers.append(_running(tmp_path))
    for process in workers:
        said += process.communicate("", timeout=120)[0].splitlines()
        assert process.returncode == 0
    trials = Work(tmp_path, None, N_TRIALS).study.trials
    assert [trial.number for trial in trials] == list(range(N_TRIALS))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert {len(trial.intermediate_values) for trial in trials} == {3}
    told = [line.split()[1:] for line in said if line.startswith("told")]
    assert all(trials[int(number)].params["x"] == float(x) for number, x in told)
    assert max(Counter(number for number, _ in told).values()) == 1
    taken = [line for line in said if line.startswith("took ") and "over" not in line]
    assert max(Counter(taken).values()) == 1
    assert sum(line.startswith("took over") for line in said) >= NUM_KILLS // 2


def _running(folder: Path) -> subprocess.Popen:
    process = started(folder, None, n_trials=N_TRIALS)
    assert process.stdin is not None
    process.stdin.write("run\n")
    process.stdin.flush()
    return process


def _killed_in_a_trial(process: subprocess.Popen) -> list[str]:
    """Kill it right after it took its next trial; return what it had said."""
    assert process.stdout is not None
    said = []
    while not (said and said[-1].startswith(("took", "over"))):
        said.append(process.stdout.readline().strip())
    process.kill()
    return [*said, *process.communicate()[0].splitlines()]
