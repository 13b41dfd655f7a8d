"""MLflow's own server, that can be killed and comes back on the same port."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from tests.tracking.servers import SECONDS_TO_START, free_port
from vertiform.tracking.store import DATABASE


class Server:
    """A server on the database of a project."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.kills = 0
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def start(self) -> None:
        """Start it; return when it answers."""
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{self.root}/{DATABASE}"),
            *("--artifacts-destination", str(self.root / "server-artifacts")),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.root,
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,  # its workers end with it
            )
        until = time.monotonic() + SECONDS_TO_START
        while not self.answers():
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.1)

    @property
    def log(self) -> Path:
        """What it says."""
        return self.root / "server.log"

    def answers(self) -> bool:
        """Whether it can be asked."""
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """SIGKILL it and its workers."""
        assert self._process is not None
        assert self._process.poll() is None, "it ended before its kill: no fault, no test"
        self._end()
        assert not self.answers()
        self.kills += 1

    def _end(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
