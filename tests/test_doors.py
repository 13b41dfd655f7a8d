"""How a command ends: a line and its fix for what a person can put right, else a traceback."""

import errno

import pytest

from vertiform.doors import exit_on_user_error
from vertiform.errors import VertiformError, did_you_mean


def test_a_user_error_is_two_lines_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as exit_:
        with exit_on_user_error():
            raise VertiformError("The corpus is empty.", fix="add a source.")
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "Error: The corpus is empty.\n  Fix: add a source.\n"


def test_a_disk_that_is_full_anywhere_is_a_user_error(capsys):
    with pytest.raises(SystemExit) as exit_:
        with exit_on_user_error():
            raise OSError(errno.ENOSPC, "No space left on device", "scratch")
    assert exit_.value.code == 2
    assert "Fix: free some space" in capsys.readouterr().err


def test_a_bug_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        with exit_on_user_error():
            raise ZeroDivisionError


def test_a_word_near_nothing_gets_all_choices():
    assert did_you_mean("zzz", ["b", "a"]) == "choose one of: a, b."
    many = [f"key_{n:02}" for n in range(50)]
    assert did_you_mean("zzz", many).endswith("key_18, key_19, and 30 more.")
