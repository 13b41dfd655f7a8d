"""A team's server for the length of some tests: the one that `make server` starts, with people."""

import base64
import importlib.util
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scripts.server import postgresql
from scripts.server.accounts import admin_client, set_account
from scripts.server.keyring import ADMIN, ADMIN_PASSWORD, CLIENT_NAMES, server_secrets
from scripts.server.setup import DEMO_S3, Plan, TeamServer, team_server
from tests.tracking.servers import free_port
from vertiform.errors import TrackingError
from vertiform.tracking.store import Store, open_store

S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
WEBHOOKS_TO_THIS_MACHINE = {  # MLflow's defaults: https alone, and no address of a private network
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_CACHE_TTL": "1",  # seconds until a new webhook is known; 60
}
WEBHOOK_SECRET = secrets.token_urlsafe()
PEOPLE = {"ada": "promote", "tom": "train", "bob": "read"}  # name -> role


@dataclass(frozen=True)
class Team:
    """A server that answers, its secrets, and people with passwords."""

    server: TeamServer
    secrets: dict[str, str] = field(repr=False)
    passwords: dict[str, str] = field(repr=False)

    @contextmanager
    def store_of(self, user: str | None, *, password: str | None = None) -> Iterator[Store]:
        """Open the store as this person; None is somebody who does not say who they are."""
        with pytest.MonkeyPatch.context() as patch:
            for name in (*CLIENT_NAMES, *S3_KEYS):
                patch.delenv(name, raising=False)
            if user is not None:
                patch.setenv("MLFLOW_TRACKING_USERNAME", user)
                patch.setenv("MLFLOW_TRACKING_PASSWORD", password or self.passwords[user])
            with tempfile.TemporaryDirectory() as root:  # where journals go
                yield open_store(self.server.address, root=Path(root))

    def environment_of(self, user: str) -> dict[str, str]:
        """Return the environment of a command that this person runs."""
        named = {
            "MLFLOW_TRACKING_URI": self.server.address,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": self.passwords[user],
        }
        return os.environ | named

    def never_to_be_seen(self) -> list[bytes]:
        """Return every secret, and each name with its password as HTTP's basic auth sends it."""
        pairs = [f"{user}:{password}".encode() for user, password in self.passwords.items()]
        plain = [*self.secrets.values(), *self.passwords.values(), WEBHOOK_SECRET]
        return [*(text.encode() for text in plain), *map(base64.b64encode, pairs)]


@contextmanager
def team() -> Iterator[Team]:
    """Start PostgreSQL, moto's S3 and MLflow on free ports, and give accounts to PEOPLE."""
    skip_without_parts()
    # Not below pytest's own folder, which the account that PostgreSQL runs as may not enter.
    folder = Path(tempfile.mkdtemp(prefix="vertiform-team-"))
    folder.chmod(0o711)
    plan = Plan(
        folder=folder,
        artifacts=DEMO_S3,
        port=free_port(),
        database_port=free_port(),
        s3_port=free_port(),
        workers=1,
    )
    kept = server_secrets(folder, {})
    passwords = {name: secrets.token_urlsafe() for name in PEOPLE}
    try:
        with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
            for name, value in WEBHOOKS_TO_THIS_MACHINE.items():
                patch.setenv(name, value)
            server = stack.enter_context(team_server(plan, kept))
            everyone = Team(server, kept, passwords | {ADMIN: kept[ADMIN_PASSWORD]})
            with everyone.store_of(ADMIN):
                client = admin_client(server.address)
                for name, role in PEOPLE.items():
                    set_account(client, name, role=role, ask_password=lambda n=name: passwords[n])
            yield everyone
    finally:
        shutil.rmtree(folder)


def skip_without_parts() -> None:
    """Skip the test, with the reason, where PostgreSQL or a package is absent."""
    for package in ("moto", "boto3", "psycopg", "flask_wtf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    try:
        postgresql.binaries()
    except TrackingError as error:
        pytest.skip(str(error))
