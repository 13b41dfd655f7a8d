"""MLflow's server: runs and models in PostgreSQL, files behind it, and accounts for people."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from scripts.server.keyring import ADMIN
from scripts.server.processes import answers_http, running

# No password stands here: MLflow takes the first one of `admin` from MLFLOW_AUTH_ADMIN_PASSWORD,
# and libpq that of the database from PGPASSWORD. READ: who has an account may look at everything.
# A password is hashed slowly on purpose: 0.92 s a request on two busy cores, 0.03 s if a right one
# is remembered. The price: another worker takes a changed password or a deleted account for 60 s.
ACCOUNTS = """[mlflow]
default_permission = READ
database_uri = {database_uri}
admin_username = {admin}
auth_cache_ttl_seconds = 60
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


@contextmanager
def mlflow_server(
    folder: Path,
    *,
    port: int,
    runs_uri: str,
    users_uri: str,
    artifacts: str,
    environment: Mapping[str, str],
    workers: int,
) -> Iterator[subprocess.Popen]:
    """Run MLflow's server until the block ends.

    artifacts: s3://<bucket>/<path> or a folder; clients reach them through the server alone.
    environment: with the secrets; see keyring.py.
    """
    folder.mkdir(parents=True, exist_ok=True)
    accounts = folder / "accounts.ini"
    accounts.write_text(ACCOUNTS.format(database_uri=users_uri, admin=ADMIN), encoding="utf-8")
    quiet = {
        "MLFLOW_AUTH_CONFIG_PATH": str(accounts),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Jobs are for tracing with language models; without them it starts in a third of the time.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with running(
        [
            *(sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"),
            *("--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)),
            *("--backend-store-uri", runs_uri, "--artifacts-destination", artifacts),
        ],
        log=folder / "mlflow.log",
        environment={**environment, **quiet},
        answers=answers_http(f"http://127.0.0.1:{port}/health"),
    ) as process:
        yield process
