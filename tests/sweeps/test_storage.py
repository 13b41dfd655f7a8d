"""Where a study lives, and what is refused."""

import optuna
import pytest

from tests.tracking.servers import free_port
from vertiform.errors import ConfigError, StorageError
from vertiform.sweeps.claims import FileClaims
from vertiform.sweeps.storage import open_storage

NOBODY = f"postgresql://me@127.0.0.1:{free_port()}/sweeps"


def test_a_study_in_a_file_goes_on_in_the_next_process_to_open_it(tmp_path, capfd):
    storage, make_claims = open_storage(tmp_path / "study", None, 10)
    study = optuna.create_study(storage=storage, study_name="one")
    with make_claims(study._study_id).turn():
        number = study.ask().number
    storage, make_claims = open_storage(tmp_path / "study", None, 10)
    study = optuna.load_study(storage=storage, study_name="one")
    (trial,) = study.trials
    claims = make_claims(study._study_id)
    assert isinstance(claims, FileClaims)
    with claims.turn():
        assert claims.is_orphan(trial._trial_id)
        assert claims.take(trial._trial_id)
    study.tell(optuna.trial.Trial(study, trial._trial_id), 0.5)
    assert [(t.number, t.value) for t in study.trials] == [(number, 0.5)]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "address", ["postgresql://me:secret@host/d", "postgresql://h/d?password=s"]
)
def test_a_password_in_the_address_is_refused_without_showing_it(tmp_path, address):
    with pytest.raises(ConfigError, match=r"holds a password(?s:.)*PGPASSWORD") as said:
        open_storage(tmp_path, address, 10)
    assert "secret" not in str(said.value)


@pytest.mark.parametrize("address", ["mysql://host/d", "sqlite:///study.db", "postgres://host/d"])
def test_another_database_is_refused(tmp_path, address):
    with pytest.raises(ConfigError, match=r"kept in PostgreSQL, not in(?s:.)*leave `storage` out"):
        open_storage(tmp_path, address, 10)


def test_what_is_no_address_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"`storage=studies` is not the address(?s:.)*postgresql://"
    ):
        open_storage(tmp_path, "studies", 10)


def test_a_server_that_does_not_answer_is_one_line_and_a_fix(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(StorageError, match=r"cannot be used(?s:.)*start the server") as said:
        open_storage(tmp_path, NOBODY, 10)
    assert len(str(said.value).splitlines()) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot be made(?s:.)*right to write there"):
        open_storage(tmp_path / "file" / "study", None, 10)
