"""The whole set-up: PostgreSQL, then the store of files, then MLflow; ended the other way round."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.server import objects, postgresql
from scripts.server.keyring import CLIENT_NAMES, DATABASE_PASSWORD
from scripts.server.processes import ended
from scripts.server.tracker import mlflow_server
from vertiform.errors import TrackingError

DEMO_S3 = "demo-s3"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to start. Every port is one of 127.0.0.1.

    folder:    absolute; holds the cluster, the logs, and the files if artifacts is a folder in it.
    artifacts: an absolute folder, s3://<bucket>/<path>, or DEMO_S3 for moto's server.
    """

    folder: Path
    artifacts: str
    port: int
    database_port: int
    s3_port: int
    workers: int


@dataclass(frozen=True)
class TeamServer:
    """A set-up that answers."""

    address: str
    programs: Mapping[str, subprocess.Popen]  # name of its log -> the program
    plan: Plan

    def watch(self) -> None:
        """Return never; raise TrackingError as soon as one of the programs has ended."""
        while True:
            for log, program in self.programs.items():
                if program.poll() is not None:
                    raise ended(program, self.plan.folder / log)
            time.sleep(0.5)


def check_free(plan: Plan) -> None:
    """Raise TrackingError if somebody else listens on a port of the plan."""
    ports = {"port": plan.port, "database-port": plan.database_port}
    if plan.artifacts == DEMO_S3:
        ports["s3-port"] = plan.s3_port
    for option, port in ports.items():
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that just ended
            try:
                trial.bind(("127.0.0.1", port))
            except OSError as error:
                raise TrackingError(
                    f"Port {port} of 127.0.0.1 is taken: {error.strerror}.",
                    fix=f"end the program that has it, or choose another by --{option}.",
                ) from error


@contextmanager
def team_server(plan: Plan, secrets: Mapping[str, str]) -> Iterator[TeamServer]:
    """Start all of it, and end it in order when the block ends. Secrets: see keyring.py."""
    folder, password = plan.folder, secrets[DATABASE_PASSWORD]
    environment = _without_clients(os.environ) | secrets
    programs = {}
    with ExitStack() as stack:
        programs["postgresql.log"] = stack.enter_context(
            postgresql.postgresql(folder, port=plan.database_port, password=password)
        )
        artifacts = plan.artifacts
        if artifacts == DEMO_S3:
            programs["moto.log"] = stack.enter_context(objects.moto(folder, port=plan.s3_port))
            artifacts = f"s3://{objects.BUCKET}"
            environment |= objects.environment(plan.s3_port)
        programs["mlflow.log"] = stack.enter_context(
            mlflow_server(
                folder,
                port=plan.port,
                runs_uri=postgresql.database_uri(postgresql.RUNS, port=plan.database_port),
                users_uri=postgresql.database_uri(postgresql.USERS, port=plan.database_port),
                artifacts=artifacts,
                environment=environment,
                workers=plan.workers,
            )
        )
        yield TeamServer(f"http://127.0.0.1:{plan.port}", programs, plan)


def _without_clients(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out the password of whoever starts the server as a client of it: not its business."""
    return {name: value for name, value in environment.items() if name not in CLIENT_NAMES}
