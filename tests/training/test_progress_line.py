import re

import pytest

from tests.training.tiny import pretrain_tiny
from vertiform.training.callbacks import progress
from vertiform.training.callbacks.progress import in_words


@pytest.fixture
def impatient(monkeypatch):
    """The line is shown after every step."""
    monkeypatch.setattr(progress, "SECONDS_BEFORE_FIRST_LINE", 0.0)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOG_LINES", 0.0)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_REDRAWS", 0.0)


LINE = (
    r"pretrain tiny: step 12 of 25, loss \d\.\d{3}, val/nats_per_token \d\.\d{3}, [\d,]+ tokens/s, "
)


def test_a_log_gets_lines_with_loss_speed_and_time_left(tmp_path, capsys, impatient):
    pretrain_tiny(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 25
    assert re.fullmatch(LINE + r"\d+ s left", lines[11])


def test_a_terminal_gets_one_line_that_moves_and_goes(tmp_path, capsys, impatient, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    pretrain_tiny(tmp_path)
    shown = capsys.readouterr().err
    assert "\n" not in shown
    assert shown.endswith("\r\x1b[K")
    assert re.search(LINE, shown)


@pytest.mark.parametrize(
    ("seconds", "words"), [(9.4, "9 s"), (65, "1 min 5 s"), (3600 * 2 + 61, "2 h 1 min")]
)
def test_a_time_is_said_in_words(seconds, words):
    assert in_words(seconds) == words
