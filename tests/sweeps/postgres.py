"""A PostgreSQL for the length of some tests: the one that the team's server keeps its runs in."""

import importlib.util
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.server import postgresql
from tests.tracking.servers import free_port
from vertiform.errors import TrackingError


class Server:
    """A cluster in a folder of its own, which may be started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port, self._password = folder, free_port(), secrets.token_urlsafe()
        self.address = f"postgresql://{postgresql.ROLE}@127.0.0.1:{self._port}/{postgresql.RUNS}"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Start it and give the address of an empty database; PGPASSWORD is set meanwhile."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PGPASSWORD", self._password)
            with postgresql.postgresql(self._folder, port=self._port, password=self._password):
                yield self.address


@contextmanager
def server() -> Iterator[Server]:
    """Give a server that is not started yet; its folder is removed at the end."""
    skip_without_postgresql()
    # Not below pytest's own folder, which the account that PostgreSQL runs as may not enter.
    folder = Path(tempfile.mkdtemp(prefix="vertiform-sweeps-"))
    folder.chmod(0o711)
    try:
        yield Server(folder)
    finally:
        shutil.rmtree(folder)


@contextmanager
def database() -> Iterator[str]:
    """Start a server on a free port and give the address of an empty database."""
    with server() as made, made.running() as address:
        yield address


def skip_without_postgresql() -> None:
    """Skip the test, with the reason, where PostgreSQL or its driver is absent."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("the package psycopg is not installed")
    try:
        postgresql.binaries()
    except TrackingError as error:
        pytest.skip(str(error))
