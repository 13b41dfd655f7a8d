"""What the server keeps secret: from the environment, or made up once for a first try."""

import base64
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from vertiform.errors import TrackingError

ADMIN = "admin"
ADMIN_PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"
CSRF_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"
WEBHOOK_KEY = "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"  # a Fernet key
DATABASE_PASSWORD = "PGPASSWORD"
SERVER_FILE, CLIENT_FILE = "server.env", "admin.env"
CLIENT_NAMES = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


MADE_UP: Mapping[str, Callable[[], str]] = {
    ADMIN_PASSWORD: secrets.token_urlsafe,
    CSRF_KEY: secrets.token_urlsafe,
    WEBHOOK_KEY: _fernet_key,
    DATABASE_PASSWORD: secrets.token_urlsafe,
}


def server_secrets(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the server's secrets; what the environment lacks is in a private file of `folder`.

    The environment wins. If it has them all, nothing is read from a file and none is written.
    """
    given = {name: environment[name] for name in MADE_UP if environment.get(name)}
    if len(given) == len(MADE_UP):
        return given
    file = folder / SERVER_FILE
    kept = read_private(file) if file.exists() else {}
    made = {n: make() for n, make in MADE_UP.items() if n not in given and n not in kept}
    if made:
        write_private(file, kept | made)
    return {name: (kept | made | given)[name] for name in MADE_UP}


def write_client_file(folder: Path, address: str, values: Mapping[str, str]) -> None:
    """Write what the admin's own shell loads: not the server's other secrets, which are not its."""
    named = dict(zip(CLIENT_NAMES, (ADMIN, values[ADMIN_PASSWORD]), strict=False))
    write_private(folder / CLIENT_FILE, {"MLFLOW_TRACKING_URI": address, **named})


def write_private(file: Path, values: Mapping[str, str]) -> None:
    """Write NAME=value lines that a shell can load; for nobody's eyes but the owner's."""
    # Not written_whole, which gives a file the rights that files have here; this one has 0600.
    descriptor, aside = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as lines:
        lines.writelines(f"{name}={value}\n" for name, value in values.items())
        lines.flush()
        os.fsync(lines.fileno())
    Path(aside).replace(file)


def read_private(file: Path) -> dict[str, str]:
    """Read such a file. Raises TrackingError if others may read it too."""
    if file.stat().st_mode & 0o077:
        raise TrackingError(
            f"{file} holds passwords, and others on this machine may read it.",
            fix=f"run `chmod 600 {file}`, and change the passwords if others have accounts here.",
        )
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)
