"""PostgreSQL in a folder: a cluster of our own on 127.0.0.1, which nobody enters without password.

The superuser cannot log in at all; MLflow's role owns its two databases and no more.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from scripts.server.keyring import DATABASE_PASSWORD
from scripts.server.processes import running
from vertiform.errors import TrackingError

ROLE = "vertiform"
RUNS, USERS = "vertiform", "vertiform_users"  # databases: what was tracked; who may do what
ACCOUNT = "postgres"  # of the system, made by Debian's package: PostgreSQL refuses to run as root
DEBIAN = Path("/usr/lib/postgresql")
INSTALL = "install it (on Debian and Ubuntu: `apt-get install postgresql`)."
# The host's other users reach the port too: password or nothing, and no superuser.
WHO_MAY_ENTER = f"host {RUNS},{USERS} {ROLE} 127.0.0.1/32 scram-sha-256\n"


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs; Debian keeps them off the path."""
    versions = [path for path in DEBIAN.glob("*/bin") if (path / "initdb").exists()]
    if versions:
        return max(versions, key=lambda path: float(path.parent.name))
    found = shutil.which("initdb")
    if found is None:
        raise TrackingError("PostgreSQL is not installed.", fix=INSTALL)
    return Path(found).resolve().parent


def database_uri(database: str, *, port: int) -> str:
    """Return a database's address for MLflow. The password is not in it: libpq takes PGPASSWORD."""
    return f"postgresql+psycopg://{ROLE}@127.0.0.1:{port}/{database}"


def client_environment(password: str, *, port: int) -> dict[str, str]:
    """Return what pg_dump and psql read, so that a command line holds no password."""
    place = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": ROLE, "PGDATABASE": RUNS}
    return place | {DATABASE_PASSWORD: password}


@contextmanager
def postgresql(folder: Path, *, port: int, password: str) -> Iterator[subprocess.Popen]:
    """Run PostgreSQL over the cluster in `folder`, which is made if it is absent."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster, programs, log = folder / "cluster", binaries(), folder / "postgresql.log"
    _check_reachable(folder)
    if not cluster.exists():
        _create(cluster, programs)
    _check_alone(cluster)
    # At every start, so that a new password in the environment is the password from then on.
    _as_superuser(cluster, programs, f"ALTER ROLE {ROLE} PASSWORD {_quoted(password)};")
    command = [programs / "postgres", "-D", cluster, "-c", "listen_addresses=127.0.0.1"]
    with running(
        [*map(str, command), "-c", f"port={port}", "-c", "unix_socket_directories="],
        log=log,
        environment=_bare(os.environ),
        answers=lambda: _is_ready(programs, port),
        user=_account(),
        ends_at=signal.SIGINT,  # its "fast" end: transactions are rolled back, the rest is on disk
    ) as process:
        yield process


def _create(cluster: Path, programs: Path) -> None:
    """Make the cluster aside and rename it, so that one that exists is whole."""
    aside = cluster.with_name("cluster.new")
    shutil.rmtree(aside, ignore_errors=True)  # of a start that was broken off
    aside.mkdir(mode=0o700)
    if _account():
        shutil.chown(aside, _account(), _account())
    options = ["--auth=reject", "--encoding=UTF8", "--locale=C", "--data-checksums"]
    _run([programs / "initdb", "-D", aside, "-U", ACCOUNT, *options], statements="")
    (aside / "pg_hba.conf").write_text(WHO_MAY_ENTER, encoding="utf-8")
    owned = [f"CREATE DATABASE {name} OWNER {ROLE};" for name in (RUNS, USERS)]
    _as_superuser(aside, programs, f"CREATE ROLE {ROLE} LOGIN;", *owned)
    aside.rename(cluster)


def _as_superuser(cluster: Path, programs: Path, *statements: str) -> None:
    """Run statements on a cluster that serves nobody; they go in by stdin and into no log."""
    quiet = ["-c", "log_min_error_statement=panic", "-c", "exit_on_error=on"]
    command = [programs / "postgres", "--single", "-D", cluster, *quiet, "postgres"]
    _run(command, statements="\n".join(statements) + "\n")


def _run(command: list, *, statements: str) -> None:
    account = _account()
    done = subprocess.run(
        [str(word) for word in command],
        input=statements,
        text=True,
        capture_output=True,
        env=_bare(os.environ),
        cwd="/",  # the account may not enter where we are
        user=account,
        group=account,
        extra_groups=[] if account else None,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise TrackingError(
            f"{Path(command[0]).name} failed: {said[-1][:300]}",
            fix=f"free space or rights of {command[command.index('-D') + 1]}, then start again.",
        )


def _is_ready(programs: Path, port: int) -> bool:
    command = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
    return subprocess.run(command, capture_output=True).returncode == 0


def _account() -> str | None:
    """Return the account to become for PostgreSQL; None: we may stay who we are."""
    return ACCOUNT if os.geteuid() == 0 else None


def _check_reachable(folder: Path) -> None:
    """As root we become another account, which must be able to enter every folder above."""
    if not _account():
        return
    closed = [path for path in (folder, *folder.parents) if not path.stat().st_mode & 0o001]
    if closed:
        raise TrackingError(
            f"PostgreSQL refuses to run as root, and the account `{ACCOUNT}` may not enter "
            f"{closed[-1]}.",
            fix="start the server as a user who is not root, or choose another folder, such as "
            "FOLDER=/srv/vertiform.",
        )


def _check_alone(cluster: Path) -> None:
    """A server of an earlier start that was killed may still hold the cluster."""
    lock = cluster / "postmaster.pid"
    if not lock.exists():
        return
    pid = int(lock.read_text(encoding="utf-8").split()[0])
    if Path(f"/proc/{pid}").exists():
        raise TrackingError(
            f"PostgreSQL already runs over {cluster} (process {pid}).",
            fix=f"use that server, or end it with `kill -INT {pid}` and start again.",
        )


def _bare(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which PostgreSQL finds nothing that it does not need."""
    return {name: environment[name] for name in ("PATH", "LANG", "TZ") if name in environment}


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise TrackingError(
            f"{DATABASE_PASSWORD} holds a line break or another control character.",
            fix="choose a password of printable characters.",
        )
    return "'" + text.replace("'", "''") + "'"
