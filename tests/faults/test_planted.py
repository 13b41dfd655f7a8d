"""The tests can fail: each of these bugs, planted alone, is caught."""

import pytest

from tests.faults.planted import BUGS, SOURCE, Bug, ask, plant
from tests.faults.rows import keep_planted

pytestmark = pytest.mark.fault

TESTS_FAILED = 1  # pytest's exit code; a test that cannot even be collected is another


def test_without_a_bug_these_tests_pass(tmp_path):
    tests = sorted({bug.caught_by for bug in BUGS})
    done = ask(SOURCE, tests, folder=tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_planted_bug_is_caught(bug: Bug, tmp_path):
    done = ask(plant(bug, tmp_path), [bug.caught_by], folder=tmp_path)
    assert done.returncode == TESTS_FAILED, done.stdout
    reason = next(line[1:].strip() for line in done.stdout.splitlines() if line.startswith("E  "))
    keep_planted(bug.name, bug.caught_by, reason, order=[each.name for each in BUGS])
