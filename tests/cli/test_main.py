"""The command itself: what it lists, and what it says to a word it does not know."""

import pytest

from vertiform.cli.main import VERBS, main


def test_without_a_verb_every_verb_is_listed(capsys):
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


def test_an_unknown_verb_is_answered_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["promot", "software-area"])
    assert exit_.value.code == 2
    assert "did you mean `promote`?" in capsys.readouterr().err


def test_an_option_may_stand_between_a_model_and_its_texts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["predict", "software-area", "--json", "a text"])
    assert exit_.value.code == 2
    assert "run this from the root of the project" in capsys.readouterr().err


def test_a_model_whose_domain_is_not_known_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("domains: {software: {}}\n")
    with pytest.raises(SystemExit) as exit_:
        main(["promote", "sofware-area"])
    assert exit_.value.code == 2
    assert "the domains are software" in capsys.readouterr().err


def test_predict_without_a_text_asks_for_one(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", [])
    with pytest.raises(SystemExit) as exit_:
        main(["predict", "software-area"])
    assert exit_.value.code == 2
    assert "pipe lines to stdin" in capsys.readouterr().err


def test_an_option_is_not_guessed_from_its_beginning(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["sweep", "finetune", "domain=software", "--sav", "rates"])
    assert exit_.value.code == 2
    assert "unrecognized arguments: --sav" in capsys.readouterr().err
