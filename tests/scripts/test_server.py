"""What a team's server does before it starts: secrets, ports, PostgreSQL's cluster in a folder."""

import os
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from scripts.server.keyring import (
    ADMIN_PASSWORD,
    CLIENT_FILE,
    DATABASE_PASSWORD,
    MADE_UP,
    SERVER_FILE,
    server_secrets,
    write_client_file,
)
from scripts.server.postgresql import binaries, client_environment, postgresql
from scripts.server.processes import running
from scripts.server.setup import Plan, check_free
from tests.tracking.servers import free_port
from tests.tracking.team import skip_without_parts
from vertiform.errors import TrackingError

GIVEN = {name: f"{name} of the environment" for name in MADE_UP}


def test_secrets_of_the_environment_are_written_nowhere(tmp_path):
    assert server_secrets(tmp_path, GIVEN) == GIVEN
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_made_up_once_for_nobody_elses_eyes(tmp_path):
    made = server_secrets(tmp_path, {})
    assert (tmp_path / SERVER_FILE).stat().st_mode & 0o777 == 0o600
    assert server_secrets(tmp_path, {}) == made
    assert len(set(made.values())) == len(MADE_UP)
    assert min(map(len, made.values())) > 40


def test_what_the_environment_gives_is_not_copied_to_the_file(tmp_path):
    given = {ADMIN_PASSWORD: "of the environment"}
    assert server_secrets(tmp_path, given)[ADMIN_PASSWORD] == "of the environment"
    assert "of the environment" not in (tmp_path / SERVER_FILE).read_text()


def test_a_file_of_secrets_that_others_may_read_is_refused(tmp_path):
    server_secrets(tmp_path, {})
    (tmp_path / SERVER_FILE).chmod(0o644)
    with pytest.raises(TrackingError, match="chmod 600"):
        server_secrets(tmp_path, {})


def test_a_shell_loads_the_admins_file_and_only_what_is_the_admins(tmp_path):
    made = server_secrets(tmp_path, {})
    write_client_file(tmp_path, "http://127.0.0.1:5000", made)
    load = f"set -a; . {shlex.quote(str(tmp_path / CLIENT_FILE))}; env"
    shown = subprocess.run(["sh", "-c", load], env={}, capture_output=True, text=True).stdout
    assert f"MLFLOW_TRACKING_PASSWORD={made[ADMIN_PASSWORD]}" in shown
    assert made[DATABASE_PASSWORD] not in shown


def test_a_port_that_is_taken_is_named_with_its_option(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        plan = Plan(
            folder=tmp_path,
            artifacts=str(tmp_path),
            port=free_port(),
            database_port=taken.getsockname()[1],
            s3_port=free_port(),
            workers=1,
        )
        with pytest.raises(TrackingError, match="another by --database-port"):
            check_free(plan)


def test_a_program_that_ends_at_once_is_told_with_its_last_line(tmp_path):
    command = [sys.executable, "-c", "print('no disk'); raise SystemExit(3)"]
    with pytest.raises(
        TrackingError, match=r"code 3; its last line: no disk\n  Fix: read .*x\.log"
    ):
        with running(command, log=tmp_path / "x.log", environment={}, answers=lambda: False):
            pass


@pytest.mark.slow
class TestPostgreSQL:
    @pytest.fixture
    def folder(self):
        skip_without_parts()
        # Below pytest's own folder the account that PostgreSQL runs as may not come.
        with tempfile.TemporaryDirectory(prefix="vertiform-postgresql-") as name:
            Path(name).chmod(0o711)
            yield Path(name)

    def test_what_was_written_is_there_after_a_restart_with_a_new_password(self, folder):
        port = free_port()
        with postgresql(folder, port=port, password="it's the first"):
            asked("CREATE TABLE kept AS SELECT 42 AS answer", port=port, password="it's the first")
        with postgresql(folder, port=port, password="the second"):
            answer = asked("SELECT answer FROM kept", port=port, password="the second")
            refused = asked("SELECT 1", port=port, password="it's the first")
        assert answer.stdout.strip() == "42"
        assert "password authentication failed" in refused.stderr
        assert "the second" not in (folder / "postgresql.log").read_text()

    def test_nobody_enters_as_superuser_or_without_a_password(self, folder):
        port = free_port()
        with postgresql(folder, port=port, password="a password"):
            other = asked("SELECT 1", port=port, password="a password", PGUSER="postgres")
            without = asked("SELECT 1", port=port, password="")
        assert "no pg_hba.conf entry" in other.stderr
        assert "no password supplied" in without.stderr

    def test_a_cluster_that_is_in_use_is_not_touched(self, folder):
        with postgresql(folder, port=free_port(), password="a password"):
            with pytest.raises(TrackingError, match="already runs over"):
                with postgresql(folder, port=free_port(), password="another"):
                    pass

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another account")
    def test_a_folder_that_the_account_may_not_enter_is_named(self, folder):
        folder.chmod(0o700)
        with pytest.raises(TrackingError, match=f"may not enter {folder}"):
            with postgresql(folder / "below", port=free_port(), password="a password"):
                pass


def asked(statement: str, *, port: int, password: str, **other: str) -> subprocess.CompletedProcess:
    """Ask by psql, with the environment that the documentation tells people to use."""
    place = client_environment(password, port=port) | other
    return subprocess.run(
        [str(binaries() / "psql"), "--no-password", "-tAc", statement],
        env={"PATH": os.environ["PATH"]} | place,
        capture_output=True,
        text=True,
    )
