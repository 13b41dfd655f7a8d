"""Start a team's server on 127.0.0.1 until Ctrl-C:  make server  (docs/team-server.md)"""

import argparse
import os
import signal
import sys
from pathlib import Path

from scripts.server.keyring import (
    ADMIN_PASSWORD,
    CLIENT_FILE,
    SERVER_FILE,
    server_secrets,
    write_client_file,
)
from scripts.server.setup import DEMO_S3, Plan, TeamServer, check_free, team_server
from vertiform.doors import exit_on_user_error

PORT, DATABASE_PORT, S3_PORT = 5000, 5433, 5001


def main() -> None:
    """Start all of it, say what to do next, and wait."""
    plan = _plan(_options())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    with exit_on_user_error():
        check_free(plan)
        plan.folder.mkdir(parents=True, exist_ok=True)
        secrets = server_secrets(plan.folder, os.environ)
        print("Starting PostgreSQL and MLflow: half a minute at the first time.", flush=True)
        try:
            with team_server(plan, secrets) as server:
                if ADMIN_PASSWORD not in os.environ:
                    write_client_file(plan.folder, server.address, secrets)
                print(_next_steps(server), flush=True)
                server.watch()
        except KeyboardInterrupt:
            print("\nEnded, in order: MLflow, the store of files, PostgreSQL.")
            sys.exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.server", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/server"), help="(runs/server)")
    parser.add_argument(
        "--artifacts",
        help=f"a folder, s3://<bucket>/<path>, or {DEMO_S3}: moto's server, which forgets "
        "everything when it ends (a folder below --folder)",
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"of MLflow ({PORT})")
    parser.add_argument("--database-port", type=int, default=DATABASE_PORT)
    parser.add_argument("--s3-port", type=int, default=S3_PORT, help=f"of {DEMO_S3}")
    parser.add_argument("--workers", type=int, default=2, help="processes of MLflow (2)")
    return parser.parse_args()


def _plan(options: argparse.Namespace) -> Plan:
    folder = options.folder.resolve()
    artifacts = options.artifacts or str(folder / "artifacts")
    if artifacts != DEMO_S3 and not artifacts.startswith("s3://"):
        artifacts = str(Path(artifacts).resolve())
    return Plan(
        folder=folder,
        artifacts=artifacts,
        port=options.port,
        database_port=options.database_port,
        s3_port=options.s3_port,
        workers=options.workers,
    )


def _next_steps(server: TeamServer) -> str:
    folder = server.plan.folder
    lines = [f"\nMLflow answers at {server.address}. Its data and logs are in {folder}."]
    if server.plan.artifacts == DEMO_S3:
        lines += ["Files are in moto's memory: they are GONE when this ends. Only to try."]
    if (folder / CLIENT_FILE).exists():
        lines += [
            f"The passwords were made up; they are in {folder / SERVER_FILE}, for you alone.",
            "In another shell, as its admin:",
            f"  set -a; . {folder / CLIENT_FILE}; set +a",
        ]
    else:
        lines += [
            "In another shell, as its admin:",
            f"  export MLFLOW_TRACKING_URI={server.address} MLFLOW_TRACKING_USERNAME=admin",
            f"  export MLFLOW_TRACKING_PASSWORD=...   # your {ADMIN_PASSWORD}",
        ]
    lines += [
        "  python -m scripts.server.accounts ada promote",
        "  vertiform history software-area --tracking server",
        "Ctrl-C ends it. docs/team-server.md: roles, backup, TLS.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
