"""What `vertiform verify` says before anything is rebuilt."""

import pytest

from vertiform.cli.main import main


def test_a_tolerance_below_nothing_is_refused(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["verify", "software-area@staging", "--tolerance", "-1"])
    assert exit_.value.code == 2
    assert "--tolerance is below 0" in capsys.readouterr().err


def test_a_folder_without_a_store_says_what_makes_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["verify", "software-area@staging"])
    assert exit_.value.code == 2
    assert "run this from the root of the project" in capsys.readouterr().err
