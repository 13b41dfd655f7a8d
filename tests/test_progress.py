"""Progress shows what, how fast and how long, and changes nothing."""

import time

from vertiform import progress as module
from vertiform.progress import progress


def test_short_loops_stay_silent(capsys):
    assert list(progress(range(5), what="clean", unit="documents")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""


def test_long_loops_say_what_the_rate_and_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BEFORE_FIRST_LINE", 0.0)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOG_LINES", 0.01)
    for _ in progress(range(4), what="clean", unit="documents", total=4):
        time.sleep(0.02)
    lines = capsys.readouterr().err.splitlines()
    assert any(
        line.startswith("clean:") and "documents/s" in line and "<00:00" in line for line in lines
    )
    assert "\r" not in "".join(lines)
