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


@contextmanager
def database() -> Iterator[str]:
    """Start it on a free port and give the address of an empty database; PGPASSWORD is set."""
    skip_without_postgresql()
    # Not below pytest's own folder, which the account that PostgreSQL runs as may not enter.
    folder = Path(tempfile.mkdtemp(prefix="vertiform-sweeps-"))
    folder.chmod(0o711)
    port, password = free_port(), secrets.token_urlsafe()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PGPASSWORD", password)
            with postgresql.postgresql(folder, port=port, password=password):
                yield f"postgresql://{postgresql.ROLE}@127.0.0.1:{port}/{postgresql.RUNS}"
    finally:
        shutil.rmtree(folder)


def skip_without_postgresql() -> None:
    """Skip the test, with the reason, where PostgreSQL or its driver is absent."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("the package psycopg is not installed")
    try:
        postgresql.binaries()
    except TrackingError as error:
        pytest.skip(str(error))
