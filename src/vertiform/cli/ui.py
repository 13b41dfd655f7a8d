"""vertiform ui: MLflow's own pages over the runs of this folder."""

import argparse
import os
import sys
from pathlib import Path

PORT = 5000  # MLflow's own default


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=PORT, help=f"port to listen on ({PORT})")


def run(options: argparse.Namespace) -> int:
    """Become MLflow's server; Ctrl-C ends it."""
    from vertiform.tracking.store import local_store

    place = local_store(Path.cwd())
    print(f"MLflow's pages: http://{options.host}:{options.port}   (Ctrl-C ends it)", flush=True)
    # Without background jobs, which are not used here, the server starts in a third of the time.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
        *("--backend-store-uri", place.tracking_uri),
        *("--default-artifact-root", place.artifact_root),
        *("--host", options.host, "--port", str(options.port)),
    ]
    os.execv(sys.executable, command)
